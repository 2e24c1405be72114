/**
 * What a node does for its disk while nobody asks for anything: it reads through its files at a pace that nobody notices, has what
 * turns out to be damaged repaired by its peers, and gives them what they lack.
 */
import { type ClusterEvent, LogRepair, PartFetch, type PeerMesh } from './cluster/index.ts'
import type { FilesStatus } from './gateways/http/index.ts'
import type { Clock, Random, Timer } from './platform/index.ts'
import type { Replica } from './replication/index.ts'
import type { Caretaker } from './storage/index.ts'

export interface CareOptions {
  /** Between the end of one pass and the beginning of the next; the first begins after a random part of it. */
  readonly scrubPauseMs: number
}

export const CARE_DEFAULTS: CareOptions = { scrubPauseMs: 600_000 }

/** Between two steps at least, so that passing over many small files is no load either. */
const STEP_PAUSE_MS = 5

export interface CareCollaborators {
  readonly clock: Clock
  readonly random: Random
  readonly caretaker: Caretaker
  readonly mesh: PeerMesh
  readonly replica: (shard: number) => Replica | undefined
  readonly trace: (event: ClusterEvent) => void
}

export class NodeCare {
  /** What compaction has left of logs, from and for other nodes. */
  readonly parts: PartFetch
  readonly #options: CareOptions & { readonly scrubBytesPerSecond: number }
  readonly #clock: Clock
  readonly #caretaker: Caretaker
  readonly #repair: LogRepair
  #timer: Timer | null = null
  #stopped = false
  #bytes = 0
  #passes = 0
  /** Files that were written again from what this node knew of them. */
  rewritten = 0

  constructor(
    self: number,
    options: CareOptions & { readonly scrubBytesPerSecond: number },
    { clock, random, caretaker, mesh, replica, trace }: CareCollaborators,
  ) {
    this.#options = options
    this.#clock = clock
    this.#caretaker = caretaker
    // The leader first: it answers as long as the cluster does.
    const replicasOf = (shard: number): readonly number[] => {
      const raft = replica(shard)?.raft
      if (raft === undefined) return []
      const { leader, voters, learners } = raft
      const all = [...voters, ...learners]
      return leader === null ? all : [leader, ...all.filter((node) => node !== leader)]
    }
    const shared = { self, clock, caretaker, mesh, replicasOf, trace }
    const chance = (site: string): boolean => random.chance(site)
    this.parts = new PartFetch({ ...shared, chance, source: (shard) => replica(shard)?.reading ?? null })
    this.#repair = new LogRepair({
      ...shared,
      parts: this.parts,
      read: (shard, index, maxBytes, done) => {
        const reading = replica(shard)?.reading
        if (reading === undefined) done(null, null)
        else reading.forRepair(index, maxBytes, done)
      },
      startAtState: (shard) => void replica(shard)?.startAtState(),
      repaired: (shard) => replica(shard)?.logRepaired(),
    })
    if (options.scrubBytesPerSecond > 0) this.#after(random.below(Math.max(1, options.scrubPauseMs)))
  }

  get status(): FilesStatus {
    const { found, repaired, damages } = this.#repair
    const { scrubBytesPerSecond: bytesPerSecond } = this.#options
    const scrub = { bytesPerSecond, bytes: this.#bytes, passes: this.#passes }
    return { found, repaired, rewritten: this.rewritten, damages, scrub }
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#repair.stop()
    this.parts.stop()
  }

  #after(pauseMs: number): void {
    this.#timer = this.#clock.after(pauseMs, () => this.#step())
  }

  #step(): void {
    this.#caretaker.scrubber.step((bytes, passDone) => {
      if (this.#stopped) return
      this.#bytes += bytes
      if (passDone) this.#passes++
      const { scrubBytesPerSecond, scrubPauseMs } = this.#options
      this.#after(passDone ? scrubPauseMs : Math.max(STEP_PAUSE_MS, (bytes / scrubBytesPerSecond) * 1000))
    })
  }
}
