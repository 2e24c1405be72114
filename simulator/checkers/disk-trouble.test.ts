/** Checkers of disks that are low or stuck: each rule kept and broken. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { DiskFile } from '../../src/platform/index.ts'
import { MemoryDisk } from '../../src/platform/memory/index.ts'
import { TurnClock } from '../disk/directory-content.ts'
import { Violation } from '../violation.ts'
import { LowDisks } from './low-disks.ts'
import { StuckLeaders } from './stuck-leaders.ts'

const appended: NodeEvent = {
  layer: 'streams',
  event: {
    type: 'stream-appended',
    shard: 16,
    index: 1,
    firstOffset: 0,
    records: 1,
    batches: 1,
    bytes: 1,
    heldBack: false,
  },
}
const stands = (role: 'leader' | 'follower'): NodeEvent => ({
  layer: 'replication',
  event: { type: 'standing-changed', shard: 16, role, term: 1, leader: 1 },
})

test('low disks: whoever knows takes no records, until it is told of more', () => {
  const clock = new TurnClock()
  const memory = new MemoryDisk({ totalBytes: 1 << 30, capacityBytes: 1000 }, { clock })
  let awake = true
  const checker = new LowDisks(4096, () => awake)
  const disk = checker.watchDisk(1, memory)
  const ask = (): void => {
    disk.space('/', () => {})
    clock.settle()
  }
  checker.node(1, appended)
  awake = false
  ask()
  checker.node(1, appended)
  awake = true
  ask()
  assert.throws(() => checker.node(1, appended), Violation)
  checker.node(2, appended)
  memory.capacityBytes = 10_000
  ask()
  checker.node(1, appended)
  memory.capacityBytes = 0
  ask()
  checker.started(1)
  checker.node(1, appended)
})

test('stuck leaders: a journal in service that does not come back costs its node what it leads, within a second', () => {
  const clock = new TurnClock()
  const memory = new MemoryDisk({}, { clock })
  let [now, awake] = [0, true]
  const checker = new StuckLeaders(100, { now: () => now, isAwake: () => awake, quorumOf: () => 2 })
  checker.started(1)
  const disk = checker.watchDisk(1, memory)
  let file: DiskFile | undefined
  disk.makeDirectory('/t/journal', () => {})
  disk.open('/t/journal/1', 'create', (_error, opened) => {
    file = opened
  })
  clock.settle()
  checker.node(1, stands('leader'))
  // Zeros ahead of time.
  file!.write([Buffer.alloc(8)], 0, () => {})
  now += 5000
  checker.node(1, appended)
  clock.settle()
  file!.write([Buffer.from('TIDE')], 0, () => {})
  now += 1200
  checker.node(1, appended)
  now += 200
  assert.throws(() => checker.node(2, appended), Violation)
  awake = false
  checker.node(2, appended)
  awake = true
  now += 1200
  checker.node(2, appended)
  checker.node(1, stands('follower'))
  now += 5000
  checker.node(2, appended)
  clock.settle()
  checker.node(1, stands('leader'))
  checker.node(1, appended)
})
