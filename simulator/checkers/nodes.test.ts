/** Checkers of what nodes tell and what their disks hold: silent on good traces, loud on each way of being wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import type { DurableEntry } from '../shadow-disk.ts'
import { Violation } from '../violation.ts'
import { LeaderCompleteness } from './leader-completeness.ts'
import { LogMatching } from './log-matching.ts'
import { OffsetsRise } from './offsets-rise.ts'
import { OneHistory } from './one-history.ts'
import { SameState } from './same-state.ts'

const SHARD = 16

class Disks implements Truth {
  readonly nodes = [1, 2, 3]
  readonly held = new Map<string, DurableEntry>()
  now(): number {
    return 0
  }
  quorumOf(): number {
    return 2
  }
  durableEntry(node: number, shard: number, index: number): DurableEntry | undefined {
    return this.held.get(`${node}/${shard}/${index}`)
  }
  replacedEntry(): undefined {}
  durableLastIndex(node: number, shard: number): number {
    const indexes = [...this.held.keys()].filter((key) => key.startsWith(`${node}/${shard}/`))
    return Math.max(0, ...indexes.map((key) => Number(key.split('/')[2])))
  }
  put(node: number, index: number, term: number, crc: number): void {
    this.held.set(`${node}/${SHARD}/${index}`, { term, crc })
  }
}

const leads = (term: number): NodeEvent => ({
  layer: 'replication',
  event: { type: 'standing-changed', shard: SHARD, role: 'leader', term, leader: 1 },
})
const committed = (index: number, term = 1, offset = index): NodeEvent => ({
  layer: 'replication',
  event: { type: 'committed', shard: SHARD, term, index, offset, entries: 1 },
})
const truncated = (term: number): NodeEvent => ({
  layer: 'replication',
  event: { type: 'log-truncated', shard: SHARD, term, fromIndex: 3, lastIndex: 4 },
})
const appended = (firstOffset: number, records: number): NodeEvent => ({
  layer: 'streams',
  event: {
    type: 'stream-appended',
    shard: SHARD,
    index: 1,
    firstOffset,
    records,
    batches: 1,
    bytes: 1,
    heldBack: false,
  },
})
const summed = (index: number, sum: number): NodeEvent => ({
  layer: 'replication',
  event: { type: 'state-summed', shard: SHARD, index, sum },
})
const entry = (index: number, term: number, crc: number) => ({ shard: SHARD, index, term, crc, cutTo: null })

test('log matching: one entry per index and term, however often it is seen', () => {
  const checker = new LogMatching()
  checker.durable(1, entry(1, 1, 0xa))
  checker.durable(2, entry(1, 1, 0xa))
  checker.durable(2, entry(1, 2, 0xb))
  checker.durable(3, entry(1, 1, 0xa))
  assert.throws(() => checker.durable(3, entry(1, 2, 0xc)), Violation)
  assert.throws(() => checker.durable(1, entry(1, 1, 0xd)), Violation)
})

test('log matching: a leader only appends', () => {
  const checker = new LogMatching()
  checker.node(1, leads(2))
  checker.node(2, truncated(2))
  checker.node(1, truncated(3))
  assert.throws(() => checker.node(1, truncated(2)), /leads shard 16 in term 2/)
})

test('leader completeness', () => {
  const disks = new Disks()
  const history = new OneHistory(disks)
  const checker = new LeaderCompleteness(disks, history)
  const tell = (node: number, event: NodeEvent): void => {
    for (const each of [history, checker] as Checker[]) each.node?.(node, event)
  }
  for (const node of [1, 2]) for (const index of [1, 2]) disks.put(node, index, 1, index)
  tell(1, committed(2, 3))
  tell(2, leads(4))
  // Of an earlier term than the commitment: it need not know.
  tell(3, leads(2))
  assert.throws(() => tell(3, leads(5)), /its disk has nothing/)
  disks.put(3, 1, 1, 1)
  disks.put(3, 2, 2, 0xbad)
  assert.throws(() => tell(3, leads(6)), /bad of term 2/)
  // A snapshot up to index 9 stands for what is below.
  disks.held.delete(`3/${SHARD}/2`)
  disks.put(3, 9, 3, 9)
  tell(3, leads(7))
})

test('replicas hold one state at one index', () => {
  const checker = new SameState()
  checker.node(1, summed(50, 7))
  checker.node(2, summed(50, 7))
  assert.equal(checker.compared, 1)
  assert.throws(() => checker.node(3, summed(50, 8)), /8 on node 3 and 7 on node 1/)
  assert.throws(() => checker.node(1, summed(50, 7)), /after 50/)
  checker.started(1)
  checker.node(1, summed(50, 7))
})

test('offsets rise', () => {
  const checker = new OffsetsRise()
  checker.node(1, committed(5, 1, 40))
  checker.node(2, committed(4, 1, 40))
  checker.node(2, committed(6, 1, 41))
  assert.throws(() => checker.node(3, committed(7, 1, 39)), Violation)
  assert.throws(() => checker.node(3, committed(3, 1, 42)), Violation)
  checker.node(1, appended(40, 3))
  checker.node(1, appended(43, 1))
  assert.throws(() => checker.node(1, appended(45, 1)), /44 is next/)
  checker.node(1, leads(3))
  checker.node(1, appended(41, 1))
})
