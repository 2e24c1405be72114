/**
 * `bench journal-choices`: what docs/decisions/0006-journal-writes.md rests on, to be measured again wherever somebody doubts it.
 *
 *     calls       write, then fdatasync; against one write to a file opened with O_DSYNC
 *     segments    16, 64 and 256 MiB, written over and over
 *     payloads    into the journal and later into the shard log (twice), against at once into the shard log, with a reference in
 *                 the journal (once): half of the bytes, but two syncs before an acknowledgement instead of one
 *
 * Everything is a bare loop: no product code runs. All candidates of a row take turns in slices; compared is the time from one
 * call to the next, the quicker half, as in `bench journal`.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { BareLoop, preallocate } from './bare-loop.ts'
import { runSlice, type Target, undisturbedMean } from './closed-loop.ts'
import type { Row } from './produce.ts'

const SEGMENT_BYTES = 64 << 20
const IMAGE_BYTES = 2 ** 31
/** As the shard log's writer does it. */
const SHARD_LOG_SYNC_BYTES = 4 << 20

export interface ChoicesOptions {
  readonly directory: string
  readonly seconds: number
  readonly rounds: number
  /** File systems to make in images below `directory` and to measure too. Needs root and loop devices. */
  readonly images: readonly string[]
  readonly progress: (text: string) => void
}

interface Piece {
  readonly bytes: Uint8Array
}

interface Candidate extends Target<Piece> {
  readonly name: string
  close(): void
}

export async function benchChoices(options: ChoicesOptions): Promise<Row[]> {
  const directory = fs.mkdtempSync(path.join(options.directory, 'tidemark-bench-choices-'))
  try {
    const rows = await measureIn(path.join(directory, 'here'), 'here', options)
    for (const kind of options.images) {
      const mounted = mountImage(directory, kind)
      if (mounted === null) {
        options.progress(`skipped: ${kind} cannot be made in an image and mounted here`)
        continue
      }
      try {
        rows.push(...(await measureIn(path.join(mounted, 'here'), kind, options)))
      } finally {
        spawnSync('umount', [mounted])
      }
    }
    return rows
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

function mountImage(directory: string, kind: string): string | null {
  const [image, mounted] = [path.join(directory, `${kind}.img`), path.join(directory, kind)]
  fs.mkdirSync(mounted)
  fs.writeFileSync(image, '')
  fs.truncateSync(image, IMAGE_BYTES)
  for (const [command, ...args] of [
    [`mkfs.${kind}`, '-q', image],
    ['mount', '-o', 'loop', image, mounted],
  ])
    if (spawnSync(command!, args).status !== 0) return null
  return mounted
}

async function measureIn(directory: string, disk: string, options: ChoicesOptions): Promise<Row[]> {
  const rows: Row[] = []
  const open = (name: string, segmentBytes: number, openFlags = 0): Candidate => {
    const syncs = openFlags === 0
    const loop = new BareLoop({ directory: path.join(directory, name), segmentBytes, openFlags, syncs })
    return { name, append: (records, done) => loop.append(records, done), close: () => loop.close() }
  }
  const compare = async (what: string, candidates: readonly Candidate[], loads: readonly [number, number][]) => {
    for (const [writers, bytes] of loads) {
      options.progress(`${disk}: ${what}, ${writers} x ${bytes}`)
      rows.push({
        disk,
        what,
        'writers x bytes': `${writers}x${bytes}`,
        ...(await race(candidates, writers, bytes, options)),
      })
    }
    for (const candidate of candidates) candidate.close()
    fs.rmSync(directory, { recursive: true })
  }
  const small: [number, number][] = [1, 16, 256].map((writers) => [writers, 164])
  const calls = [open('fdatasync', SEGMENT_BYTES), open('O_DSYNC', SEGMENT_BYTES, fs.constants.O_DSYNC)]
  await compare('calls', calls, [...small, [16, 16 << 10]])
  const segments = [16, 64, 256].map((size) => open(`${size} MiB`, size << 20))
  await compare('segments', segments, [
    [256, 164],
    [16, 16 << 10],
  ])
  const payloads = [new TwiceWritten(path.join(directory, 'twice')), new OnceWritten(path.join(directory, 'once'))]
  await compare('payloads', payloads, [
    [16, 16 << 10],
    [16, 64 << 10],
    [4, 256 << 10],
    [4, 1 << 20],
  ])
  return rows
}

/** Time per call of each, in ms, and the first one's divided by the others'. */
async function race(
  candidates: readonly Candidate[],
  writers: number,
  bytes: number,
  { seconds, rounds }: ChoicesOptions,
): Promise<Row> {
  const record = { bytes: Buffer.alloc(bytes, 'x') }
  const cycles = candidates.map((): number[] => [])
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < candidates.length; i++) {
      const at = (i + round) % candidates.length
      const { cyclesMs } = await runSlice(candidates[at]!, { writers, seconds, next: () => record })
      if (round > 0) for (const cycle of cyclesMs) cycles[at]!.push(cycle)
    }
  }
  const means = cycles.map(undisturbedMean)
  const row: Record<string, string | number> = {}
  for (const [i, { name }] of candidates.entries())
    row[`${'ABC'[i]}`] =
      `${name} ${means[i]!.toFixed(3)} ms${i === 0 ? '' : ` (${((means[0]! / means[i]!) * 100).toFixed(0)} %)`}`
  return row
}

/** As it is: journal, write and sync; the same bytes to a shard log, behind the acknowledgement. */
class TwiceWritten implements Candidate {
  readonly name = 'twice'
  readonly #journal: BareLoop
  readonly #log: AppendedLog

  constructor(directory: string) {
    this.#journal = new BareLoop({ directory, segmentBytes: SEGMENT_BYTES })
    this.#log = new AppendedLog(path.join(directory, 'shard.log'))
  }

  append(records: readonly Piece[], done: () => void): void {
    this.#journal.append(records, () => {
      // The log is behind by so much at the most, or this would measure how much memory there is.
      this.#log.write(records, () => this.#log.syncNowAndThen())
      if (this.#log.waiting < 2) done()
      else this.#log.whenIdle(done)
    })
  }

  close(): void {
    this.#journal.close()
    this.#log.close()
  }
}

/** Payloads to the shard log and a reference to the journal, both synced before anybody is told. */
class OnceWritten implements Candidate {
  readonly name = 'once'
  readonly #journal: BareLoop
  readonly #log: AppendedLog
  readonly #reference = { bytes: Buffer.alloc(104) }

  constructor(directory: string) {
    this.#journal = new BareLoop({ directory, segmentBytes: SEGMENT_BYTES })
    this.#log = new AppendedLog(path.join(directory, 'shard.log'))
  }

  append(records: readonly Piece[], done: () => void): void {
    const references = records.map(() => this.#reference)
    let left = 2
    const one = (): void => {
      if (--left === 0) done()
    }
    this.#log.write(records, () => this.#log.sync(one))
    this.#journal.append(references, one)
  }

  close(): void {
    this.#journal.close()
    this.#log.close()
  }
}

/** A file that is appended to in order, begun anew (over its old bytes) when it is full. */
class AppendedLog {
  waiting = 0
  readonly #file: number
  #position = 0
  #unsynced = 0
  #onIdle: (() => void) | null = null
  #chain: (() => void)[] = []

  constructor(file: string) {
    preallocate(file, SEGMENT_BYTES * 4)
    this.#file = fs.openSync(file, 'r+')
  }

  write(records: readonly Piece[], done: () => void): void {
    this.waiting++
    this.#chain.push(() => {
      const pieces = records.map(({ bytes }) => bytes)
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (this.#position + bytes > SEGMENT_BYTES * 4) this.#position = 0
      const position = this.#position
      this.#position += bytes
      this.#unsynced += bytes
      fs.writev(this.#file, pieces, position, (error, written) => {
        if (error !== null || written !== bytes) throw error ?? new Error(`${written} of ${bytes} bytes written`)
        done()
        this.#next()
      })
    })
    if (this.waiting === 1) this.#chain[0]!()
  }

  sync(done: () => void): void {
    fs.fdatasync(this.#file, (error) => {
      if (error !== null) throw error
      done()
    })
  }

  syncNowAndThen(): void {
    if (this.#unsynced < SHARD_LOG_SYNC_BYTES) return
    this.#unsynced = 0
    this.sync(() => {})
  }

  whenIdle(done: () => void): void {
    this.#onIdle = done
  }

  close(): void {
    fs.closeSync(this.#file)
  }

  #next(): void {
    this.waiting--
    this.#chain.shift()
    this.#chain[0]?.()
    const onIdle = this.#onIdle
    this.#onIdle = null
    onIdle?.()
  }
}
