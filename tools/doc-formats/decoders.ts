/**
 * For each example of docs/formats: the fields that the product's decoder finds in its bytes, in order, with their names and how
 * a value is written. The test compares them with the page, field by field.
 */
import { decodeManifest } from '../../src/backup/manifest.ts'
import {
  decodeSegmentHeader as decodeBackupHeader,
  decodeSegmentFooter,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
} from '../../src/backup/segment-format.ts'
import { ItemType } from '../../src/cluster/peer-messages.ts'
import { decodeData, type SnapshotChunk } from '../../src/cluster/peer-messages-data.ts'
import { FRAME_HEADER_BYTES } from '../../src/cluster/peer-wire.ts'
import {
  attributesOf,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytesOf,
  crcOf,
  forEachRecord,
  lastOffsetDeltaOf,
  leaderEpochOf,
  magicOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../../src/records/index.ts'
import { CutReason, decodeCut } from '../../src/replication/cut.ts'
import { decodeSnapshot, encodeSnapshotBody } from '../../src/replication/snapshot.ts'
import { assert, crc32c } from '../../src/stdx/index.ts'
import { decodeCheckpoint, encodeCheckpoint, type StoredShard } from '../../src/storage/checkpoint-format.ts'
import { decodeIdentity, encodeIdentity } from '../../src/storage/identity.ts'
import { decodeEntry, decodeHardState, type Entry, payloadOf, writeU64 } from '../../src/storage/index.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  blockVerifies,
  decodeSegmentHeader,
  peekBlockHeader,
} from '../../src/storage/journal-format.ts'
import { decodeBody } from '../../src/storage/journal-scan.ts'
import { decodeSegmentIndex, decodeShardSegmentHeader } from '../../src/storage/segment-format.ts'
import { decodeTerms, encodeTerms } from '../../src/storage/terms.ts'
import { FORMAT_VERSION } from '../../src/storage/versions.ts'

/**
 * `u`: little-endian and unsigned; `i`: big-endian and signed; `sum`: little-endian, written as the hexadecimal number;
 * `sumBE`: the same, big-endian; `varint`: zigzag.
 */
export type Encoding = 'u' | 'i' | 'sum' | 'sumBE' | 'f64' | 'text' | 'hex' | 'zeros' | 'varint'
export type Found = readonly [label: string, encoding: Encoding, value: number | string]
export type Decoder = (bytes: Buffer, earlier: readonly Buffer[]) => Found[]

const zeros: Found = ['reserved', 'zeros', '']

/** By page, one for each example. Pages whose examples are frames of the wire have a test of their own. */
export const DECODERS: Readonly<Record<string, readonly Decoder[]>> = {
  'entry.md': [
    (bytes) => entry(bytes, (it) => [['payload', 'text', payloadOf(it).toString()]]),
    (bytes) => entry(bytes, (it) => [['vote', 'u', decodeHardState(it)!.vote]]),
    (bytes) => entry(bytes, cut),
  ],
  'identity.md': [identity],
  'terms.md': [terms],
  'journal.md': [segmentHeader, block],
  'shard-log.md': [shardSegment, segmentIndex, cleanedSegment],
  'checkpoint.md': [checkpoint],
  'record-batch.md': [recordBatch],
  'snapshot.md': [snapshotBody, snapshotChunk],
  'backup.md': [backupSegment, backupManifest],
}

function whole<T>(decoded: T): Exclude<T, Error | string | null> {
  assert(
    decoded !== null && typeof decoded === 'object' && !(decoded instanceof Error),
    () => `does not decode: ${decoded}`,
  )
  return decoded as Exclude<T, Error | string | null>
}

function backupSegment(bytes: Buffer): Found[] {
  const footerAt = bytes.length - SEGMENT_FOOTER_BYTES
  const header = whole(decodeBackupHeader(bytes))
  const footer = whole(decodeSegmentFooter(bytes.subarray(footerAt)))
  assert(footer.crc === crc32c(bytes.subarray(0, footerAt)), 'the sum of the example')
  return [
    ['magic', 'text', 'TMBACKUP'],
    ['version', 'u', 1],
    zeros,
    ['partition', 'u', header.partition],
    ['topicId', 'hex', header.topicId],
    ['number', 'u', header.number],
    ['baseOffset', 'u', header.baseOffset],
    ['previousCrc', 'sum', header.previousCrc],
    zeros,
    ['headerCrc', 'sum', bytes.readUInt32LE(60)],
    ['batches', 'hex', bytes.toString('hex', SEGMENT_HEADER_BYTES, footerAt)],
    ['magic', 'text', 'TMBE'],
    ['crc', 'sum', footer.crc],
    ['nextOffset', 'u', footer.nextOffset],
    ['bytes', 'u', footer.bytes],
    ['maxTimestamp', 'f64', footer.maxTimestamp],
    ['records', 'u', footer.records],
    ['footerCrc', 'sum', bytes.readUInt32LE(footerAt + 36)],
  ]
}

function backupManifest(bytes: Buffer): Found[] {
  const manifest = decodeManifest(bytes, 'manifest.json')
  return [
    ['opening', 'text', '{"body":'],
    ['body', 'text', JSON.stringify(manifest)],
    ['middle', 'text', ',"crc32c":"'],
    ['crc32c', 'text', bytes.toString('latin1', bytes.length - 11, bytes.length - 3)],
    ['closing', 'text', '"}\n'],
  ]
}

const versions: readonly Found[] = [
  ['version', 'u', FORMAT_VERSION],
  ['readableFrom', 'u', 1],
]

function entry(bytes: Buffer, payload: (entry: Entry) => Found[]): Found[] {
  const it = whole(decodeEntry(bytes))
  assert(it.bytes.length === bytes.length, 'bytes behind the entry')
  return [
    ['length', 'u', it.bytes.length],
    ['crc', 'sum', it.crc],
    ['version', 'u', 1],
    ['kind', 'u', it.kind],
    zeros,
    ['shard', 'u', it.shard],
    ['term', 'u', it.term],
    ['index', 'u', it.index],
    ['stamp', 'u', it.stamp],
    ['firstOffset', 'u', it.firstOffset],
    ['recordCount', 'u', it.recordCount],
    ['previousCrc', 'sum', it.previousCrc],
    ['payloadLength', 'u', payloadOf(it).length],
    zeros,
    ...payload(it),
  ]
}

function cut(it: Entry): Found[] {
  const { index, offset } = whole(decodeCut(payloadOf(it)))
  return [
    ['startIndex', 'u', index],
    ['startOffset', 'u', offset],
    ['reason', 'u', CutReason.snapshot],
  ]
}

function terms(bytes: Buffer): Found[] {
  const it = whole(decodeTerms(bytes, 'terms'))
  assert(encodeTerms(it).equals(bytes), 'encoded again they are others')
  return [
    ['magic', 'text', 'TIDETERM'],
    ['crc', 'sum', crc32c(bytes.subarray(12))],
    ...versions,
    ['diskIncarnation', 'hex', it.diskIncarnation],
    ['ceiling', 'u', it.ceiling],
    ['unknownFrom', 'u', it.unknownFrom],
    ['resetting', 'u', it.resetting ? 1 : 0],
    ['journalEntered', 'u', it.journalEntered],
  ]
}

function identity(bytes: Buffer): Found[] {
  const it = whole(decodeIdentity(bytes, 'identity'))
  assert(encodeIdentity(it).equals(bytes), 'encoded again it is another identity')
  const { nodeId, diskIncarnation, clusterId, clusterHash } = it
  return [
    ['magic', 'text', 'TIDEIDEN'],
    ['crc', 'sum', crc32c(bytes.subarray(12))],
    ...versions,
    ['nodeId', 'u', nodeId],
    ['diskIncarnation', 'hex', diskIncarnation],
    ['length', 'u', clusterId!.length],
    ['clusterId', 'text', clusterId!],
    ['length', 'u', clusterHash.length],
    ['clusterHash', 'text', clusterHash],
  ]
}

function segmentHeader(bytes: Buffer): Found[] {
  const { diskIncarnation, incarnation, number, firstSequence } = whole(decodeSegmentHeader(bytes))
  return [
    ['magic', 'text', 'TIDEJRNL'],
    ['crc', 'sum', crc32c(bytes.subarray(12))],
    ...versions,
    ['diskIncarnation', 'hex', diskIncarnation],
    ['incarnation', 'hex', incarnation],
    ['number', 'u', number],
    ['firstSequence', 'u', firstSequence],
    ['alignment', 'u', BLOCK_ALIGNMENT],
    zeros,
  ]
}

function block(bytes: Buffer): Found[] {
  const { incarnation, sequence, bodyBytes, entryCount } = whole(peekBlockHeader(bytes, 0))
  assert(blockVerifies(bytes, 0, bodyBytes), 'the block does not verify')
  const entries = whole(decodeBody(bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + bodyBytes), entryCount))
  return [
    ['magic', 'text', 'TMBK'],
    ['crc', 'sum', crc32c(bytes.subarray(8))],
    ['version', 'u', FORMAT_VERSION],
    zeros,
    ['bodyBytes', 'u', bodyBytes],
    ['incarnation', 'hex', incarnation],
    ['sequence', 'u', sequence],
    ['entryCount', 'u', entryCount],
    zeros,
    ['body', 'hex', Buffer.concat(entries.map((it) => it.bytes)).toString('hex')],
  ]
}

function shardSegment(bytes: Buffer): Found[] {
  return segmentOf('TIDESHRD', bytes, () => [])
}

function cleanedSegment(bytes: Buffer): Found[] {
  return segmentOf('TIDECLND', bytes, (it) => [['payload', 'text', payloadOf(it).toString()]])
}

function segmentOf(magic: string, bytes: Buffer, payload: (it: Entry) => Found[]): Found[] {
  const { shard, previousCrc, firstIndex, firstOffset, createdMs, generation } = whole(decodeShardSegmentHeader(bytes))
  return [
    ['magic', 'text', magic],
    ['crc', 'sum', crc32c(bytes.subarray(12, 64))],
    ...versions,
    ['shard', 'u', shard],
    ['previousCrc', 'sum', previousCrc],
    ['firstIndex', 'u', firstIndex],
    ['firstOffset', 'u', firstOffset],
    ['createdMs', 'u', createdMs],
    ...(generation === undefined ? [] : [['generation', 'u', generation] as Found]),
    zeros,
    ...entry(bytes.subarray(64), payload),
  ]
}

function segmentIndex(bytes: Buffer, [segment]: readonly Buffer[]): Found[] {
  const { summary, index } = whole(decodeSegmentIndex(bytes))
  const [first, firstOffset, position, before] = index.points as [number, number, number, number]
  assert(summary.segmentCrc === crc32c(segment!), 'the sum is not of the segment above')
  return [
    ['magic', 'text', 'TIDEINDX'],
    ['crc', 'sum', crc32c(bytes.subarray(12))],
    ...versions,
    ['shard', 'u', summary.shard],
    ['pointCount', 'u', index.count],
    ['firstIndex', 'u', summary.firstIndex],
    ['lastIndex', 'u', summary.lastIndex],
    ['nextOffset', 'u', summary.nextOffset],
    ['segmentBytes', 'u', summary.segmentBytes],
    ['maxTimestamp', 'f64', summary.maxTimestamp],
    ['segmentCrc', 'sum', summary.segmentCrc],
    ['lastCrc', 'sum', summary.lastCrc],
    ['point: index', 'u', first],
    ['firstOffset', 'u', firstOffset],
    ['position', 'u', position],
    ['highest timestamp before', 'f64', before],
  ]
}

function checkpoint(bytes: Buffer): Found[] {
  const it = whole(decodeCheckpoint(bytes, 'checkpoint'))
  assert(Buffer.concat(encodeCheckpoint(it)).equals(bytes), 'encoded again it is another checkpoint')
  return [
    ['magic', 'text', 'TIDECKPT'],
    ['crc', 'sum', crc32c(bytes.subarray(12))],
    ...versions,
    ['diskIncarnation', 'hex', it.diskIncarnation],
    ['journalFrom', 'u', it.journalFrom],
    ['journalThrough', 'u', it.journalThrough],
    ['highestStamp', 'u', it.highestStamp],
    ['shardCount', 'u', it.shards.size],
    ['removedCount', 'u', it.removed.size],
    ...[...it.shards.values()].flatMap(shardRecord),
    ...[...it.removed].flatMap(([shard, through]): Found[] => [
      ['removed: shard', 'u', shard],
      ['through', 'u', through],
    ]),
  ]
}

function shardRecord({ state, log, journalAfter }: StoredShard): Found[] {
  const { configuration, state: machine, epochs } = state
  const length = 152 + 24 * epochs.length + configuration.length + machine.length
  return [
    ['record: length', 'u', length],
    ['shard', 'u', state.shard],
    ['term', 'u', state.term],
    ['vote', 'u', state.vote],
    ['crc', 'sum', state.crc],
    ['index', 'u', state.index],
    ['entryTerm', 'u', state.entryTerm],
    ['nextOffset', 'u', state.nextOffset],
    ['stamp', 'u', state.stamp],
    ['startIndex', 'u', state.startIndex],
    ['startOffset', 'u', state.startOffset],
    ['epochCount', 'u', epochs.length],
    ['configurationBytes', 'u', configuration.length],
    ['stateBytes', 'u', machine.length],
    ['flags', 'u', (log === null ? 0 : 1) + (state.recovering === true ? 2 : 0)],
    ['log: firstIndex', 'u', log?.firstIndex ?? 0],
    ['firstOffset', 'u', log?.firstOffset ?? 0],
    ['bytes', 'u', log?.bytes ?? 0],
    ['lastIndex', 'u', log?.lastIndex ?? 0],
    ['nextOffset', 'u', log?.nextOffset ?? 0],
    ['maxTimestamp', 'f64', log?.maxTimestamp ?? 0],
    ['segmentCrc', 'sum', log?.segmentCrc ?? 0],
    ['lastCrc', 'sum', log?.lastCrc ?? 0],
    ['journalAfter', 'u', journalAfter],
    ...epochsOf(epochs),
    ...text('configuration', configuration),
    ...text('state', machine),
  ]
}

function text(label: string, bytes: Buffer): Found[] {
  return bytes.length === 0 ? [] : [[label, 'text', bytes.toString()]]
}

function epochsOf(epochs: readonly { term: number; firstIndex: number; firstOffset: number }[]): Found[] {
  if (epochs.length === 0) return []
  const bytes = Buffer.alloc(24 * epochs.length)
  for (const [i, { term, firstIndex, firstOffset }] of epochs.entries())
    for (const [column, value] of [term, firstIndex, firstOffset].entries()) writeU64(bytes, value, 24 * i + 8 * column)
  return [['epochs', 'hex', bytes.toString('hex')]]
}

function recordBatch(bytes: Buffer): Found[] {
  assert(batchBytesOf(bytes, 0) === bytes.length, 'bytes behind the batch')
  const found: Found[] = [
    ['base offset', 'i', baseOffsetOf(bytes, 0)],
    ['length', 'i', bytes.length - 12],
    ['leader epoch', 'i', leaderEpochOf(bytes, 0)],
    ['magic', 'i', magicOf(bytes, 0)],
    ['crc', 'sumBE', crcOf(bytes, 0)],
    ['attributes', 'i', attributesOf(bytes, 0)],
    ['last offset delta', 'i', lastOffsetDeltaOf(bytes, 0)],
    ['base timestamp', 'i', baseTimestampOf(bytes, 0)],
    ['largest timestamp', 'i', maxTimestampOf(bytes, 0)],
    ['producer id', 'i', producerIdOf(bytes, 0)],
    ['producer epoch', 'i', producerEpochOf(bytes, 0)],
    ['base sequence', 'i', baseSequenceOf(bytes, 0)],
    ['count', 'i', recordCountOf(bytes, 0)],
  ]
  assert(crc32c(bytes.subarray(21)) === crcOf(bytes, 0), 'the sum of the batch')
  forEachRecord(bytes, 0, (record) => {
    const headers = record.headers()
    const sized = (label: string, value: Buffer | null): Found[] => [
      [`${label} length`, 'varint', value?.length ?? -1],
      ...(value === null ? [] : text(label, value)),
    ]
    const rest: Found[] = [
      ['attributes', 'zeros', ''],
      ['timestamp delta', 'varint', record.timestamp - baseTimestampOf(bytes, 0)],
      ['offset delta', 'varint', record.offset - baseOffsetOf(bytes, 0)],
      ...sized('key', record.key),
      ...sized('value', record.value),
      ['headers', 'varint', headers.length],
      ...headers.flatMap(({ key, value }) => [
        ...sized('header key', Buffer.from(key)),
        ...sized('header value', value),
      ]),
    ]
    found.push(['record: length', 'varint', rest.reduce((sum, each) => sum + encoded(each).length, 0)], ...rest)
  })
  return found
}

function snapshotBody(bytes: Buffer): Found[] {
  const place = { index: 30, entryTerm: 4, crc: 0, nextOffset: 0, stamp: 0 }
  const snapshot = whole(decodeSnapshot({ ...place, totalBytes: bytes.length, sum: crc32c(bytes) }, bytes))
  assert(encodeSnapshotBody(snapshot).equals(bytes), 'encoded again it is another body')
  return [
    ['version', 'u', 1],
    zeros,
    ['epochCount', 'u', snapshot.epochs.length],
    ['configurationBytes', 'u', snapshot.configuration.length],
    ...epochsOf(snapshot.epochs),
    ...text('configuration', snapshot.configuration),
    ...text('state', snapshot.state),
  ]
}

function snapshotChunk(bytes: Buffer, [body]: readonly Buffer[]): Found[] {
  const chunks: SnapshotChunk[] = []
  const message = (it: unknown): void => void chunks.push(it as SnapshotChunk)
  const defect = decodeData(Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), bytes]), {
    closed: false,
    message,
  } as never)
  assert(defect === null && chunks.length === 1, () => `one chunk: ${defect}`)
  const { shard, term, head, at, chunk } = chunks[0]!
  assert(head.totalBytes === body!.length && head.sum === crc32c(body!), 'it is not a chunk of the body above')
  assert(body!.subarray(at, at + chunk.length).equals(chunk), 'its bytes are not those of the body above')
  return [
    ['item', 'u', ItemType.snapshot],
    ['shard', 'u', shard],
    ['term', 'u', term],
    ['index', 'u', head.index],
    ['entryTerm', 'u', head.entryTerm],
    ['crc', 'sum', head.crc],
    ['nextOffset', 'u', head.nextOffset],
    ['stamp', 'u', head.stamp],
    ['totalBytes', 'u', head.totalBytes],
    ['sum', 'sum', head.sum],
    ['position', 'u', at],
    ['length', 'u', chunk.length],
    ['chunk', 'hex', chunk.toString('hex')],
  ]
}

/** The bytes of a value; `bytes` long where the encoding does not say. */
export function encoded([, encoding, value]: Found, bytes = 0): Buffer {
  if (encoding === 'zeros') return Buffer.alloc(bytes === 0 ? 1 : bytes)
  if (encoding === 'text') return Buffer.from(value as string)
  if (encoding === 'hex') return Buffer.from(value as string, 'hex')
  const number = value as number
  if (encoding === 'varint') return varint(number)
  const out = Buffer.alloc(bytes)
  if (encoding === 'f64') out.writeDoubleLE(number)
  else {
    let left = BigInt.asUintN(8 * bytes, BigInt(number))
    for (let i = 0; i < bytes; i++, left >>= 8n) out[i] = Number(left & 0xffn)
    if (encoding === 'i' || encoding === 'sumBE') out.reverse()
  }
  return out
}

function varint(value: number): Buffer {
  let left = BigInt(value) < 0n ? -2n * BigInt(value) - 1n : 2n * BigInt(value)
  const out: number[] = []
  do {
    out.push(Number(left & 0x7fn) | (left > 0x7fn ? 0x80 : 0))
    left >>= 7n
  } while (left > 0n)
  return Buffer.from(out)
}

/** As a page writes it. */
export function written([, encoding, value]: Found): string | null {
  if (encoding === 'zeros' || encoding === 'hex') return null
  return encoding === 'sum' || encoding === 'sumBE' ? (value as number).toString(16).padStart(8, '0') : String(value)
}
