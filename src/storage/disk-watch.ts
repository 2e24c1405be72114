/**
 * Watches the disk under the data directory: how much of it is left, and whether it answers (F20, F21).
 *
 *     free  ──────╲                   ╱─────────
 *     reserve + ¼ ─╲─────────────────╱
 *     reserve ──────╲───────────────╱
 *                    ╲_____________╱
 *             ample │     low      │ ample          in between the two lines: as it was
 *
 * Votes, terms, metadata, offsets and checkpoints must be writable whatever happens, so the last bytes are theirs: while the disk
 * is low it takes no records. Work that was refused for lack of room makes it low too, whatever the file system says of its free
 * bytes: quotas and thin volumes say nothing.
 *
 * A disk is stuck when one journal block has been on its way for too long. That is measured in the time in which this process
 * was awake: after a pause the timer fires before the answer that waits beside it is read (as in cluster/heartbeat.ts), so a tick
 * adds two intervals at the most, however late it comes.
 */
import type { Clock, Disk, DiskSpace, Timer } from '../platform/index.ts'
import type { StorageEvent } from './events.ts'

export interface DiskWatchOptions {
  readonly node: number
  readonly directory: string
  /** null: what suits the file system. Never more than a tenth of it. */
  readonly reserveBytes: number | null
  readonly stuckMs: number
}

export interface DiskWatchCollaborators {
  readonly clock: Clock
  readonly disk: Disk
  /** The storage that writes there. */
  readonly storage: {
    readonly journalBlockInFlight: number
    readonly awaitsRoom: boolean
    tryAgain(): void
    proveJournalEnd(): void
    saveSpace(save: boolean, journalBytes: number): void
  }
  readonly trace: (event: StorageEvent) => void
  /** `low` or `stuck` is another, or may say something else; and once when the disk was looked at first. */
  readonly changed: () => void
}

export const DISK_STUCK_MS = 700
const RESERVE_BYTES_DEFAULT = 256 << 20
const SHARE_DEFAULT = 0.05
const SHARE_MAX = 0.1
/** Above the reserve by so much of it, the disk is ample again. */
const MARGIN_SHARE = 0.25
/** Of the reserve: what shard logs leave to the journal. */
const JOURNAL_SHARE = 1 / 16
const SPACE_INTERVAL_MS = 500
const ANSWER_INTERVAL_MS = 100
/** Room was missing so recently that it is not believed to be there. */
const REFUSED_FOR_MS = 2000

export class DiskWatch {
  readonly #options: DiskWatchOptions
  readonly #with: DiskWatchCollaborators
  readonly #timers: Timer[] = []
  #space: DiskSpace | null = null
  #measuring = false
  #refusedAt = Number.NEGATIVE_INFINITY
  #low = false
  #wasJudged = false
  /** The block that was on its way at the previous tick, and for how long it has been. */
  #block = 0
  #waitedMs = 0
  #tickedAt = 0
  #stuck = false

  constructor(options: DiskWatchOptions, collaborators: DiskWatchCollaborators) {
    this.#options = options
    this.#with = collaborators
  }

  start(): void {
    const { clock } = this.#with
    this.#tickedAt = clock.now()
    this.#timers.push(
      clock.every(SPACE_INTERVAL_MS, () => this.#measure()),
      clock.every(this.#answerIntervalMs, () => this.#tick()),
    )
    this.#measure()
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel()
  }

  get space(): DiskSpace | null {
    return this.#space
  }

  get reserveBytes(): number {
    return reserveOf(this.#options.reserveBytes, this.#space)
  }

  /** Why no records are taken, in a sentence for clients and operators; null: they are. */
  get low(): string | null {
    if (!this.#low) return null
    const { node } = this.#options
    const until = 'writes are refused until there is more; reads, deletes and administration go on'
    const space = this.#space
    if (space === null || space.freeBytes >= this.#ampleBytes) return `node ${node}'s disk takes no more: ${until}`
    const left = `${bytes(space.freeBytes)} left, below its reserve of ${bytes(this.reserveBytes)}`
    return `node ${node}'s disk has ${left}: ${until}`
  }

  /** So long a journal write has not come back, once that is too long; else 0. */
  get stuckMs(): number {
    return this.#stuck ? this.#waitedMs : 0
  }

  /** Something was refused for lack of room. */
  refused(): void {
    this.#refusedAt = this.#with.clock.now()
    if (this.#timers.length === 0) return
    this.#judge()
    this.#measure()
  }

  get #answerIntervalMs(): number {
    return Math.min(ANSWER_INTERVAL_MS, this.#options.stuckMs / 4)
  }

  get #ampleBytes(): number {
    return this.reserveBytes * (1 + MARGIN_SHARE)
  }

  #measure(): void {
    if (this.#timers.length === 0 || this.#measuring) return
    this.#measuring = true
    const { disk, storage } = this.#with
    disk.space(this.#options.directory, (error, space) => {
      this.#measuring = false
      if (this.#timers.length === 0) return
      // A disk that cannot even say that: what it said last is the best that is known.
      if (error === null) this.#space = space ?? null
      this.#judge()
      if (storage.awaitsRoom) storage.tryAgain()
    })
  }

  #judge(): void {
    const { clock, storage, trace } = this.#with
    const refused = storage.awaitsRoom || clock.now() - this.#refusedAt < REFUSED_FOR_MS
    const freeBytes = this.#space?.freeBytes ?? null
    const { reserveBytes } = this
    const needed = this.#low ? this.#ampleBytes : reserveBytes
    const low = refused || (freeBytes !== null && freeBytes < needed)
    // Also where nothing else is new: it may have been low before its size was known, and the reserve with it.
    storage.saveSpace(low, Math.floor(reserveBytes * JOURNAL_SHARE))
    const isFirst = !this.#wasJudged
    this.#wasJudged = true
    if (low === this.#low) {
      // With another figure in the sentence.
      if (low || isFirst) this.#with.changed()
      return
    }
    this.#low = low
    trace({ type: low ? 'disk-low' : 'disk-ample', freeBytes, reserveBytes })
    this.#with.changed()
  }

  #tick(): void {
    const now = this.#with.clock.now()
    const elapsedMs = Math.min(now - this.#tickedAt, 2 * this.#answerIntervalMs)
    this.#tickedAt = now
    const { journalBlockInFlight: block } = this.#with.storage
    const same = block !== 0 && block === this.#block
    const waitedMs = same ? this.#waitedMs + elapsedMs : 0
    const stuck = waitedMs >= this.#options.stuckMs
    const milliseconds = Math.round(stuck ? waitedMs : this.#waitedMs)
    this.#block = block
    this.#waitedMs = waitedMs
    this.#with.storage.proveJournalEnd()
    if (stuck === this.#stuck) return
    this.#stuck = stuck
    this.#with.trace({ type: stuck ? 'disk-stuck' : 'disk-answers', milliseconds })
    this.#with.changed()
  }
}

/** Small disks give a twentieth; nobody gives more than a tenth, whatever was asked for. Where the size is unknown: nothing. */
export function reserveOf(configured: number | null, space: DiskSpace | null): number {
  if (space === null) return 0
  const wanted = configured ?? Math.min(RESERVE_BYTES_DEFAULT, space.totalBytes * SHARE_DEFAULT)
  return Math.floor(Math.min(wanted, space.totalBytes * SHARE_MAX))
}

function bytes(count: number): string {
  return count >= 1 << 20 ? `${Math.floor(count / (1 << 20))} MiB` : `${Math.floor(count / 1024)} KiB`
}
