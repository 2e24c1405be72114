/**
 * A shard for the tests of keyed machines: the log is under the test's control, and the calls come in the order in which a
 * replica makes them (what a turn commits is applied before the change of standing is told).
 */
import { encodeKeyedBatch } from '../records/index.ts'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../storage/index.ts'
import { KeyedMachine, type MutationOutcome, type ProposedChange } from './keyed-machine.ts'
import type { Epoch, Shard, Standing } from './state-machine.ts'

export class TestMachine extends KeyedMachine {
  /** `k=v`, `-k`, `restored`, `leads`, `lost`, in the order in which the hooks were called. */
  readonly heard: string[] = []
  isFull = false

  constructor(shard: Shard) {
    super(shard, () => 1_700_000_000_000)
  }

  put(changes: Readonly<Record<string, string | null>>, done: (outcome: MutationOutcome) => void = () => {}): void {
    const list = Object.entries(changes).map(([key, value]) => ({
      key,
      value: value === null ? null : Buffer.from(value),
    }))
    this.mutate(list, done)
  }

  putAll(changes: readonly ProposedChange[], done: (outcome: MutationOutcome) => void): void {
    this.mutate(changes, done)
  }

  /** As the leader decides, proposals included. */
  now(key: string): string | null {
    return this.current(key)?.toString() ?? null
  }

  nowKeys(prefix: string): string[] {
    return [...this.currentKeys(prefix)].sort()
  }

  get map(): Record<string, string> {
    return Object.fromEntries([...this.committed].map(([key, value]) => [key, value.toString()]))
  }

  get mayDecide(): boolean {
    return this.leads
  }

  protected override changed(key: string, value: Buffer | null): void {
    this.heard.push(value === null ? `-${key}` : `${key}=${value}`)
  }

  protected override restored(): void {
    this.heard.push('restored')
  }

  protected override becameLeader(): void {
    this.heard.push('leads')
  }

  protected override lostLeadership(): void {
    this.heard.push('lost')
  }
}

export class KeyedShard implements Shard {
  readonly id = 7
  readonly log: Entry[] = []
  standing: Standing = { role: 'follower', term: 0, leader: null, settled: false }
  readonly hasRoom = true
  readonly refusal = null
  readonly startIndex = 1
  readonly startOffset = 0
  readonly epochs: readonly Epoch[] = []
  readonly lowWaterMark = { moved: null, heldBy: null, floorWaitsFor: null, untilSnapshot: null }
  requestCut(): void {}
  requestCompaction(): void {}
  clean(): boolean {
    return true
  }

  shownFor(): number {
    return 0
  }
  pin(): () => void {
    return () => {}
  }
  segments(): void {}
  configureLog(): void {}
  commitIndex = 0
  readonly machine: TestMachine
  #requested = false

  constructor() {
    this.machine = new TestMachine(this)
  }

  requestProposal(): void {
    this.#requested = true
  }

  onRoom(): void {}

  leadsNow(): boolean {
    return this.standing.role === 'leader'
  }

  readCommitted(): readonly Entry[] {
    return []
  }

  get lastIndex(): number {
    return this.log.length
  }

  get endOffset(): number {
    const last = this.log.at(-1)
    return last === undefined ? 0 : nextOffsetAfter(last)
  }

  get committedOffset(): number {
    return this.commitIndex === 0 ? 0 : nextOffsetAfter(this.log[this.commitIndex - 1]!)
  }

  append(kind: EntryKind, term: number, recordCount: number, payload: readonly Uint8Array[]): Entry {
    const { id: shard, endOffset: firstOffset } = this
    const previousCrc = this.log.at(-1)?.crc ?? 0
    const index = this.log.length + 1
    const entry = encodeEntry({
      kind,
      shard,
      term,
      index,
      stamp: index,
      firstOffset,
      recordCount,
      previousCrc,
      payload,
    })
    this.log.push(entry)
    return entry
  }

  /** An entry that another leader made. */
  foreign(term: number, changes: Readonly<Record<string, string>>): Entry {
    const list = Object.entries(changes).map(([key, value]) => ({ key, value: Buffer.from(value) }))
    return this.append(EntryKind.data, term, list.length, [encodeKeyedBatch(list, this.endOffset, 0)])
  }

  /** Ends turns until nobody wants to propose; the entries that came of it. */
  propose(): Entry[] {
    const entries: Entry[] = []
    while (this.#requested) {
      this.#requested = false
      if (this.standing.role !== 'leader') break
      const draft = this.machine.draft({ term: this.standing.term, firstOffset: this.endOffset, stamp: 1 })
      if (draft === null) continue
      const entry = this.append(draft.kind, this.standing.term, draft.recordCount, draft.payload)
      this.machine.appended(entry)
      entries.push(entry)
    }
    return entries
  }

  commit(index = this.log.length): void {
    while (this.commitIndex < index) this.machine.apply(this.log[this.commitIndex++]!)
    this.machine.applied()
  }

  /** Drops what is not committed, as a follower does when another leader's log differs. */
  truncate(): void {
    this.log.length = this.commitIndex
  }

  become(standing: Standing): void {
    this.standing = standing
    this.machine.roleChanged(standing)
  }

  lead(term: number): void {
    this.append(EntryKind.leadership, term, 0, [])
    this.become({ role: 'leader', term, leader: 1, settled: false })
    this.commit()
    this.become({ role: 'leader', term, leader: 1, settled: true })
  }

  follow(term: number): void {
    this.become({ role: 'follower', term, leader: 2, settled: false })
  }
}
