/** Manifests and segment heads after damage: a typed error, or what encodes to itself; never a path from what they say. */
import { assert, crc32c, Prng } from '../stdx/index.ts'
import { mutate } from '../storage/mutate.fuzz.ts'
import { BackupError } from './errors.ts'
import { decodeManifest, encodeManifest, type Manifest } from './manifest.ts'
import {
  decodeSegmentFooter,
  decodeSegmentHeader,
  encodeSegmentFooter,
  encodeSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentNumberOf,
} from './segment-format.ts'

export function sampleManifest(): Manifest {
  const segment = (number: number, previousCrc: number, baseOffset: number, nextOffset: number) => {
    return { number, bytes: 500, crc: number * 7, previousCrc, baseOffset, nextOffset, records: 1, maxTimestamp: 5 }
  }
  const partitions = [
    { startOffset: 3, nextOffset: 20, segments: [segment(1, 0, 0, 10), segment(4, 7, 10, 20)] },
    { startOffset: 0, nextOffset: 0, segments: [] },
    { startOffset: 50, nextOffset: 60, segments: [segment(2, 0, 0, 10), segment(5, 14, 50, 60)] },
  ]
  const settings = { 'retention.ms': '-1' }
  const topic = {
    name: 'tides',
    id: 'ab'.repeat(16),
    settings,
    replicationFactor: 3,
    takenAtMs: 5,
    gone: false,
    partitions,
  }
  const positions = [{ topic: 'tides', partition: 0, offset: 12, metadata: 'a "b" \\ ü' }]
  const groups = [{ id: 'billing', positions }]
  return {
    version: 1,
    clusterId: 'c'.repeat(22),
    takenAtMs: 1_700_000_000_000,
    takenBy: '0.1.0',
    topics: [topic],
    groups,
  }
}

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  const manifest = encodeManifest(sampleManifest())
  const header = encodeSegmentHeader({
    partition: 3,
    topicId: 'ab'.repeat(16),
    number: 7,
    baseOffset: 1000,
    previousCrc: 5,
  })
  const footer = encodeSegmentFooter({ crc: 9, nextOffset: 1005, bytes: 300, maxTimestamp: -1, records: 5 })
  for (let round = 0; round < rounds; round++) {
    tryManifest(mutate(manifest, prng), prng.below(2) === 0)
    tryHeader(mutate(header, prng), prng.below(2) === 0)
    tryFooter(mutate(footer, prng), prng.below(2) === 0)
  }
}

/** `resum`: what lies behind the sum is reached. */
function tryManifest(bytes: Buffer, resum: boolean): void {
  const tail = '"crc32c":"00000000"}\n'.length + 1
  if (resum && bytes.length > tail + 8) {
    const sum = crc32c(bytes.subarray(8, bytes.length - tail))
      .toString(16)
      .padStart(8, '0')
    bytes.write(`{"body":`, 0, 'latin1')
    bytes.write(`,"crc32c":"${sum}"}\n`, bytes.length - tail, 'latin1')
    bytes.write(
      crc32c(bytes.subarray(8, bytes.length - tail))
        .toString(16)
        .padStart(8, '0'),
      bytes.length - 11,
      'latin1',
    )
  }
  try {
    const decoded = decodeManifest(bytes, 'manifest.json')
    const again = decodeManifest(encodeManifest(decoded), 'manifest.json')
    assert(JSON.stringify(again) === JSON.stringify(decoded), 'read and written again it differs')
  } catch (error) {
    if (!(error instanceof BackupError)) throw error
  }
}

function tryHeader(bytes: Buffer, resum: boolean): void {
  if (resum && bytes.length >= SEGMENT_HEADER_BYTES) bytes.writeUInt32LE(crc32c(bytes.subarray(0, 60)), 60)
  const header = decodeSegmentHeader(bytes)
  if (typeof header === 'string') return
  assert(segmentNumberOf(segmentName(header.number))?.number === header.number || header.number > 1e15, 'a name')
  const again = decodeSegmentHeader(encodeSegmentHeader(header))
  assert(JSON.stringify(again) === JSON.stringify(header), 'a header that does not come back')
}

function tryFooter(bytes: Buffer, resum: boolean): void {
  if (resum && bytes.length >= SEGMENT_FOOTER_BYTES) bytes.writeUInt32LE(crc32c(bytes.subarray(0, 36)), 36)
  const footer = decodeSegmentFooter(bytes)
  if (typeof footer === 'string') return
  const again = decodeSegmentFooter(encodeSegmentFooter(footer))
  assert(JSON.stringify(again) === JSON.stringify(footer), 'a footer that does not come back')
}
