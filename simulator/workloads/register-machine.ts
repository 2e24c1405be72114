/**
 * Registers with read, write and compare-and-set: a state machine that is not one of the product's, on a shard like any other.
 *
 * It is the smallest machine with which linearizability can be put to the test. Everything goes through the log, reads too, so
 * the log's order is the order of the operations, and each answer can say its place in it:
 *
 *      client ──► submit ──► record ──► entry ──► quorum ──► apply: look, compare, set ──► answer with the record's offset
 *
 * What an operation does is decided when it is applied, on every replica alike; only the leader that took it remembers who
 * asked. One that stops leading cannot tell what will become of an entry that it has proposed (`unknown`), but it can of what
 * was never in an entry (`refused`).
 */
import { encodeKeyedBatch, forEachKeyedChange } from '../../src/records/index.ts'
import type { Draft, DraftContext, Shard, Standing, StateMachine } from '../../src/replication/index.ts'
import { type Entry, EntryKind, payloadOf } from '../../src/storage/index.ts'
import type { RegisterEvent } from '../observer.ts'

export type RegisterOperation = RegisterEvent['operation']
export type RegisterOutcome = RegisterEvent['outcome']

interface Waiter {
  readonly key: string
  readonly operation: RegisterOperation
  readonly done: (outcome: RegisterOutcome) => void
  /** Where it stands in the log; −1 until it is in an entry. */
  offset: number
  outcome: RegisterOutcome | null
}

const REFUSED: RegisterOutcome = { kind: 'refused' }
const UNKNOWN: RegisterOutcome = { kind: 'unknown' }

export class RegisterMachine implements StateMachine {
  readonly #shard: Shard
  readonly #registers = new Map<string, string>()
  /** The term in which operations are taken; 0: in none. */
  #term = 0
  #proposed: Waiter[] = []
  #drafted: Waiter[] = []
  /** In entries of `#term`, in the order of the log. */
  #logged: Waiter[] = []

  constructor(shard: Shard) {
    this.#shard = shard
  }

  /** All of the state is in the snapshot, so the log below it is not needed (DESIGN, "your own state machine"). */
  get cutBySnapshot(): boolean {
    return true
  }

  get leader(): number | null {
    return this.#shard.standing.leader
  }

  submit(key: string, operation: RegisterOperation, done: (outcome: RegisterOutcome) => void): void {
    if (this.#term === 0 || !this.#shard.hasRoom) return done(REFUSED)
    this.#proposed.push({ key, operation, done, offset: -1, outcome: null })
    this.#shard.requestProposal()
  }

  draft({ firstOffset, term }: DraftContext): Draft | null {
    if (this.#proposed.length === 0 || term !== this.#term) return null
    this.#drafted = this.#proposed
    this.#proposed = []
    this.#drafted.forEach((waiter, i) => {
      waiter.offset = firstOffset + i
    })
    const records = this.#drafted.map(({ key, operation }) => ({ key, value: Buffer.from(JSON.stringify(operation)) }))
    const payload = [encodeKeyedBatch(records, firstOffset, 0)]
    return { kind: EntryKind.data, recordCount: records.length, payload }
  }

  appended(): void {
    this.#logged.push(...this.#drafted)
    this.#drafted = []
  }

  apply(entry: Entry): void {
    if (entry.kind !== EntryKind.data) return
    let offset = entry.firstOffset
    forEachKeyedChange(payloadOf(entry), (key, value) => {
      const operation = JSON.parse(value!.toString()) as RegisterOperation
      const outcome = this.#perform(key, operation, offset)
      // An entry of another term at this offset is somebody else's: ours was replaced, and `roleChanged` is about to tell.
      if (entry.term === this.#term) this.#take(offset, outcome)
      offset++
    })
  }

  #perform(key: string, operation: RegisterOperation, index: number): RegisterOutcome {
    const value = this.#registers.get(key) ?? null
    if (operation.kind === 'read') return { kind: 'read', value, index }
    if (operation.kind === 'cas' && operation.expected !== value) return { kind: 'unequal', index }
    this.#registers.set(key, operation.value)
    return { kind: 'written', index }
  }

  #take(offset: number, outcome: RegisterOutcome): void {
    const waiter = this.#logged.find((each) => each.offset === offset)
    if (waiter !== undefined) waiter.outcome = outcome
  }

  applied(): void {
    while (this.#logged.length > 0 && this.#logged[0]!.outcome !== null) {
      const { done, outcome } = this.#logged.shift()!
      done(outcome!)
    }
  }

  roleChanged({ role, term, settled }: Standing): void {
    const leads = role === 'leader' && settled ? term : 0
    if (leads === this.#term) return
    this.#term = leads
    const logged = [...this.#logged, ...this.#drafted]
    const proposed = this.#proposed
    this.#logged = []
    this.#drafted = []
    this.#proposed = []
    for (const { done } of logged) done(UNKNOWN)
    for (const { done } of proposed) done(REFUSED)
  }

  snapshot(): Buffer {
    return Buffer.from(JSON.stringify([...this.#registers].sort(([a], [b]) => (a < b ? -1 : 1))))
  }

  restore(snapshot: Buffer): void {
    this.#registers.clear()
    for (const [key, value] of JSON.parse(snapshot.toString()) as [string, string][]) this.#registers.set(key, value)
  }
}
