/** A history of sends, polls and trims, gathered by partition: what the rules of the log checker are asked about. */
import { isOf, type Operation, type OperationOf } from './history.ts'

export type LogAnomalyName =
  // what is in the log
  | 'lost-write'
  | 'unseen'
  | 'aborted-read'
  | 'phantom-read'
  | 'inconsistent-offset'
  | 'duplicate'
  | 'torn-send'
  // in which order it is there
  | 'nonmonotonic-send'
  | 'stale-offset'
  | 'early-read'
  // how readers go through it
  | 'misplaced-poll'
  | 'nonmonotonic-poll'
  | 'skipped-poll'
  | 'precommitted-read'
  | 'stale-mark'
  | 'mark-backwards'
  | 'start-backwards'
  | 'start-beyond-mark'
  | 'read-below-start'
  | 'start-beyond-promise'
  // who reads it for a group
  | 'two-owners'
  | 'generation-backwards'
  | 'zombie-commit'
  | 'commit-beyond-delivered'
  | 'commit-backwards'
  | 'wrong-position'
  | 'unverified'

export interface Anomaly {
  readonly name: LogAnomalyName
  /** The partition, or the group and the partition. */
  readonly where: string
  readonly what: string
  /** Those that show it. */
  readonly operations: readonly Operation[]
}

export type Send = OperationOf<'send'>
export type Poll = OperationOf<'poll'>

/** A value at an offset, as somebody was told. */
export interface Sighting {
  readonly offset: number
  readonly value: string
  readonly by: Send | Poll
}

export class PartitionFacts {
  readonly name: string
  /** By their calls. */
  readonly sends: Send[] = []
  readonly polls: Poll[] = []
  readonly seeks: OperationOf<'seek'>[] = []
  readonly trims: OperationOf<'trim'>[] = []
  /** Who sent the value. */
  readonly sentBy = new Map<string, Send>()
  /** The first to be told what is at an offset. */
  readonly at = new Map<number, Sighting>()
  /** Where a value was first seen. */
  readonly placeOf = new Map<string, Sighting>()
  /** Offsets that some poll showed. */
  readonly polled = new Set<number>()
  /** One more than the highest offset that a poll showed. */
  polledEnd = 0
  /** Highest log start that anybody was shown. */
  start = 0

  constructor(name: string) {
    this.name = name
  }
}

export class LogFacts {
  readonly partitions = new Map<string, PartitionFacts>()
  readonly assigns: OperationOf<'assign'>[] = []
  readonly commits: OperationOf<'commit'>[] = []
  readonly positions: OperationOf<'committed'>[] = []

  constructor(history: readonly Operation[]) {
    const byCall = history.slice().sort((a, b) => a.call - b.call || a.id - b.id)
    for (const operation of byCall) {
      if (isOf(operation, 'send')) this.#partition(operation.input.partition).sends.push(operation)
      else if (isOf(operation, 'poll')) this.#partition(operation.input.partition).polls.push(operation)
      else if (isOf(operation, 'seek')) this.#partition(operation.input.partition).seeks.push(operation)
      else if (isOf(operation, 'trim')) this.#partition(operation.input.partition).trims.push(operation)
      else if (isOf(operation, 'assign')) this.assigns.push(operation)
      else if (isOf(operation, 'commit')) this.commits.push(operation)
      else if (isOf(operation, 'committed')) this.positions.push(operation)
    }
    for (const facts of this.partitions.values()) gather(facts)
  }

  #partition(name: string): PartitionFacts {
    let facts = this.partitions.get(name)
    if (facts === undefined) {
      facts = new PartitionFacts(name)
      this.partitions.set(name, facts)
    }
    return facts
  }
}

function gather(facts: PartitionFacts): void {
  const see = (offset: number, value: string, by: Send | Poll): void => {
    const sighting: Sighting = { offset, value, by }
    if (!facts.at.has(offset)) facts.at.set(offset, sighting)
    if (!facts.placeOf.has(value)) facts.placeOf.set(value, sighting)
  }
  for (const send of facts.sends) {
    for (const value of send.input.values) facts.sentBy.set(value, send)
    const { output } = send
    if (output === null) continue
    for (const [i, value] of send.input.values.entries()) see(output.offset + i, value, send)
  }
  for (const poll of facts.polls) {
    if (poll.output === null) continue
    for (const [offset, value] of poll.output.records) {
      see(offset, value, poll)
      facts.polled.add(offset)
      if (offset >= facts.polledEnd) facts.polledEnd = offset + 1
    }
    facts.start = Math.max(facts.start, poll.output.logStart ?? 0)
  }
  for (const { output } of facts.trims) facts.start = Math.max(facts.start, output?.start ?? 0)
}

/** What was known of a number that only grows, as of any moment. */
export class Frontier {
  readonly #at: number[] = []
  readonly #value: number[] = []
  readonly #by: Operation[] = []

  /** Told in the order of the returns. */
  learn(at: number, value: number, by: Operation): void {
    if (this.#value.length > 0 && value <= this.#value.at(-1)!) return
    this.#at.push(at)
    this.#value.push(value)
    this.#by.push(by)
  }

  /** Strictly before `at`; with `atToo`, at that moment too. */
  before(at: number, atToo = false): { readonly value: number; readonly by: Operation } | null {
    let low = 0
    let high = this.#at.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#at[middle]! < at || (atToo && this.#at[middle] === at)) low = middle + 1
      else high = middle
    }
    return low === 0 ? null : { value: this.#value[low - 1]!, by: this.#by[low - 1]! }
  }
}

export function byReturn<T extends Operation>(operations: readonly T[]): T[] {
  return operations.filter(({ output }) => output !== null).sort((a, b) => a.return - b.return)
}

export function label({ id, process, input }: Operation): string {
  return `${input.f} ${id} of ${process}`
}
