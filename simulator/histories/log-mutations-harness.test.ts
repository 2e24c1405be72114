/** Good histories of logs and of groups that read them, made wrong. */
import type { Prng } from '../../src/stdx/index.ts'
import { isOf, type Operation, type OperationOf } from './history.ts'
import { answering, changed, isKnown, type Mutation, pair, surelyBefore } from './mutations-harness.test.ts'

type Send = OperationOf<'send'>
type Poll = OperationOf<'poll'>
type Records = readonly (readonly [number, string])[]

const sends = (history: readonly Operation[]): Send[] => history.filter((each) => isOf(each, 'send')).filter(isKnown)
const polls = (history: readonly Operation[]): Poll[] => history.filter((each) => isOf(each, 'poll')).filter(isKnown)
const full = (history: readonly Operation[], most = 1): Poll[] =>
  polls(history).filter(({ output }) => output!.records.length >= most)
const partitionOf = ({ input }: Operation): string => ('partition' in input ? input.partition : '')
const samePlace = (a: Operation, b: Operation): boolean => partitionOf(a) === partitionOf(b)
const showing = (poll: Poll, records: Records): Operation => answering(poll, { ...poll.output!, records })
const pick = <T>(prng: Prng, from: readonly T[]): T | null =>
  from.length === 0 ? null : from[prng.below(from.length)]!
/** Lowest offset that nobody may miss. */
const startOf = (history: readonly Operation[], place: Operation): number =>
  Math.max(
    0,
    ...polls(history)
      .filter((poll) => samePlace(poll, place))
      .map(({ output }) => output!.logStart ?? 0),
  )
const without = (history: readonly Operation[], value: string): Operation[] =>
  history.map((each) =>
    isOf(each, 'poll') && each.output !== null
      ? showing(
          each,
          each.output.records.filter(([, it]) => it !== value),
        )
      : each,
  )
const commitsOf = (history: readonly Operation[]): OperationOf<'commit'>[] =>
  history.filter((each) => isOf(each, 'commit')).filter(isKnown)
const assignsOf = (history: readonly Operation[]): OperationOf<'assign'>[] =>
  history.filter((each) => isOf(each, 'assign')).filter(isKnown)

export const LOG_MUTATIONS: Readonly<Record<string, Mutation>> = {
  'lost write': (history, prng) => {
    const send = pick(
      prng,
      sends(history).filter((each) => each.output!.offset >= startOf(history, each)),
    )
    return send === null ? null : without(history, send.input.values[0]!)
  },
  'lost end of the log': (history) => {
    const place = partitionOf(polls(history)[0]!)
    const last = sends(history)
      .filter((each) => partitionOf(each) === place)
      .sort((a, b) => b.output!.offset - a.output!.offset)[0]
    if (last === undefined) return null
    return history.map((each) =>
      isOf(each, 'poll') && each.output !== null && partitionOf(each) === place
        ? showing(
            each,
            each.output.records.filter(([offset]) => offset < last.output!.offset),
          )
        : each,
    )
  },
  'aborted read': (history, prng) => {
    const found = pair(
      prng,
      sends(history),
      full(history),
      (send, poll) =>
        samePlace(send, poll) && poll.output!.records.some(([, value]) => send.input.values.includes(value)),
    )
    return found === null ? null : changed(history, { ...found[0], output: null })
  },
  'phantom read': (history, prng) => {
    const poll = pick(prng, full(history))
    return poll === null
      ? null
      : changed(history, showing(poll, [[poll.output!.records[0]![0], 'nobody'], ...poll.output!.records.slice(1)]))
  },
  'a value of another partition': (history, prng) => {
    const found = pair(prng, sends(history), full(history), (send, poll) => !samePlace(send, poll))
    if (found === null) return null
    const [send, poll] = found
    return changed(
      history,
      showing(poll, [[poll.output!.records[0]![0], send.input.values[0]!], ...poll.output!.records.slice(1)]),
    )
  },
  'two values at one offset': (history, prng) => {
    const found = pair(
      prng,
      sends(history),
      sends(history),
      (a, b) => samePlace(a, b) && a.output!.offset !== b.output!.offset,
    )
    return found === null ? null : changed(history, answering(found[1], { f: 'send', offset: found[0].output!.offset }))
  },
  'one value at two offsets': (history, prng) => {
    const poll = pick(prng, full(history, 2))
    if (poll === null) return null
    const [first, second, ...rest] = poll.output!.records
    return changed(history, showing(poll, [first!, [second![0], first![1]], ...rest]))
  },
  'an acknowledgement with another offset': (history, prng) => {
    const send = pick(
      prng,
      sends(history).filter((each) => each.output!.offset >= startOf(history, each)),
    )
    return send === null ? null : changed(history, answering(send, { f: 'send', offset: send.output!.offset + 1 }))
  },
  'two records of an answer swapped': (history, prng) => {
    const poll = pick(prng, full(history, 2))
    if (poll === null) return null
    const [a, b, ...rest] = poll.output!.records
    return changed(history, showing(poll, [b!, a!, ...rest]))
  },
  'two values of an answer swapped': (history, prng) => {
    const poll = pick(prng, full(history, 2))
    if (poll === null) return null
    const [a, b, ...rest] = poll.output!.records
    return changed(history, showing(poll, [[a![0], b![1]], [b![0], a![1]], ...rest]))
  },
  'a torn send': (history, prng) => {
    const send = pick(
      prng,
      sends(history).filter((each) => each.input.values.length > 1 && each.output!.offset >= startOf(history, each)),
    )
    if (send === null) return null
    return changed(history, { ...send, input: { ...send.input, values: [...send.input.values].reverse() } })
  },
  'sends of one producer in another order': (history, prng) => {
    const found = pair(
      prng,
      sends(history),
      sends(history),
      (a, b) => samePlace(a, b) && a.process === b.process && surelyBefore(a, b),
    )
    if (found === null) return null
    const [a, b] = found
    return changed(history, { ...a, input: b.input }, { ...b, input: a.input })
  },
  'an offset that was known before': (history, prng) => {
    const found = pair(prng, sends(history), sends(history), (a, b) => samePlace(a, b) && surelyBefore(a, b))
    return found === null
      ? null
      : changed(history, answering(found[1], { f: 'send', offset: Math.max(0, found[0].output!.offset - 1) }))
  },
  'read before it was sent': (history, prng) => {
    const found = pair(
      prng,
      sends(history),
      full(history),
      (send, poll) =>
        samePlace(send, poll) && poll.output!.records.some(([, value]) => send.input.values.includes(value)),
    )
    if (found === null) return null
    const [send, poll] = found
    return changed(history, { ...send, call: poll.return + 1, return: poll.return + 2 })
  },
  'an answer from below the position': (history, prng) => {
    const poll = pick(prng, full(history))
    return poll === null
      ? null
      : changed(history, { ...poll, input: { ...poll.input, position: poll.output!.records[0]![0] + 1 } })
  },
  'a record left out of an answer': (history, prng) => {
    const poll = pick(prng, full(history, 3))
    return poll === null
      ? null
      : changed(
          history,
          showing(
            poll,
            poll.output!.records.filter((_, i) => i !== 1),
          ),
        )
  },
  'a reader led past records': (history, prng) => {
    const poll = pick(
      prng,
      full(history, 2).filter(
        (each) => each.input.position === each.output!.records[0]![0] && each.input.position >= startOf(history, each),
      ),
    )
    return poll === null ? null : changed(history, showing(poll, poll.output!.records.slice(1)))
  },
  'a reader led past a whole answer': (history, prng) => {
    const followed = full(history).filter((poll) => {
      const step = history.find(
        (each) => each.process === poll.process && each.call > poll.return && samePlace(each, poll),
      )
      const before = history
        .filter((each) => each.process === poll.process && each.return <= poll.call && samePlace(each, poll))
        .at(-1)
      return step?.input.f === 'poll' && before?.input.f === 'poll' && poll.input.position >= startOf(history, poll)
    })
    const poll = pick(prng, followed)
    return poll === null ? null : history.filter(({ id }) => id !== poll.id)
  },
  'a reader set back': (history, prng) => {
    const found = pair(prng, full(history), full(history), (a, b) => {
      const between = history.filter(
        (each) => each.process === a.process && samePlace(each, a) && each.call > a.call && each.call < b.call,
      )
      return (
        samePlace(a, b) && a.process === b.process && surelyBefore(a, b) && between.length === 0 && b.input.position > 0
      )
    })
    if (found === null) return null
    const [a, b] = found
    return changed(history, {
      ...b,
      input: { ...b.input, position: a.output!.records[0]![0] },
      output: { ...b.output!, records: [] },
    })
  },
  'a record at the mark': (history, prng) => {
    const poll = pick(prng, full(history))
    return poll === null
      ? null
      : changed(history, answering(poll, { ...poll.output!, highWatermark: poll.output!.records.at(-1)![0] }))
  },
  'a stale mark': (history, prng) => {
    const found = pair(
      prng,
      sends(history),
      polls(history),
      (send, poll) => samePlace(send, poll) && surelyBefore(send, poll),
    )
    if (found === null) return null
    const [send, poll] = found
    return changed(
      history,
      answering(poll, { f: 'poll', records: [], logStart: 0, highWatermark: send.output!.offset }),
    )
  },
  'a mark goes back': (history, prng) => {
    const found = pair(
      prng,
      polls(history),
      polls(history),
      (a, b) => samePlace(a, b) && a.process === b.process && surelyBefore(a, b) && (a.output!.highWatermark ?? 0) > 0,
    )
    return found === null
      ? null
      : changed(
          history,
          answering(found[1], { ...found[1].output!, records: [], highWatermark: found[0].output!.highWatermark! - 1 }),
        )
  },
  'a log start goes back': (history, prng) => {
    const all = polls(history)
    const found = pair(
      prng,
      all,
      all,
      (a, b) =>
        samePlace(a, b) &&
        a.process === b.process &&
        surelyBefore(a, b) &&
        (a.output!.logStart ?? 0) > 0 &&
        !all.some(
          (each) => each.process === a.process && samePlace(each, a) && each.call > a.call && each.call < b.call,
        ),
    )
    return found === null
      ? null
      : changed(history, answering(found[1], { ...found[1].output!, logStart: found[0].output!.logStart! - 1 }))
  },
  'a log start beyond the mark': (history, prng) => {
    const poll = pick(prng, polls(history))
    return poll === null
      ? null
      : changed(history, answering(poll, { ...poll.output!, logStart: poll.output!.highWatermark! + 1 }))
  },
  'a record from below the log start': (history, prng) => {
    const cut = history.filter((each) => isOf(each, 'trim')).filter(({ output }) => (output?.start ?? 0) > 0)
    const found = pair(prng, cut, full(history), (trim, poll) => samePlace(trim, poll) && surelyBefore(trim, poll))
    if (found === null) return null
    const [trim, poll] = found
    const send = sends(history).find((each) => samePlace(each, trim) && each.output!.offset < trim.output!.start!)
    if (send === undefined) return null
    const { offset } = send.output!
    const moved = { ...poll, input: { ...poll.input, position: offset } }
    const seek: Operation = {
      id: 1_000_001,
      process: poll.process,
      call: poll.call - 0.5,
      return: poll.call - 0.25,
      input: { f: 'seek', partition: partitionOf(poll), position: offset },
      output: { f: 'seek' },
    }
    return [...changed(history, showing(moved, [[offset, send.input.values[0]!]])), seek]
  },
  'cut beyond what was allowed': (history, prng) => {
    const trim = pick(prng, history.filter((each) => isOf(each, 'trim')).filter(isKnown))
    if (trim === null) return null
    const allowed = Math.max(
      ...history
        .filter((each) => isOf(each, 'trim'))
        .filter((each) => samePlace(each, trim))
        .map(({ input }) => input.before),
    )
    return changed(history, answering(trim, { f: 'trim', start: allowed + 1 }))
  },
  'two owners': (history, prng) => {
    const found = pair(
      prng,
      assignsOf(history),
      assignsOf(history),
      (a, b) =>
        a.process !== b.process && a.output!.generation === b.output!.generation && a.output!.partitions.length > 0,
    )
    return found === null
      ? null
      : changed(history, answering(found[1], { ...found[1].output!, partitions: found[0].output!.partitions }))
  },
  'a generation goes back': (history, prng) => {
    const found = pair(
      prng,
      assignsOf(history),
      assignsOf(history),
      (a, b) => a.process === b.process && surelyBefore(a, b),
    )
    return found === null
      ? null
      : changed(
          history,
          answering(found[1], { ...found[1].output!, generation: found[0].output!.generation - 1, partitions: [] }),
        )
  },
  'a commit of an earlier generation': (history, prng) => {
    const commit = pick(
      prng,
      commitsOf(history).filter(({ input }) => input.generation > 1),
    )
    return commit === null
      ? null
      : changed(history, { ...commit, input: { ...commit.input, generation: commit.input.generation - 1 } })
  },
  'a commit of what was not delivered': (history, prng) => {
    const commit = pick(prng, commitsOf(history))
    return commit === null
      ? null
      : changed(history, { ...commit, input: { ...commit.input, offset: commit.input.offset + 1000 } })
  },
  'a commit goes back': (history, prng) => {
    const found = pair(
      prng,
      commitsOf(history),
      commitsOf(history),
      (a, b) => samePlace(a, b) && surelyBefore(a, b) && a.input.offset > 1,
    )
    if (found === null) return null
    const lower = found[0].input.offset - 1
    const withoutSeeks = history.filter(
      ({ input, id }) => id === found[1].id || input.f !== 'seek' || input.position > lower,
    )
    return changed(withoutSeeks, { ...found[1], input: { ...found[1].input, offset: lower } })
  },
  'a stale position': (history, prng) => {
    const told = history.filter((each) => isOf(each, 'committed')).filter(isKnown)
    const found = pair(
      prng,
      commitsOf(history),
      told,
      (commit, position) => samePlace(commit, position) && surelyBefore(commit, position) && commit.input.offset > 0,
    )
    return found === null ? null : changed(history, answering(found[1], { f: 'committed', offset: -1 }))
  },
  'a position that nobody committed': (history, prng) => {
    const told = pick(prng, history.filter((each) => isOf(each, 'committed')).filter(isKnown))
    return told === null ? null : changed(history, answering(told, { f: 'committed', offset: 123_456 }))
  },
}
