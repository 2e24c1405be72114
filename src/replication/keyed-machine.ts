/**
 * A state machine whose state is a map, and whose log is therefore a compacted stream: every entry's payload is record
 * batches of key → value, and a null value deletes. The cluster's metadata and the consumer groups are such machines, and a
 * Kafka consumer of their log could rebuild the map.
 *
 * The leader decides, the log orders. A change is first in the *overlay* (proposed, not committed: only the leader's own
 * decisions look at it), and becomes part of the map when its entry is applied, on every replica alike:
 *
 *      mutate ──► overlay ──► entry ──► quorum ──► apply: map, `changed` hook ──► done(null)
 *                    └── dropped when leadership is lost; the entry may still commit: done('lost')
 */
import { encodeKeyedBatch, forEachKeyedChange, type KeyedChange } from '../records/index.ts'
import { assert } from '../stdx/index.ts'
import { type Entry, EntryKind, payloadOf } from '../storage/index.ts'
import type { Draft, DraftContext, Shard, Standing, StateMachine } from './state-machine.ts'

/** null: committed and applied here. `lost`: leadership was lost first, the outcome is unknown. `not-leader`: nothing was proposed. */
export type MutationOutcome = null | 'lost' | 'not-leader'

export interface ProposedChange extends KeyedChange {
  /** In the entry of the change before it: whoever finds one of the two finds the other. */
  readonly joined?: boolean
}

/** From here on a turn's changes are spread over several entries. */
const ENTRY_BYTES_SOFT = 4 << 20

interface Waiter {
  /** Index of the entry that carries the last of the changes; 0 until there is one. */
  index: number
  /** How many changes are not in an entry yet. */
  changes: number
  readonly done: (outcome: MutationOutcome) => void
}

interface Uncommitted {
  value: Buffer | null
  /** How many proposed, not yet applied changes of this key there are; `value` is the latest. */
  changes: number
}

export abstract class KeyedMachine implements StateMachine {
  readonly cutBySnapshot = true
  protected readonly shard: Shard
  readonly #wall: () => number
  readonly #committed = new Map<string, Buffer>()
  /** Leader only. */
  readonly #overlay = new Map<string, Uncommitted>()
  #proposed: ProposedChange[] = []
  /** Changes in the draft just handed out. */
  #drafted = 0
  /** In the order of the proposals, hence of their entries' indexes. */
  #waiters: Waiter[] = []
  #appliedIndex = 0
  /** Of the last applied entry. */
  #appliedTerm = 0
  /** The term in which this node may decide; 0 when it may not. */
  #leadsInTerm = 0

  constructor(shard: Shard, wall: () => number) {
    this.shard = shard
    this.#wall = wall
  }

  /** Every key's value as of the last applied entry. */
  protected get committed(): ReadonlyMap<string, Buffer> {
    return this.#committed
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** True while this node may decide: it leads and its committed state is complete. */
  protected get leads(): boolean {
    return this.#leadsInTerm !== 0
  }

  /** Leader only: the value including proposals of its own that are not committed yet. */
  protected current(key: string): Buffer | null {
    const uncommitted = this.#overlay.get(key)
    if (uncommitted !== undefined) return uncommitted.value
    return this.#committed.get(key) ?? null
  }

  /** Leader only: keys that start with `prefix`, proposals included. */
  protected *currentKeys(prefix: string): Generator<string> {
    for (const key of this.#committed.keys()) {
      if (key.startsWith(prefix) && this.current(key) !== null) yield key
    }
    for (const [key, uncommitted] of this.#overlay) {
      if (key.startsWith(prefix) && uncommitted.value !== null && !this.#committed.has(key)) yield key
    }
  }

  /** Logs the changes as one unit. Changes made in one turn share an entry, in order. */
  protected mutate(changes: readonly ProposedChange[], done: (outcome: MutationOutcome) => void): void {
    if (!this.leads) {
      done('not-leader')
      return
    }
    assert(changes.length > 0, 'a mutation without a change has no entry to wait for')
    for (const change of changes) {
      this.#proposed.push(change)
      const uncommitted = this.#overlay.get(change.key)
      if (uncommitted === undefined) this.#overlay.set(change.key, { value: change.value, changes: 1 })
      else {
        uncommitted.value = change.value
        uncommitted.changes++
      }
    }
    this.#waiters.push({ index: 0, changes: changes.length, done })
    this.shard.requestProposal()
  }

  /**
   * After each committed change, on every replica, in log order. Also for what a snapshot of the leader has changed on a
   * machine that already had a state: what vanished first, then what is new or different, as if it had been logged.
   */
  protected changed(_key: string, _value: Buffer | null): void {}

  /** After an empty machine was given its state. */
  protected restored(): void {}

  /** This node leads and everything that was ever committed is applied here. */
  protected becameLeader(): void {}

  protected lostLeadership(): void {}

  draft(context: DraftContext): Draft | null {
    if (this.#proposed.length === 0) return null
    const changes = this.#takeForOneEntry()
    this.#drafted = changes.length
    const batch = encodeKeyedBatch(changes, context.firstOffset, this.#wall())
    return { kind: EntryKind.data, recordCount: changes.length, payload: [batch] }
  }

  /** What a turn brought, but no more than an entry should hold: the rest goes into the next one. */
  #takeForOneEntry(): ProposedChange[] {
    let bytes = 0
    let count = 0
    while (count < this.#proposed.length) {
      const { key, value, joined } = this.#proposed[count]!
      if (count > 0 && bytes >= ENTRY_BYTES_SOFT && joined !== true) break
      count++
      bytes += key.length + (value?.length ?? 0)
    }
    const taken = this.#proposed
    this.#proposed = taken.splice(count)
    if (this.#proposed.length > 0) this.shard.requestProposal()
    return taken
  }

  appended(entry: Entry): void {
    for (const waiter of this.#waiters) {
      if (waiter.index !== 0) continue
      const covered = Math.min(waiter.changes, this.#drafted)
      waiter.changes -= covered
      this.#drafted -= covered
      if (waiter.changes > 0) return
      waiter.index = entry.index
    }
  }

  apply(entry: Entry): void {
    this.#appliedIndex = entry.index
    this.#appliedTerm = entry.term
    if (entry.kind !== EntryKind.data) return
    forEachKeyedChange(payloadOf(entry), (key, value) => {
      if (value === null) this.#committed.delete(key)
      else this.#committed.set(key, Buffer.from(value)) // a slice would keep the whole entry in memory
      const uncommitted = entry.term === this.#leadsInTerm ? this.#overlay.get(key) : undefined
      if (uncommitted !== undefined && --uncommitted.changes === 0) this.#overlay.delete(key)
      this.changed(key, value)
    })
  }

  applied(): void {
    // In one turn another leader's entries may have replaced ours, been committed and applied, and only then are we told that
    // we lead no longer: an entry at our index is ours only if it is of our term. `roleChanged` answers the others.
    if (this.#appliedTerm !== this.#leadsInTerm) return
    let count = 0
    while (count < this.#waiters.length) {
      const waiter = this.#waiters[count]!
      if (waiter.index === 0 || waiter.index > this.#appliedIndex) break
      count++
    }
    if (count === 0) return
    const ready = this.#waiters.splice(0, count)
    for (const waiter of ready) waiter.done(null)
  }

  roleChanged(standing: Standing): void {
    const term = standing.role === 'leader' && standing.settled ? standing.term : 0
    if (term === this.#leadsInTerm) return
    // Two standings may arrive as one: from a leadership straight into a later one.
    if (this.#leadsInTerm !== 0) this.#lose()
    this.#leadsInTerm = term
    if (term !== 0) this.becameLeader()
  }

  #lose(): void {
    this.#leadsInTerm = 0
    this.#overlay.clear()
    this.#proposed = []
    const waiters = this.#waiters
    this.#waiters = []
    this.lostLeadership()
    for (const waiter of waiters) waiter.done('lost')
  }

  snapshot(): Buffer {
    const changes: KeyedChange[] = []
    for (const [key, value] of this.#committed) changes.push({ key, value })
    const index = Buffer.alloc(8)
    index.writeDoubleLE(this.#appliedIndex)
    return changes.length === 0 ? index : Buffer.concat([index, encodeKeyedBatch(changes, 0, 0)])
  }

  restore(snapshot: Buffer): void {
    assert(!this.leads, () => `shard ${this.shard.id}: a snapshot for the machine that decides`)
    const fresh = this.#appliedIndex === 0
    this.#appliedIndex = snapshot.readDoubleLE(0)
    const restored = new Map<string, Buffer>()
    if (snapshot.length > 8) {
      forEachKeyedChange(snapshot.subarray(8), (key, value) => {
        if (value !== null) restored.set(key, Buffer.from(value)) // a slice would keep the whole checkpoint in memory
      })
    }
    if (fresh) {
      for (const [key, value] of restored) this.#committed.set(key, value)
      this.restored()
    } else this.#replaceBy(restored)
  }

  #replaceBy(restored: ReadonlyMap<string, Buffer>): void {
    for (const key of [...this.#committed.keys()]) {
      if (restored.has(key)) continue
      this.#committed.delete(key)
      this.changed(key, null)
    }
    for (const [key, value] of restored) {
      if (this.#committed.get(key)?.equals(value)) continue
      this.#committed.set(key, value)
      this.changed(key, value)
    }
    // In the order of the leader's map: the same state gives the same snapshot, byte for byte.
    this.#committed.clear()
    for (const [key, value] of restored) this.#committed.set(key, value)
  }
}
