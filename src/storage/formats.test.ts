/** The worked examples of docs/formats, decoded: a document that drifts from the code fails here. */
import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fuzz as fuzzCheckpoints, sampleCheckpoint } from './checkpoint.fuzz.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-format.ts'
import { decodeEntry, type Entry, EntryKind, payloadOf } from './entry.ts'
import { StorageError } from './errors.ts'
import { decodeHardState } from './hard-state.ts'
import { decodeIdentity, encodeIdentity, type Identity } from './identity.ts'
import { fuzz as fuzzJournals } from './journal.fuzz.ts'
import { BLOCK_HEADER_BYTES, blockVerifies, decodeSegmentHeader, peekBlockHeader } from './journal-format.ts'
import { decodeBody } from './journal-scan.ts'
import { fuzz as fuzzSegments } from './segment.fuzz.ts'
import { decodeSegmentIndex, decodeShardSegmentHeader } from './segment-format.ts'

/** The bytes of the n-th ```hex block: offsets before a colon and text behind a bar are for the reader. */
function example(document: string, n = 0): Buffer {
  const text = readFileSync(`docs/formats/${document}.md`, 'utf8')
  const block = [...text.matchAll(/```hex\n([\s\S]*?)```/g)][n]![1]!
  const lines = block.split('\n').map((line) => line.replace(/^[0-9a-f]+:/, '').replace(/\|.*$/, ''))
  return Buffer.from(lines.join('').replaceAll(/\s/g, ''), 'hex')
}

test('docs: the entries of entry.md', () => {
  const first = decodeEntry(example('entry', 0)) as Entry
  assert.deepEqual(
    [first.kind, first.shard, first.term, first.index, first.firstOffset, first.recordCount],
    [EntryKind.data, 16, 3, 7, 20, 2],
  )
  assert.equal(payloadOf(first).toString(), 'tide')
  const hardState = decodeEntry(example('entry', 1)) as Entry
  assert.deepEqual(decodeHardState(hardState), { term: 4, vote: 2 })
})

test('docs: the segment header and the block of journal.md', () => {
  assert.deepEqual(decodeSegmentHeader(example('journal', 0)), {
    diskIncarnation: '00112233445566778899aabbccddeeff',
    incarnation: 'a0a1a2a3a4a5a6a7',
    number: 5,
    firstSequence: 42,
  })
  const block = example('journal', 1)
  const header = peekBlockHeader(block, 0)!
  assert.deepEqual([header.sequence, header.entryCount, header.incarnation], [42, 1, 'a0a1a2a3a4a5a6a7'])
  assert.ok(blockVerifies(block, 0, header.bodyBytes))
  const [entry] = decodeBody(
    block.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + header.bodyBytes),
    header.entryCount,
  )!
  assert.deepEqual(decodeHardState(entry!), { term: 4, vote: 2 })
})

test('docs: the segment and the index of shard-log.md', () => {
  const segment = example('shard-log', 0)
  assert.deepEqual(decodeShardSegmentHeader(segment), { shard: 16, previousCrc: 0, firstIndex: 1, firstOffset: 0 })
  assert.equal((decodeEntry(segment, 64) as Entry).index, 1)
  const index = decodeSegmentIndex(example('shard-log', 1))
  assert.ok(typeof index === 'object')
  assert.deepEqual(
    [index.summary.lastIndex, index.summary.segmentBytes, index.index.points],
    [1, segment.length, [1, 0, 64, -1]],
  )
})

test('docs: the checkpoint of checkpoint.md', () => {
  const bytes = example('checkpoint')
  assert.deepEqual(decodeCheckpoint(bytes, 'checkpoint'), sampleCheckpoint())
  assert.ok(Buffer.concat(encodeCheckpoint(sampleCheckpoint())).equals(bytes))
})

test('docs: the identity of identity.md', () => {
  const bytes = example('identity')
  const identity = decodeIdentity(bytes, 'identity') as Identity
  assert.deepEqual(identity, {
    nodeId: 2,
    diskIncarnation: '00112233445566778899aabbccddeeff',
    clusterId: 'b7c1',
    clusterHash: '9f',
  })
  assert.ok(encodeIdentity(identity).equals(bytes))
})

test('formats: a newer version is refused by name', () => {
  const identity = encodeIdentity({ nodeId: 1, diskIncarnation: '00'.repeat(16), clusterId: null, clusterHash: '' })
  identity.writeUInt16LE(2, 12)
  identity.writeUInt16LE(2, 14)
  const refused = decodeIdentity(identity, '/data/identity')
  assert.ok(refused instanceof StorageError && refused.code === 'NEWER_FORMAT')
  assert.match(refused.message, /newer Tidemark/)
})

test('formats: damaged checkpoints and identities', () => fuzzCheckpoints(1, 2000))
test('formats: damaged journals', () => fuzzJournals(1, 2000))
test('formats: damaged shard logs', () => fuzzSegments(1, 2000))
