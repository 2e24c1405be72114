import assert from 'node:assert/strict'
import test from 'node:test'
import { nodePlatform } from '../platform/nodejs/index.ts'
import type { NodeEvent } from './node-event.ts'
import { TraceFile } from './trace-file.ts'

test('what was recovered, what was synced and what was acknowledged, one JSON line each, written at once; nothing else', () => {
  const lines: Record<string, unknown>[] = []
  const trace = new TraceFile(3, { clock: nodePlatform().clock, write: (line) => lines.push(JSON.parse(line)) })
  const events: [NodeEvent['layer'], object][] = [
    ['storage', { type: 'recovery-done', fresh: false, segments: 2, blocks: 41, entries: 50, ending: 'clean end' }],
    ['streams', { type: 'stream-appended', shard: 16, index: 7, firstOffset: 40, records: 3, bytes: 99 }],
    ['replication', { type: 'journaled', shard: 16, term: 2, index: 7 }],
    ['kafka', { type: 'connected', remote: 'a' }],
    ['streams', { type: 'stream-acknowledged', shard: 16, term: 2, index: 7, offset: 43 }],
    ['replication', { type: 'log-truncated', shard: 16, fromIndex: 8 }],
  ]
  for (const [layer, event] of events) {
    const before = lines.length
    trace.note({ layer, event } as unknown as NodeEvent)
    assert.ok(lines.length <= before + 1)
  }
  assert.deepEqual(
    lines.map(({ t, ...rest }) => {
      assert.equal(typeof t, 'number')
      return rest
    }),
    [
      { node: 3, type: 'recovered', ending: 'clean end', fresh: false, segments: 2, blocks: 41 },
      { node: 3, type: 'appended', shard: 16, index: 7, firstOffset: 40, records: 3 },
      { node: 3, type: 'journaled', shard: 16, term: 2, index: 7 },
      { node: 3, type: 'acknowledged', shard: 16, term: 2, index: 7, offset: 43 },
      { node: 3, type: 'truncated', shard: 16, fromIndex: 8 },
    ],
  )
})
