/**
 * What compaction has left of a log at another replica, on its way to become this one's (cleaned-part.ts).
 *
 *     there   a3 ─ c9 ─ d12 ─ … ─────┤ floor        its floor may be higher: then more has been replaced, by records above ours
 *     here    a3 ─ c9 ─ d12 ─ … ─────┤ floor
 *
 * Either way it says the same, key by key, together with the entries above the floor, which this replica has or is yet to get. But all of
 * it must come from ONE state of ONE replica. Were the second half from a later cleaning, a tombstone could be gone from it while the
 * first half still holds the value that it deleted: a key would rise from the dead.
 *
 * Cleaned bytes differ from replica to replica, so no sum of ours tells whether they are right; each entry's own is looked at, and
 * the frame's that it came in. Nobody reads them before a checkpoint names them, as with a cleaning of one's own.
 */
import type { CleanedPart } from './cleaned-part.ts'
import type { CleanedWriter } from './cleaned-writer.ts'
import { type Entry, EntryKind, nextOffsetAfter, payloadOf } from './entry.ts'
import { StorageError } from './errors.ts'
import type { LogStart } from './log-start.ts'
import { type Procedure, run } from './procedure.ts'

export interface ArrivalOptions {
  readonly shard: number
  readonly generation: number
  /** Entries as they were committed begin here. */
  readonly floor: LogStart
  /** Resumes when so many bytes more may be worked on. `DISK_FULL`: the disk is low. */
  readonly pause: (bytes: number) => Procedure<void>
  /** Finished, or given up: with the files then. */
  readonly over: (part: CleanedPart | null) => void
}

export class PartArrival {
  readonly floor: LogStart
  readonly #options: ArrivalOptions
  readonly #writer: CleanedWriter
  #nextOffset = 0
  #lastIndex = 0
  #state: 'open' | 'busy' | 'over' = 'open'
  #abandoned: (() => void) | null = null

  constructor(options: ArrivalOptions, writer: CleanedWriter) {
    this.floor = options.floor
    this.#options = options
    this.#writer = writer
  }

  /** Where to go on; below are entries that were taken, or none. */
  get nextOffset(): number {
    return this.#nextOffset
  }

  /** The next ones, ascending, with holes. `REPAIR_REFUSED`: they are no such thing. */
  add(entries: readonly Entry[], done: (error: Error | null) => void): void {
    this.#work(this.#take(entries), (error) => done(error))
  }

  /** There is nothing more: the files are on the disk, for a checkpoint to name. */
  finish(done: (error: Error | null, part?: CleanedPart) => void): void {
    this.#work(this.#finish(), (error, part) => {
      if (error === null) this.#state = 'over'
      // Whoever adopts it does so before anything else is begun.
      done(error, part)
      if (error === null) this.#options.over(part!)
    })
  }

  /** For nobody any more. */
  abandon(done: () => void = () => {}): void {
    if (this.#state === 'over') return done()
    const earlier = this.#abandoned
    this.#abandoned = () => {
      earlier?.()
      done()
    }
    if (this.#state === 'open') this.#giveUp()
  }

  #work<T>(procedure: Procedure<T>, done: (error: Error | null, value?: T) => void): void {
    if (this.#state !== 'open' || this.#abandoned !== null) {
      run(refused<T>(this.#abandonment()), done)
      return
    }
    this.#state = 'busy'
    run(procedure, (error, value) => {
      this.#state = 'open'
      if (this.#abandoned === null) return done(error, value)
      this.#giveUp()
      done(this.#abandonment())
    })
  }

  #giveUp(): void {
    this.#state = 'busy'
    run(this.#writer.abandon(), () => {
      this.#state = 'over'
      this.#options.over(null)
      const abandoned = this.#abandoned
      this.#abandoned = null
      abandoned?.()
    })
  }

  #abandonment(): StorageError {
    const { shard } = this.#options
    return new StorageError(
      { code: 'CLEANING_ABANDONED', shard },
      `what comes for shard ${shard} is for nobody any more`,
    )
  }

  *#take(entries: readonly Entry[]): Procedure<void> {
    // Before: on a disk that is low it is refused, and should not have taken what it was refused.
    yield* this.#options.pause(entries.reduce((sum, { bytes }) => sum + bytes.length, 0))
    for (const entry of entries) {
      const reason = this.#wrongWith(entry)
      if (reason !== null) throw this.#refusal(entry.index, reason)
      const { kind, shard, term, index, stamp, firstOffset, recordCount } = entry
      const payload = [payloadOf(entry)]
      yield* this.#writer.add({ kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc: 0, payload })
      this.#lastIndex = index
      this.#nextOffset = nextOffsetAfter(entry)
    }
  }

  #wrongWith(entry: Entry): string | null {
    const { floor, shard } = this.#options
    if (entry.shard !== shard) return `it is an entry of shard ${entry.shard}`
    if (entry.kind !== EntryKind.data || entry.recordCount === 0) return 'it holds no records'
    if (entry.index <= this.#lastIndex || entry.firstOffset < this.#nextOffset) return 'it goes back'
    if (entry.index >= floor.index || nextOffsetAfter(entry) > floor.offset) return 'it reaches above the floor'
    return null
  }

  #refusal(index: number, reason: string): StorageError {
    const { shard, floor } = this.#options
    const details = { code: 'REPAIR_REFUSED', shard, index, reason } as const
    const what = `entry ${index} of shard ${shard}, sent as what compaction has left below ${floor.index}, is refused`
    return new StorageError(details, `${what}: ${reason}`)
  }

  *#finish(): Procedure<CleanedPart> {
    const segments = yield* this.#writer.finish()
    const { floor, generation } = this.#options
    return { floorOffset: floor.offset, generation, segments }
  }
}

// biome-ignore lint/correctness/useYield: a step that fails before it does anything.
function* refused<T>(error: StorageError): Procedure<T> {
  throw error
}
