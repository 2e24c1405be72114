import assert from 'node:assert/strict'
import test from 'node:test'
import { type LogLine, NodeLog } from './log.ts'
import type { NodeEvent } from './node-event.ts'

function said(...events: readonly [NodeEvent['layer'], object][]): LogLine[] {
  const lines: LogLine[] = []
  const log = new NodeLog((line) => lines.push(line))
  for (const [layer, event] of events) log.note({ layer, event } as unknown as NodeEvent)
  return lines
}

test('news are one line each, with the level that they deserve', () => {
  assert.deepEqual(
    said(
      ['replication', { type: 'standing-changed', shard: 16, role: 'leader', term: 3 }],
      ['replication', { type: 'standing-changed', shard: 16, role: 'follower', term: 4 }],
      ['cluster', { type: 'peer-down', node: 2, reason: 'connection reset' }],
      ['cluster', { type: 'leader-conflict', shard: 16, term: 3, nodes: [1, 2] }],
      ['kafka', { type: 'malformed', remote: '10.0.0.1:5', reason: 'not a request' }],
      ['kafka', { type: 'connected', remote: '10.0.0.1:5' }],
    ),
    [
      { level: 'info', message: 'leads shard 16 in term 3' },
      { level: 'warning', message: 'session with node 2 ended: connection reset' },
      { level: 'error', message: 'nodes 1 and 2 both claim to lead shard 16 in term 3' },
      { level: 'warning', message: '10.0.0.1:5: not a request' },
    ],
  )
})

test('an address that stays unreachable is news once, and again after it was there', () => {
  const unreachable = (reason: string): ['cluster', object] => [
    'cluster',
    { type: 'peer-unreachable', node: 2, reason },
  ]
  const lines = said(
    unreachable('refused'),
    unreachable('refused'),
    unreachable('no route'),
    unreachable('no route'),
    ['cluster', { type: 'peer-up', node: 2 }],
    unreachable('no route'),
  )
  assert.deepEqual(
    lines.map(({ message }) => message.replace('node 2 cannot be reached yet: ', '')),
    ['refused', 'no route', 'session with node 2 is up', 'no route'],
  )
})

test('a refused batch is news only where something changes bytes on the way', () => {
  const refused = (error: number): ['streams', object] => [
    'streams',
    { type: 'stream-refused', shard: 16, error, reason: 'why' },
  ]
  assert.deepEqual(said(refused(2), refused(45)), [{ level: 'warning', message: 'shard 16: why' }])
})
