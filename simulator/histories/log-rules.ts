/** What is in a log, and in which order: rules over one partition. */
import { isRefused, type Operation } from './history.ts'
import { type Anomaly, byReturn, Frontier, label, type PartitionFacts, type Send } from './log-facts.ts'

export function checkContents(facts: PartitionFacts, finished: boolean, anomalies: Anomaly[]): void {
  const found = (name: Anomaly['name'], what: string, ...operations: Operation[]): void => {
    anomalies.push({ name, where: facts.name, what, operations })
  }
  const see = (offset: number, value: string, by: Operation): void => {
    const there = facts.at.get(offset)!
    if (there.value !== value)
      found(
        'inconsistent-offset',
        `offset ${offset} holds "${value}" for ${label(by)} and "${there.value}" for ${label(there.by)}`,
        by,
        there.by,
      )
    const place = facts.placeOf.get(value)!
    if (place.offset !== offset && facts.sentBy.get(value)?.input.mayRepeat !== true)
      found('duplicate', `"${value}" is at offset ${offset} and at ${place.offset}`, by, place.by)
  }
  for (const send of facts.sends) {
    const { output } = send
    if (output === null) continue
    for (const [i, value] of send.input.values.entries()) see(output.offset + i, value, send)
  }
  for (const poll of facts.polls) {
    for (const [offset, value] of poll.output?.records ?? []) {
      see(offset, value, poll)
      const send = facts.sentBy.get(value)
      if (send === undefined) found('phantom-read', `"${value}" at offset ${offset} was sent by nobody`, poll)
      else if (isRefused(send)) found('aborted-read', `"${value}" at offset ${offset} was refused`, poll, send)
      else if (send.call > poll.return) found('early-read', `"${value}" was read before it was sent`, poll, send)
    }
  }
  for (const send of facts.sends) {
    checkWhole(facts, send, anomalies)
    const { output } = send
    if (output === null) continue
    for (const [i, value] of send.input.values.entries()) {
      const offset = output.offset + i
      if (offset < facts.start || facts.polled.has(offset)) continue
      if (offset < facts.polledEnd)
        found(
          'lost-write',
          `"${value}" was acknowledged at offset ${offset}, below what was read, and never read`,
          send,
        )
      else if (finished)
        found('unseen', `"${value}" was acknowledged at offset ${offset}; the log ends at ${facts.polledEnd}`, send)
    }
  }
}

/** The values of one send stand next to each other, in their order: it is one batch, in the log as a whole or not at all. */
function checkWhole(facts: PartitionFacts, send: Send, anomalies: Anomaly[]): void {
  if (send.input.mayRepeat === true) return
  const { values } = send.input
  let base: number | null = null
  for (let i = 0; i < values.length; i++) {
    const place = facts.placeOf.get(values[i]!)
    if (place === undefined) continue
    base ??= place.offset - i
    if (place.offset === base + i) continue
    const what = `"${values[i]}" is at offset ${place.offset}, where the rest of its send calls for ${base + i}`
    anomalies.push({ name: 'torn-send', where: facts.name, what, operations: [send, place.by] })
    return
  }
}

/** Real time, and each ordered producer's own. */
export function checkOrder(facts: PartitionFacts, anomalies: Anomaly[]): void {
  const known = new Frontier()
  for (const operation of byReturn<Operation>([...facts.sends, ...facts.polls])) {
    const { output, input } = operation
    if (output?.f === 'send' && input.f === 'send')
      known.learn(operation.return, output.offset + input.values.length, operation)
    else if (output?.f === 'poll') {
      const last = output.records.at(-1)
      const end = Math.max(output.highWatermark ?? 0, last === undefined ? 0 : last[0] + 1)
      known.learn(operation.return, end, operation)
    }
  }
  const lastOf = new Map<string, { send: Send; end: number }>()
  for (const send of facts.sends) {
    // Where it stands: as acknowledged, or as somebody saw it.
    const offset = send.output?.offset ?? facts.placeOf.get(send.input.values[0] ?? '')?.offset
    if (offset === undefined || send.input.mayRepeat === true) continue
    const floor = known.before(send.call)
    if (floor !== null && offset < floor.value) {
      const what = `${label(send)} stands at offset ${offset}; ${floor.value} were known when it was called`
      anomalies.push({ name: 'stale-offset', where: facts.name, what, operations: [send, floor.by] })
    }
    if (send.input.ordered !== true) continue
    const last = lastOf.get(send.process)
    if (last !== undefined && offset < last.end) {
      const what = `${label(send)} stands at offset ${offset}, below ${label(last.send)} before it`
      anomalies.push({ name: 'nonmonotonic-send', where: facts.name, what, operations: [send, last.send] })
    }
    lastOf.set(send.process, { send, end: offset + send.input.values.length })
  }
  for (const poll of facts.polls) {
    const mark = poll.output?.highWatermark
    const floor = known.before(poll.call)
    if (mark === undefined || floor === null || mark >= floor.value) continue
    const what = `${label(poll)} was shown the mark ${mark}; ${floor.value} were known when it was called`
    anomalies.push({ name: 'stale-mark', where: facts.name, what, operations: [poll, floor.by] })
  }
}
