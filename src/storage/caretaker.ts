/**
 * What is done for files that are damaged, or may be: scrubbing, and repairs in the shards' logs. Whoever drives this knows other
 * replicas and has a clock; here is everything that has to do with files.
 */

import type { Disk } from '../platform/index.ts'
import { TypedError } from '../stdx/index.ts'
import { readFile, replaceFile } from './atomic-file.ts'
import type { Background } from './background.ts'
import { decodeCheckpoint } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { decodeIdentity, encodeIdentity, type Identity } from './identity.ts'
import { checkpointFile, copyOf, identityFile, termsFile } from './layout.ts'
import type { LogDamage, SwapOutcome } from './log-repairs.ts'
import type { LogStart } from './log-start.ts'
import type { PartArrival } from './part-arrival.ts'
import { type Procedure, run } from './procedure.ts'
import { putAside } from './put-aside.ts'
import { Scrubber } from './scrubber.ts'
import type { SegmentRepair } from './segment-repair.ts'
import type { ShardLog } from './shard-log.ts'
import { decodeTerms } from './terms.ts'

export interface CaretakerCollaborators {
  readonly disk: Disk
  readonly background: Background
  readonly trace: (event: StorageEvent) => void
  readonly logs: ReadonlyMap<number, ShardLog>
  readonly identity: () => Identity
  /** Both copies of the bound of terms, in their turn among its other writes. */
  readonly rewriteTerms: () => void
  /** Writes the checkpoint and its copy. */
  readonly checkpoint: () => void
}

/** What lies below `floor`, from `startOffset` on, as another replica has it. */
export interface WantedPart {
  readonly shard: number
  readonly floor: LogStart
  readonly startOffset: number
}

interface Twin {
  readonly path: string
  readonly decode: (bytes: Buffer, file: string) => unknown
  readonly mend: (file: string) => Procedure<void>
}

const FILE_BYTES_MAX = 2 ** 32

export class Caretaker {
  readonly scrubber: Scrubber
  /** Something of a shard's log is damaged that was not known to be. */
  onDamage: (shard: number) => void = () => {}
  readonly #directory: string
  readonly #the: CaretakerCollaborators

  constructor(directory: string, collaborators: CaretakerCollaborators) {
    this.#directory = directory
    this.#the = collaborators
    this.scrubber = new Scrubber({ ...collaborators, scrubTwins: () => this.#scrubTwins() })
  }

  /** Not repaired yet. */
  get damages(): readonly LogDamage[] {
    return [...this.#the.logs.values()].flatMap(({ repairs }) => repairs.damages)
  }

  /** What compaction has left of the shard's log is damaged, and another replica's is wanted in its place; null: it is not. */
  lostPart(shard: number): (WantedPart & { readonly file: string }) | null {
    const log = this.#the.logs.get(shard)
    const damage = log?.repairs.cleanedDamage ?? null
    // One that has arrived waits for a checkpoint.
    if (log === undefined || damage === null || log.cleaner.finished !== null) return null
    const { firstIndex: index, firstOffset: startOffset, cleaner } = log
    return { shard, floor: { index, offset: cleaner.view.floorOffset }, startOffset, file: damage.file }
  }

  /**
   * Where another replica's floor must be for what lies below it to take the place of what is here, of damage from `firstIndex` on
   * some at least: what that replica has cut lies below its floor, and it has the rest.
   */
  mayReplace(shard: number, firstIndex: number, floor: LogStart): boolean {
    const log = this.#the.logs.get(shard)
    return log !== undefined && floor.index > Math.max(firstIndex, log.firstIndex) && floor.index <= log.lastIndex
  }

  /** What was cut is damaged no longer, once a checkpoint says that it was cut. */
  checkpoint(): void {
    this.#the.checkpoint()
  }

  startOffset(shard: number): number {
    return this.#the.logs.get(shard)?.firstOffset ?? 0
  }

  /** Null: there is no such log any more, or something else is arriving for it. */
  receivePart(shard: number, floor: LogStart, begin: (arrival: PartArrival | null) => void): void {
    const log = this.#the.logs.get(shard)
    if (log === undefined) begin(null)
    else log.cleaner.receive(floor, begin)
  }

  /** What has arrived takes the place of what is there, with the next checkpoint. */
  adoptPart(shard: number, part: CleanedPart, floor: LogStart): void {
    this.#the.logs.get(shard)?.cleaner.adopt(part, floor)
  }

  /** A range of the shard's log to be fetched, of a file that is not `tried`; null: none that could be told to be right. */
  beginRepair(shard: number, tried: ReadonlySet<string>, done: (repair: SegmentRepair | null) => void): void {
    const { background, logs } = this.#the
    background.read((finished) =>
      run(logs.get(shard)?.repairs.next(tried) ?? nothing(), (_error, repair) => {
        finished()
        done(repair ?? null)
      }),
    )
  }

  /** What this node's own files, damaged or not, have from `index` on; nothing where they are damaged there. */
  readOwn(shard: number, index: number, maxBytes: number, done: (entries: readonly Entry[]) => void): void {
    const log = this.#the.logs.get(shard)
    if (log === undefined) done([])
    else log.readFromIndex(index, maxBytes, (error, entries) => done(error === null ? entries : []))
  }

  /** `repair` is complete: it takes the place of what it repairs. */
  completeRepair(repair: SegmentRepair, done: (error: Error | null, outcome?: SwapOutcome) => void): void {
    const log = this.#the.logs.get(repair.range.shard)
    if (log !== undefined) log.completeRepair(repair, done)
    else repair.discard(() => done(null, 'moot'))
  }

  *#scrubTwins(): Procedure<number> {
    let bytes = 0
    for (const { path, decode, mend } of this.#twins()) {
      for (const file of [path, copyOf(path)]) {
        const found = yield* this.#look(file, decode)
        bytes += found.bytes?.length ?? 0
        if (found.reason === null) continue
        const { disk, trace } = this.#the
        const quarantined = found.bytes === null ? null : yield* putAside(disk, this.#directory, file, found.bytes)
        yield* mend(file)
        trace({ type: 'file-repaired', file, reason: found.reason, quarantined })
      }
    }
    return bytes
  }

  /** What is kept twice, and how it is written again. Terms and checkpoint have a writer of their own: two would share a temporary file. */
  #twins(): readonly Twin[] {
    const { disk, identity, rewriteTerms, checkpoint } = this.#the
    return [
      {
        path: identityFile(this.#directory),
        decode: decodeIdentity,
        mend: (file) => replaceFile(disk, file, [encodeIdentity(identity())]),
      },
      { path: termsFile(this.#directory), decode: decodeTerms, mend: () => asks(rewriteTerms) },
      { path: checkpointFile(this.#directory), decode: decodeCheckpoint, mend: () => asks(checkpoint) },
    ]
  }

  *#look(
    file: string,
    decode: (bytes: Buffer, file: string) => unknown,
  ): Procedure<{ readonly bytes: Buffer | null; readonly reason: string | null }> {
    try {
      const bytes = yield* readFile(this.#the.disk, file, FILE_BYTES_MAX)
      const decoded = decode(bytes, file)
      return { bytes, reason: decoded instanceof StorageError ? decoded.message : null }
    } catch (error) {
      if (!(error instanceof TypedError)) throw error
      return { bytes: null, reason: error.message }
    }
  }
}

// biome-ignore lint/correctness/useYield: what there is to do where there is nothing.
function* nothing(): Procedure<null> {
  return null
}

// biome-ignore lint/correctness/useYield: it is done elsewhere, in its time.
function* asks(write: () => void): Procedure<void> {
  write()
}
