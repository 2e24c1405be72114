/**
 * The small files without which nothing else in a directory means anything, identity, checkpoint and terms, are kept twice.
 *
 * A sector that rots takes one of them. Everything else that rots can be fetched from other replicas, because who we are and what
 * we hold says what to ask for; these say who we are and what we hold. A second copy costs a few background writes, and what
 * would need a protocol between nodes needs none.
 *
 *     replace file ── replace file.copy ── only now may go what the old one needed
 *          crash: old or new file, old copy      crash: new file, old or new copy
 *
 * So whichever of the two a start finds whole, the journal and the logs still have what it needs; of two whole ones it takes the
 * later, and writes the other anew. What was damaged in it goes to the quarantine first (put-aside.ts).
 */
import type { Disk } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import { readFile, replaceFile } from './atomic-file.ts'
import { StorageError } from './errors.ts'
import { isNotFound, isUnreadable } from './identity.ts'
import { copyOf } from './layout.ts'
import type { Procedure } from './procedure.ts'

/** In every file that is kept twice: magic, sum, then versions and what differs. */
const SUM_AT = 8
const SUMMED_FROM = 12

export function* replaceTwins(disk: Disk, path: string, parts: readonly Uint8Array[]): Procedure<void> {
  yield* replaceFile(disk, path, parts)
  yield* replaceFile(disk, copyOf(path), parts)
}

export interface TwinsToRead<T> {
  readonly disk: Disk
  readonly path: string
  readonly maxBytes: number
  readonly decode: (bytes: Buffer, file: string) => T | StorageError
  /** Of two whole ones that differ: is the second the later one? Where it cannot be told the first is. */
  readonly isLater?: (second: T, first: T) => boolean
}

export interface Twins<T> {
  /** Null: neither file is there, or what is there is damaged, and `error` says what. */
  readonly value: T | null
  readonly bytes: Buffer | null
  readonly error: StorageError | null
  /** What is not as it should be: to be written anew from `bytes`. Null: it is only older, as a crash between the two leaves it. */
  readonly wrong: readonly { readonly file: string; readonly reason: string | null }[]
  /** Files that are there and do not verify. */
  readonly damaged: readonly DamagedFile[]
}

export interface DamagedFile {
  readonly file: string
  readonly bytes: Buffer
}

interface Twin<T> {
  readonly file: string
  readonly bytes: Buffer | null
  readonly value: T | null
  readonly error: StorageError | null
  /** The drive has given up on it. */
  readonly unreadable: Error | null
}

export function* readTwins<T>(request: TwinsToRead<T>): Procedure<Twins<T>> {
  const { path, isLater } = request
  const first = yield* readTwin(request, path)
  const second = yield* readTwin(request, copyOf(path))
  // A newer release has written one of them: what it says is not ours to overwrite. (A rotten version fails the sum as well.)
  for (const [twin, other] of [
    [first, second],
    [second, first],
  ] as const)
    if (twin.error?.code === 'NEWER_FORMAT' && !(other.value !== null && isRotten(twin.bytes!)))
      return { value: null, bytes: null, error: twin.error, wrong: [], damaged: [] }
  const later = first.value !== null && second.value !== null && isLater?.(second.value, first.value) === true
  const good = first.value === null || later ? second : first
  // A disk that reads nothing at all says nothing of what it holds.
  const unreadable = first.unreadable ?? second.unreadable
  if (good.value === null && unreadable !== null) throw unreadable
  const damaged = [first, second].flatMap(({ file, bytes, value }) =>
    bytes !== null && value === null ? [{ file, bytes }] : [],
  )
  if (good.value === null) return { value: null, bytes: null, error: first.error ?? second.error, wrong: [], damaged }
  const wrong = [first, second]
    .filter((twin) => twin !== good && (twin.value === null || !twin.bytes!.equals(good.bytes!)))
    .map(({ file, bytes, error }) => {
      const reason = bytes === null ? 'it is missing' : (error?.message ?? null)
      return { file, reason }
    })
  return { value: good.value, bytes: good.bytes, error: null, wrong, damaged }
}

/** What is read of a file on whose sectors the drive has given up. */
const NOTHING = Buffer.alloc(0)

function* readTwin<T>({ disk, maxBytes, decode }: TwinsToRead<T>, file: string): Procedure<Twin<T>> {
  let bytes: Buffer = NOTHING
  let unreadable: Error | null = null
  try {
    bytes = yield* readFile(disk, file, maxBytes)
  } catch (error) {
    if (isNotFound(error)) return { file, bytes: null, value: null, error: null, unreadable }
    if (!isUnreadable(error)) throw error
    unreadable = error
  }
  const value = decode(bytes, file)
  if (value instanceof StorageError) return { file, bytes, value: null, error: value, unreadable }
  return { file, bytes, value, error: null, unreadable }
}

/** Whoever writes a file sums it up. So where the sum fails, what is said of the version is as rotten as the rest. */
function isRotten(bytes: Buffer): boolean {
  return crc32c(bytes.subarray(SUMMED_FROM)) !== bytes.readUInt32LE(SUM_AT)
}
