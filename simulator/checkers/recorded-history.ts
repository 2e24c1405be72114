/**
 * E4: what clients saw in the whole run, handed to the checkers of histories at the end. They know nothing of the simulator, so
 * whatever they find here they would find in a history of real processes too.
 *
 *   - the log checker over everything that was sent, read and committed;
 *   - registers by index: all of them, per shard, with real time across keys;
 *   - registers by search, per key: the first operations of each, since searching is what it is. What it could not decide is
 *     counted and is no pass; less than a handful per key would be a failure.
 */
import type { Operation } from '../histories/history.ts'
import { checkIndexes } from '../histories/index-annotated.ts'
import { checkRegisters } from '../histories/linearizability.ts'
import { checkLog } from '../histories/log-checker.ts'
import type { Checker, ClientEvent, GroupClientEvent, RegisterEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import type { MarkExcuse } from './client-history.ts'

/** Operations of one key that are searched at first; half as many, when that leads nowhere. */
const WINDOW = 500
const WINDOW_MIN = 20
const WINDOW_STEPS = 20_000

type Draft = { -readonly [K in keyof Operation]: Operation[K] }

export interface HistoryTally {
  operations: number
  /** Register operations that the search covered, and all of them. */
  searched: number
  registers: number
}

export class RecordedHistory implements Checker {
  readonly property = 'the history of all clients'
  readonly #now: () => number
  readonly #isIdempotent: (producer: string) => boolean
  readonly #excuses: MarkExcuse
  readonly #operations: Draft[] = []
  /** By shard. */
  readonly #registers = new Map<number, Draft[]>()
  /** By the first value: sends without an answer yet. */
  readonly #sends = new Map<string, Draft>()
  /** By reader and partition: where its next reading begins. */
  readonly #positions = new Map<string, number>()
  /** By partition, then offset: the value as it was read first, so that what is read often is kept once. */
  readonly #values = new Map<string, string[]>()
  readonly tally: HistoryTally = { operations: 0, searched: 0, registers: 0 }

  constructor(now: () => number, isIdempotent: (producer: string) => boolean, excuses: MarkExcuse = () => false) {
    this.#now = now
    this.#excuses = excuses
    this.#isIdempotent = isIdempotent
  }

  client(event: ClientEvent): void {
    switch (event.type) {
      case 'sent': {
        const { client, values } = event
        const partition = `${event.topic}/${event.partition}`
        const ordered = this.#isIdempotent(client)
        const send = this.#note(
          client,
          this.#now(),
          Number.POSITIVE_INFINITY,
          { f: 'send', partition, values, ordered },
          null,
        )
        this.#sends.set(values[0]!, send)
        return
      }
      case 'acknowledged': {
        const send = this.#sends.get(event.values[0]!)
        if (send === undefined || send.output !== null) return
        send.return = this.#now()
        send.output = { f: 'send', offset: event.baseOffset }
        return
      }
      case 'fetched':
        return this.#fetched(event)
      case 'register':
        return this.#register(event)
      case 'group-assigned':
      case 'group-committed':
      case 'group-commit-unknown':
      case 'group-position':
        return this.#group(event)
    }
  }

  /** `complete`: readers have read everything to its end. */
  finish(complete: boolean): void {
    const [anomaly] = checkLog(this.#operations, { finished: complete })
    if (anomaly !== undefined)
      throw new Violation(this.property, `${anomaly.name} in ${anomaly.where}: ${anomaly.what}`)
    for (const [shard, operations] of this.#registers) {
      const [wrong] = checkIndexes(operations, 1)
      if (wrong !== undefined) throw new Violation(this.property, `${wrong.name} in shard ${shard}: ${wrong.what}`)
      this.#search(shard, operations)
    }
    this.tally.operations += this.#operations.length
  }

  #search(shard: number, operations: readonly Operation[]): void {
    const keys = new Map<string, Operation[]>()
    for (const operation of operations) {
      const key = 'key' in operation.input ? operation.input.key : ''
      const of = keys.get(key)
      if (of === undefined) keys.set(key, [operation])
      else of.push(operation)
    }
    for (const [key, all] of keys) {
      this.tally.registers += all.length
      for (let window = Math.min(WINDOW, all.length); ; window >>= 1) {
        const { violations, exhausted } = checkRegisters(beginning(all, window), WINDOW_STEPS)
        const [violation] = violations
        if (violation !== undefined) {
          const { f } = violation.stuck.input
          const what = `no order of the operations on ${key} explains the ${f} ${violation.stuck.id} of ${violation.stuck.process}`
          throw new Violation('registers are linearizable', `shard ${shard}: ${what}`)
        }
        if (exhausted.length === 0) {
          this.tally.searched += window
          break
        }
        if (window < WINDOW_MIN)
          throw new Violation(
            'registers are linearizable',
            `shard ${shard}, ${key}: not even ${window} operations can be decided`,
          )
      }
    }
  }

  #note(process: string, call: number, end: number, input: Operation['input'], output: Operation['output']): Draft {
    const operation = { id: this.#operations.length, process, call, return: end, input, output }
    this.#operations.push(operation)
    return operation
  }

  #fetched(event: ClientEvent & { readonly type: 'fetched' }): void {
    const { client, askedAtMs, position, highWatermark, logStart } = event
    const partition = `${event.topic}/${event.partition}`
    const now = this.#now()
    const records = this.#kept(partition, event.records)
    // An old mark may be shown by a leader whose lease is in doubt (lease-doubt.ts); nothing is said of it then.
    const mark = this.#excuses(event.by, askedAtMs) ? {} : { highWatermark }
    const output = { f: 'poll', records, ...mark, ...(logStart === undefined ? {} : { logStart }) } as const
    const key = `${client} ${partition}`
    const expected = this.#positions.get(key)
    // A look at where the log ends, by somebody who reads elsewhere in it.
    if (records.length === 0 && expected !== undefined && position > expected) {
      this.#note(`${client} (looking)`, askedAtMs, askedAtMs, { f: 'seek', partition, position }, { f: 'seek' })
      this.#note(`${client} (looking)`, askedAtMs, now, { f: 'poll', partition, position }, output)
      return
    }
    // Going back is a reader's right, and so is where it begins; going on elsewhere than it stopped is not.
    if (expected === undefined || position < expected)
      this.#note(client, askedAtMs, askedAtMs, { f: 'seek', partition, position }, { f: 'seek' })
    this.#note(client, askedAtMs, now, { f: 'poll', partition, position }, output)
    this.#positions.set(key, position + records.length)
  }

  #kept(partition: string, records: readonly { readonly offset: number; readonly value: string }[]) {
    let values = this.#values.get(partition)
    if (values === undefined) {
      values = []
      this.#values.set(partition, values)
    }
    const kept: [number, string][] = []
    for (const { offset, value } of records) {
      const before = values[offset]
      if (before === undefined) values[offset] = value
      kept.push([offset, before === value ? before : value])
    }
    return kept
  }

  #group(event: GroupClientEvent): void {
    const { client, group } = event
    const now = this.#now()
    if (event.type === 'group-assigned') {
      const { generation, partitions } = event
      // A new process under a member's name takes its place within the generation.
      const member = partitions.length === 0 ? event.member : (event.instance ?? event.member)
      this.#note(client, now, now, { f: 'assign', group, member }, { f: 'assign', generation, partitions })
      for (const partition of partitions) this.#positions.delete(`${client} ${partition}`)
      return
    }
    const { offset, askedAtMs } = event
    const partition = `${event.topic}/${event.partition}`
    if (event.type === 'group-position') {
      this.#note(client, askedAtMs, now, { f: 'committed', group, partition }, { f: 'committed', offset })
      return
    }
    const [member, generation] = event.type === 'group-committed' ? [event.member, event.generation] : ['', 0]
    const input = { f: 'commit', group, member, generation, partition, offset } as const
    if (event.type === 'group-committed') this.#note(client, askedAtMs, now, input, { f: 'commit' })
    else this.#note(client, askedAtMs, Number.POSITIVE_INFINITY, input, null)
  }

  #register({ client, shard, key, calledAtMs, operation, outcome }: RegisterEvent): void {
    let operations = this.#registers.get(shard)
    if (operations === undefined) {
      operations = []
      this.#registers.set(shard, operations)
    }
    const unknown = outcome.kind === 'unknown'
    const end = unknown ? Number.POSITIVE_INFINITY : this.#now()
    const input: Operation['input'] =
      operation.kind === 'read'
        ? { f: 'read', key }
        : operation.kind === 'write'
          ? { f: 'write', key, value: operation.value }
          : { f: 'cas', key, expected: operation.expected, value: operation.value }
    let output: Operation['output'] = null
    if (outcome.kind === 'read') output = { f: 'read', value: outcome.value, index: outcome.index }
    else if (outcome.kind === 'unequal') output = { f: 'cas', applied: false, index: outcome.index }
    else if (outcome.kind === 'written')
      output =
        operation.kind === 'cas'
          ? { f: 'cas', applied: true, index: outcome.index }
          : { f: 'write', index: outcome.index }
    operations.push({ id: operations.length, process: client, call: calledAtMs, return: end, input, output })
  }
}

/** What had been called until the so-manieth call; what returns later is unknown then. A right history begins rightly. */
function beginning(all: readonly Operation[], count: number): readonly Operation[] {
  if (count >= all.length) return all
  const sorted = all.slice().sort((a, b) => a.call - b.call)
  const end = sorted[count]!.call
  return sorted
    .slice(0, count)
    .map((operation) =>
      operation.return < end ? operation : { ...operation, return: Number.POSITIVE_INFINITY, output: null },
    )
}
