/**
 * Whole journals after damage: opening them ends, refuses with a typed error or gives a prefix of what was written, and reads
 * no more memory than the files are long.
 */
import { assert, crc32c, Prng } from '../stdx/index.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, World } from './harness.test.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  blockVerifies,
  decodeSegmentHeader,
  encodeSegmentHeader,
  peekBlockHeader,
} from './journal-format.ts'
import { decodeBody } from './journal-scan.ts'
import { mutate } from './mutate.fuzz.ts'

const OPTIONS = { journalSegmentBytes: 32 << 10 }

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  headers(prng, rounds)
  const files = journal()
  const log = chain(16, 12, 2500)
  for (let round = 0; round < Math.ceil(rounds / 50); round++) {
    const world = new World(prng.uint32())
    world.await<void>((done) => world.disk.makeDirectory('/data/journal', done))
    world.await<void>((done) => world.disk.makeDirectory('/data/shards', done))
    const hit = [...files.keys()][prng.below(files.size)]!
    for (const [path, bytes] of files) world.write(path, path === hit ? damage(bytes, prng) : bytes)
    const outcome = world.tryOpen(OPTIONS)
    if (outcome instanceof StorageError) continue
    if (outcome instanceof Error) throw outcome
    const entries = outcome.recovered.get(16)?.entries ?? []
    for (const { index, crc } of entries)
      assert(crc === log[index - 1]!.crc, () => `${hit}: entry ${index} is another one`)
  }
}

function headers(prng: Prng, rounds: number): void {
  const header = { diskIncarnation: '0f'.repeat(16), incarnation: 'a1'.repeat(8), number: 7, firstSequence: 90 }
  const page = encodeSegmentHeader(header)
  const body = Buffer.concat(chain(16, 4).map(({ bytes }) => bytes))
  for (let round = 0; round < rounds; round++) {
    decodeSegmentHeader(mutate(page.subarray(0, 80), prng))
    const bytes = mutate(body, prng)
    const entries = decodeBody(bytes, 4)
    assert(
      entries === null || Buffer.concat(entries.map((entry) => entry.bytes)).equals(bytes),
      'a body of other bytes',
    )
    const block = peekBlockHeader(bytes, 0)
    if (block !== null) blockVerifies(bytes, 0, block.bodyBytes)
  }
}

function journal(): Map<string, Buffer> {
  const world = new World('fuzzed')
  const storage = world.open(OPTIONS)
  for (const entry of chain(16, 12, 2500)) {
    storage.append(entry.index === 1 ? [encodeHardState(16, 1, 3), entry] : [entry], () => {})
    world.clock.settle()
  }
  const paths = [
    '/data/identity',
    '/data/checkpoint',
    ...world.list('/data/journal').map((name) => `/data/journal/${name}`),
  ]
  return new Map(paths.map((path) => [path, world.read(path)]))
}

/** Some damage gets right sums, as a mistake in the writer would. */
function damage(bytes: Buffer, prng: Prng): Buffer {
  const out = mutate(bytes, prng)
  if (prng.below(2) === 0) return out
  for (let at = 0; at < out.length; at += BLOCK_ALIGNMENT) {
    const block = peekBlockHeader(out, at)
    const end = at + BLOCK_HEADER_BYTES + (block?.bodyBytes ?? 0)
    if (block !== null && end <= out.length) out.writeUInt32LE(crc32c(out.subarray(at + 8, end)), at + 4)
  }
  return out
}
