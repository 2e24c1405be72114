/**
 * One replica of the opened core with a disk and a machine, alive: inputs in, messages out.
 *
 * The disk completes writes in order, and in its journal a later entry replaces everything from its index on. An installed snapshot
 * stands for the log up to its index, and entries of writes that were handed out before it do not count beside it. The machine does
 * nothing but remember which entries it was given: that is its state, and what a snapshot of it says.
 *
 * The replica calls itself node 1, and the others 2 and 3, whoever it is.
 */
import { CutReason, decodeCut, encodeCut, type LogStart } from '../../src/replication/cut.ts'
import type { Message } from '../../src/replication/index.ts'
import type { HardState, Raft } from '../../src/replication/raft.ts'
import { ORIGIN } from '../../src/replication/raft-log.ts'
import type { Snapshot } from '../../src/replication/snapshot.ts'
import { AssertionFailed, assert, must } from '../../src/stdx/index.ts'
import { type Entry, EntryKind, nextOffsetAfter, payloadOf } from '../../src/storage/index.ts'
import { Violation } from '../violation.ts'
import { canonical, type EntryNumbers } from './canonical.ts'
import type { OpenedCore } from './opened-core.ts'
import type { ReplicaFacts, Role } from './replica-rules.ts'

export const SHARD = 16
/** Ticks until any replica campaigns: patience is one tick, stretched by a few where one made way. */
const TICKS_MAX = 100
const NO_CONFIGURATION = Buffer.alloc(0)

/** What can happen to one replica. */
export const Input = {
  deliver: 0,
  persisted: 1,
  timeout: 2,
  propose: 3,
  crash: 4,
  restart: 5,
  peerDown: 6,
  peerUp: 7,
  resign: 8,
  /** A leader proposes that everything that is committed be cut. */
  cut: 13,
  installed: 14,
} as const
export type Input = (typeof Input)[keyof typeof Input]

/** What a power loss spares. */
export interface Disk {
  term: number
  vote: number
  /** Stands for the log up to its index. */
  base: { readonly snapshot: Snapshot; readonly start: LogStart } | null
  /** What follows the base, or everything. */
  entries: Entry[]
}

interface Write {
  readonly sequence: number
  readonly hardState: HardState | null
  readonly entries: readonly Entry[]
}

interface Install {
  readonly snapshot: Snapshot
  readonly hardState: HardState
  /** The last write that was handed out before it. */
  readonly sequence: number
}

export interface LivingOptions {
  readonly core: OpenedCore
  readonly numbers: EntryNumbers
  /** One entry per append instead of all that are due. */
  readonly singleEntryAppends: boolean
  readonly preVote: boolean
  readonly snapshotChunkBytes: number
}

/** Of an opened `Raft`. */
interface OpenedRaftCore {
  readonly persistence: { readonly open$completed: number; readonly open$issued: number }
  campaign(kind: 'vote'): void
}

export class LivingReplica {
  readonly #options: LivingOptions
  readonly #disk: Disk
  #raft: Raft | null = null
  #writes: Write[] = []
  #installs: Install[] = []
  /** What the machine was given, by index − 1. */
  #applied: number[] = []
  #last: Entry | Snapshot | null = null
  #campaigned = false

  constructor(disk: Disk, options: LivingOptions) {
    this.#disk = { ...disk, entries: [...disk.entries] }
    this.#options = options
    this.#readBase()
  }

  /** `from` and `argument` are the input's; messages that leave go to `send`. */
  apply(input: Input, from: number, argument: Message | number, send: (to: number, message: Message) => void): void {
    try {
      this.#take(input, from, argument)
      if (input !== Input.crash) this.#drain(send)
    } catch (error) {
      if (error instanceof AssertionFailed) throw new Violation('the core’s own assertions', error.message)
      throw error
    }
  }

  #take(input: Input, from: number, argument: Message | number): void {
    switch (input) {
      case Input.deliver:
        return this.#running.step(from, argument as Message)
      case Input.persisted: {
        const write = must(this.#writes.shift(), 'a write')
        applyWrite(this.#disk, write)
        return this.#running.persisted(write.sequence)
      }
      case Input.installed:
        return this.#install()
      case Input.timeout:
        return this.#campaign()
      case Input.propose:
        return this.#propose(EntryKind.data, 1, Buffer.of(1))
      case Input.cut: {
        const start = { index: this.#applied.length + 1, offset: nextOffsetOf(this.#last) }
        return this.#propose(EntryKind.cut, 0, encodeCut(start, CutReason.snapshot))
      }
      case Input.crash:
        this.#raft = null
        this.#writes = []
        this.#installs = []
        this.#readBase()
        return
      case Input.restart:
        this.#raft = this.#boot()
        for (const peer of [2, 3]) if (((argument as number) & (1 << (peer - 1))) !== 0) this.#raft.peerUp(peer)
        return
      case Input.peerDown:
        return this.#running.peerDown(from)
      case Input.peerUp:
        return this.#running.peerUp(from)
      case Input.resign:
        return this.#running.stepDown()
    }
  }

  get #running(): Raft {
    return must(this.#raft, 'a running replica')
  }

  get #core(): OpenedRaftCore | null {
    return this.#raft === null ? null : (this.#raft as unknown as { readonly open$core: OpenedRaftCore }).open$core
  }

  #campaign(): void {
    this.#campaigned = false
    if (!this.#options.preVote) return must(this.#core, 'a core').campaign('vote')
    for (let ticks = 0; !this.#campaigned; ticks++) {
      assert(ticks < TICKS_MAX, 'a replica without a leader never campaigns')
      this.#running.tick()
    }
  }

  #propose(kind: EntryKind, recordCount: number, payload: Buffer): void {
    const stamp = this.#running.log.lastIndex + 1
    this.#running.propose({ kind, recordCount, payload: [payload], stamp })
  }

  #install(): void {
    const { snapshot, hardState, sequence } = must(this.#installs.shift(), 'a snapshot to install')
    const { index, nextOffset, epochs } = snapshot
    takeHardState(this.#disk, hardState)
    this.#writes = this.#writes.map((write) => (write.sequence <= sequence ? { ...write, entries: [] } : write))
    const kept = { ...snapshot, epochs: epochs.slice(-1) }
    this.#disk.base = { snapshot: kept, start: { index: index + 1, offset: nextOffset } }
    this.#disk.entries = []
    this.#readBase()
    this.#running.snapshotInstalled()
  }

  /** The machine is what the disk's snapshot says. */
  #readBase(): void {
    const { base } = this.#disk
    this.#applied = base === null ? [] : appliedIn(base.snapshot)
    this.#last = base?.snapshot ?? null
  }

  #drain(send: (to: number, message: Message) => void): void {
    const raft = this.#running
    while (raft.hasReady()) {
      const ready = raft.ready()
      const { persistSequence: sequence, hardState, entries, install } = ready
      if (sequence !== 0) this.#writes.push({ sequence, hardState, entries })
      for (const { to, message } of ready.messages) send(to, message)
      for (const entry of ready.committed) this.#apply(entry)
      if (ready.snapshotWanted) raft.snapshotTaken(this.#snapshot())
      if (install !== null) {
        const { term, vote } = raft
        const issued = must(this.#core, 'a core').persistence.open$issued
        this.#installs.push({ snapshot: install, hardState: { term, vote }, sequence: issued })
      }
      assert(ready.reads.length === 0, 'what is below the tail is below the start of the log, too')
    }
  }

  #apply(entry: Entry): void {
    assert(
      entry.index === this.#applied.length + 1,
      () => `entry ${entry.index} is applied after ${this.#applied.length}`,
    )
    this.#applied.push(this.#options.numbers.of(entry))
    this.#last = entry
    const start = entry.kind === EntryKind.cut ? decodeCut(payloadOf(entry)) : null
    if (start !== null && start.index > this.#running.log.startIndex) this.#running.cutTo(start)
  }

  #snapshot(): Snapshot {
    const last = must(this.#last, 'the last entry applied')
    const { index, crc, stamp } = last
    const epochs = this.#running.log.epochs.filter(({ firstIndex }) => firstIndex <= index)
    const entryTerm = 'term' in last ? last.term : last.entryTerm
    const state = Buffer.from(JSON.stringify(this.#applied))
    return {
      index,
      entryTerm,
      crc,
      nextOffset: nextOffsetOf(last),
      stamp,
      epochs,
      configuration: NO_CONFIGURATION,
      cleanedFrom: null,
      state,
    }
  }

  #boot(): Raft {
    const { Raft: OpenedRaft, RaftLog: OpenedLog } = this.#options.core
    const { term, vote, base, entries } = this.#disk
    const origin = base === null ? { anchor: ORIGIN, epochs: [], entries } : recovered(base, entries)
    const log = new OpenedLog({ shard: SHARD, ...origin })
    return new OpenedRaft(
      {
        shard: SHARD,
        self: 1,
        voters: [1, 2, 3],
        learners: [],
        electionTicksMin: 1,
        electionTicksMax: 1,
        electionTimeoutMs: 1000,
        maxInflightBytes: 1 << 20,
        maxAppendBytes: this.#options.singleEntryAppends ? 1 : 1 << 16,
        snapshotChunkBytes: this.#options.snapshotChunkBytes,
      },
      { term, vote, commit: base?.snapshot.index ?? 0, log },
      {
        // No beat is ever heard: nobody is protected, whoever wants to may campaign.
        contact: { alive: () => false, answeredAt: () => Number.NEGATIVE_INFINITY },
        random: { below: () => 0, bytes: (length) => Buffer.alloc(length), chance: () => false },
        now: () => 0,
        stamp: () => log.lastIndex + 1,
        trace: (event) => {
          if (event.type === 'campaign-started') this.#campaigned = true
        },
      },
    )
  }

  /** All that decides what it does from now on; `exchanged`: with its two peers in each other's place. */
  text(exchanged: boolean): string {
    const completed = this.#core?.persistence.open$completed ?? 0
    const state = [this.#core, this.#disk, this.#writes, this.#installs, this.#applied]
    return canonical(state, { numbers: this.#options.numbers, completed, exchanged })
  }

  facts(): ReplicaFacts {
    const { numbers } = this.#options
    const { term: diskTerm, vote: diskVote, base, entries } = this.#disk
    const diskLog = [...(base === null ? [] : appliedIn(base.snapshot)), ...entries.map((entry) => numbers.of(entry))]
    const disk = { diskTerm, diskVote, diskLog }
    const raft = this.#raft
    if (raft === null) {
      const commit = base?.snapshot.index ?? 0
      return {
        up: false,
        term: diskTerm,
        vote: diskVote,
        role: 0,
        log: diskLog,
        commit,
        ...disk,
        writes: 0,
        installs: 0,
      }
    }
    const { term, vote, commit, log: held } = raft
    // What is not in memory is applied.
    const log = [...this.#applied.slice(0, held.anchorIndex), ...held.slice(held.firstIndex).map((e) => numbers.of(e))]
    const role: Role = raft.role === 'leader' ? 2 : raft.role === 'candidate' ? 1 : 0
    const [writes, installs] = [this.#writes.length, this.#installs.length]
    return { up: true, term, vote, role, log, commit, ...disk, writes, installs }
  }
}

function recovered({ snapshot, start }: NonNullable<Disk['base']>, entries: readonly Entry[]) {
  const { index, entryTerm: term, crc, nextOffset, epochs } = snapshot
  return { anchor: { index, term, crc, nextOffset }, epochs, entries, start }
}

function appliedIn({ state }: Snapshot): number[] {
  return JSON.parse(state.toString())
}

function nextOffsetOf(last: Entry | Snapshot | null): number {
  if (last === null) return 0
  return 'nextOffset' in last ? last.nextOffset : nextOffsetAfter(last)
}

function takeHardState(disk: Disk, { term, vote }: HardState): void {
  if (term < disk.term || (term === disk.term && vote === 0)) return
  disk.term = term
  disk.vote = vote
}

function applyWrite(disk: Disk, { hardState, entries }: Write): void {
  if (hardState !== null) takeHardState(disk, hardState)
  const below = disk.base?.snapshot.index ?? 0
  for (const entry of entries) {
    disk.entries.length = entry.index - 1 - below
    disk.entries.push(entry)
  }
}
