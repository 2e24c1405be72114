import assert from 'node:assert/strict'
import { test } from 'node:test'
import { record } from './cluster-testing.ts'
import type { Hello } from './handshake.ts'
import { admitPeer, type Household, metadataMembers } from './membership.ts'

function hello(more: Partial<Hello> = {}): Hello {
  const { id, ...description } = record(2)
  const session = {
    versionMin: 1,
    versionMax: 1,
    role: 'control',
    nonce: 'n',
    expected: 1,
    processIncarnation: 'p',
  } as const
  return { node: id, ...description, ...session, clusterId: null, clusterHash: 'h', ...more }
}

function household(more: Partial<Household> = {}): Household {
  return { nodeId: 1, clusterId: null, clusterHash: 'h', diskOf: () => undefined, ...more }
}

function verdict(candidate: Partial<Hello>, ours: Partial<Household>): string {
  return admitPeer(hello(candidate), household(ours))?.code ?? 'welcome'
}

test('at the first start everybody must have the same --cluster', () => {
  assert.equal(verdict({}, {}), 'welcome')
  assert.equal(verdict({ clusterHash: 'other' }, {}), 'WRONG_CLUSTER')
  assert.equal(verdict({ clusterHash: '' }, {}), 'NOT_A_MEMBER')
  assert.equal(verdict({}, { clusterHash: '' }), 'NOT_A_MEMBER')
})

test('once a cluster exists, whoever joins needs no --cluster', () => {
  assert.equal(verdict({ clusterHash: '' }, { clusterId: 'c' }), 'welcome')
  assert.equal(verdict({ clusterId: 'c' }, { clusterHash: '' }), 'welcome')
  assert.equal(verdict({ clusterId: 'c', clusterHash: '' }, { clusterId: 'c' }), 'welcome')
})

test('an id and its directory belong together', () => {
  const known = { diskOf: () => 'disk-2', clusterId: 'c' }
  assert.equal(verdict({}, known), 'welcome')
  assert.equal(verdict({ clusterId: 'c' }, known), 'welcome')
  assert.equal(verdict({ diskIncarnation: 'empty' }, known), 'UNKNOWN_DISK')
  assert.equal(verdict({ diskIncarnation: 'empty', clusterHash: '' }, known), 'UNKNOWN_DISK')
  assert.equal(verdict({ diskIncarnation: 'empty' }, { diskOf: () => 'disk-2' }), 'UNKNOWN_DISK')
})

test('up to five vote on the metadata, the others learn it', () => {
  assert.deepEqual(metadataMembers([3, 1, 2]), { voters: [3, 1, 2], learners: [] })
  assert.deepEqual(metadataMembers([1, 2, 3, 4, 5, 6, 7]), { voters: [1, 2, 3, 4, 5], learners: [6, 7] })
})
