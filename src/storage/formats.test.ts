/** Files of newer versions, and damaged ones. The worked examples of docs/formats are decoded in tools/doc-formats.test.ts. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { fuzz as fuzzCheckpoints } from './checkpoint.fuzz.ts'
import { StorageError } from './errors.ts'
import { decodeIdentity, encodeIdentity } from './identity.ts'
import { fuzz as fuzzJournals } from './journal.fuzz.ts'
import { fuzz as fuzzSegments } from './segment.fuzz.ts'

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
