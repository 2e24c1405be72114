/** Checkers of what clients are told: silent on good stories, loud on each way of being wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import { Groups } from './groups.ts'
import { OnlyWhatWasSent } from './only-what-was-sent.ts'
import { RecordedHistory } from './recorded-history.ts'
import { Topics } from './topics.ts'

const PLACE = { topic: 't', partition: 0 } as const
const sent = (...values: string[]): ClientEvent => ({ type: 'sent', client: 'p', ...PLACE, values })
const acknowledged = (baseOffset: number, ...values: string[]): ClientEvent => ({
  type: 'acknowledged',
  client: 'p',
  ...PLACE,
  baseOffset,
  values,
})
const fetched = (
  position: number,
  values: string[],
  more: { client?: string; askedAtMs?: number; mark?: number } = {},
): ClientEvent => ({
  type: 'fetched',
  client: more.client ?? 'c',
  ...PLACE,
  askedAtMs: more.askedAtMs ?? 0,
  position,
  highWatermark: more.mark ?? position + values.length,
  records: values.map((value, i) => ({ offset: position + i, value })),
})

test('what is read was sent', () => {
  const checker = new OnlyWhatWasSent()
  checker.client(sent('a', 'b'))
  checker.client(fetched(0, ['a', 'b']))
  assert.throws(() => checker.client(fetched(2, ['c'])), Violation)
  assert.throws(() => checker.client({ ...fetched(0, ['a']), partition: 1 } as ClientEvent), Violation)
  assert.throws(() => checker.client(sent('a')), /twice/)
})

type Said<T> = { readonly [K in keyof T]?: T[K] }
const assigned = (
  member: string,
  generation: number,
  partitions: string[],
  instance: string | null = null,
): ClientEvent => ({
  type: 'group-assigned',
  client: member,
  group: 'g',
  member,
  instance,
  generation,
  partitions,
})
const committed = (offset: number, askedAtMs: number, generation = 1, member = 'm'): ClientEvent => ({
  type: 'group-committed',
  client: member,
  group: 'g',
  member,
  generation,
  ...PLACE,
  offset,
  askedAtMs,
})
const position = (offset: number, askedAtMs: number): ClientEvent => ({
  type: 'group-position',
  client: 'm',
  group: 'g',
  ...PLACE,
  offset,
  askedAtMs,
})
const lostCommit = (offset: number, askedAtMs: number): ClientEvent => ({
  type: 'group-commit-unknown',
  client: 'm',
  group: 'g',
  ...PLACE,
  offset,
  askedAtMs,
})

/** Events at their moments, then the end. */
function play(...story: [number, ClientEvent][]): void {
  let now = 0
  const checker = new Groups(() => now)
  for (const [at, event] of story) {
    now = at
    checker.client(event)
  }
  checker.finish()
}

test('groups: good stories', () => {
  play(
    [1, assigned('m', 1, ['t/0'])],
    [1, assigned('n', 1, ['t/1'])],
    [2, position(-1, 1)],
    [5, committed(3, 4)],
    [6, position(3, 6)],
    [7, assigned('n', 2, ['t/0'])],
    // Sent before the second generation was known.
    [9, committed(4, 6)],
    [9, position(5, 8)],
    [10, lostCommit(5, 7)],
    [11, assigned('seat, again', 3, ['t/0'], 'seat')],
    [12, assigned('seat, once more', 3, ['t/0'], 'seat')],
  )
})

test('groups: bad stories', () => {
  const bad: Said<Record<string, [number, ClientEvent][]>> = {
    'two owners': [
      [1, assigned('m', 1, ['t/0'])],
      [2, assigned('n', 1, ['t/0'])],
    ],
    'a generation goes back': [
      [1, assigned('m', 2, [])],
      [2, assigned('m', 1, [])],
    ],
    'a commit of an earlier generation': [
      [1, assigned('n', 2, [])],
      [3, committed(1, 2, 1)],
    ],
    'a commit is lost': [
      [2, committed(3, 1)],
      [4, position(2, 3)],
    ],
    'a position is forgotten': [
      [2, committed(3, 1)],
      [4, position(-1, 3)],
    ],
    'a position out of nowhere': [[4, position(7, 3)]],
  }
  for (const [name, story] of Object.entries(bad)) assert.throws(() => play(...story!), Violation, name)
})

const asked = (partitions: number, topic = 'x'): ClientEvent => ({
  type: 'topic-create-sent',
  client: 'a',
  topic,
  partitions,
})
const created = (outcome: 'done' | 'exists' | 'refused' | 'unknown', partitions = 2): ClientEvent => ({
  type: 'topic-create',
  client: 'a',
  topic: 'x',
  partitions,
  askedAtMs: 0,
  outcome,
})
const deleted = (outcome: 'done' | 'missing' | 'unknown'): ClientEvent => ({
  type: 'topic-delete',
  client: 'a',
  topic: 'x',
  askedAtMs: 0,
  outcome,
})
const listed = (name: string, id: string, partitions: number): ClientEvent => ({
  type: 'topics-listed',
  client: 'a',
  askedAtMs: 0,
  topics: [{ name, id, partitions }],
})

test('topics', () => {
  const good: ClientEvent[][] = [
    [
      asked(2),
      created('done'),
      listed('x', 'i', 2),
      deleted('done'),
      asked(3),
      created('done', 3),
      listed('x', 'j', 3),
      listed('x', 'i', 2),
    ],
    // Somebody else is shown it before the answer is back.
    [asked(2), listed('x', 'i', 2), created('done')],
    [asked(1), created('done', 1), deleted('done'), asked(2), listed('x', 'j', 2), created('done')],
    [asked(2), created('unknown'), listed('x', 'i', 2)],
    // What was refused takes nothing from what was granted.
    [asked(2), created('done'), asked(2), created('exists'), asked(3), created('refused', 3), listed('x', 'i', 2)],
    [asked(2), created('unknown'), asked(2), created('exists'), deleted('missing')],
    [asked(2), created('done'), deleted('unknown'), asked(2), created('done'), deleted('missing')],
    [listed('t', 'k', 4), listed('__internal', 'l', 9)],
  ]
  const bad: ClientEvent[][] = [
    [asked(2), created('done'), asked(2), created('done')],
    [asked(2), created('done'), deleted('missing')],
    [asked(2), created('done'), listed('x', 'i', 3)],
    [asked(2), created('done'), listed('x', 'i', 3), asked(3)],
    [listed('x', 'i', 2), asked(2), created('done')],
    [asked(2), created('refused'), listed('x', 'i', 2)],
    [asked(2), listed('x', 'i', 2), created('refused')],
    [asked(2), created('done'), asked(3), listed('x', 'j', 3), created('exists', 3)],
    [listed('t', 'k', 5)],
    [asked(1, 'u'), asked(1, 'v'), listed('u', 'i', 1), listed('v', 'i', 1)],
    [asked(1, 'u'), asked(2, 'u'), listed('u', 'i', 1), listed('u', 'i', 2)],
  ]
  const run = (events: readonly ClientEvent[]): void => {
    const checker = new Topics([{ name: 't', partitions: 4 }], (name) => name.startsWith('__'))
    for (const event of events) checker.client(event)
  }
  for (const events of good) run(events)
  for (const [i, events] of bad.entries()) assert.throws(() => run(events), Violation, `story ${i}`)
})

/** Everything that clients say, then the checkers of histories. */
function record(...story: [number, ClientEvent][]): RecordedHistory {
  let now = 0
  const recorded = new RecordedHistory(
    () => now,
    (producer) => producer === 'p',
  )
  for (const [at, event] of story) {
    now = at
    recorded.client(event)
  }
  recorded.finish(true)
  return recorded
}

const register = (
  calledAtMs: number,
  operation: (ClientEvent & { type: 'register' })['operation'],
  outcome: (ClientEvent & { type: 'register' })['outcome'],
): ClientEvent => ({ type: 'register', client: 'r', shard: 8, key: 'k', calledAtMs, operation, outcome })

test('the history of all clients: a good one', () => {
  const { tally } = record(
    [1, sent('a', 'b')],
    [3, acknowledged(0, 'a', 'b')],
    [4, fetched(0, ['a'], { askedAtMs: 2, mark: 2 })],
    [5, sent('lost')],
    [6, fetched(1, ['b'], { askedAtMs: 5, mark: 2 })],
    // Going back, and a look at the end.
    [7, fetched(0, ['a', 'b'], { askedAtMs: 6, mark: 2 })],
    [8, fetched(0, ['a'], { askedAtMs: 7, mark: 2 })],
    [9, fetched(2, [], { askedAtMs: 8, mark: 2 })],
    [10, register(9, { kind: 'write', value: 'v' }, { kind: 'written', index: 4 })],
    [12, register(11, { kind: 'read' }, { kind: 'read', value: 'v', index: 5 })],
    [13, register(12, { kind: 'cas', expected: 'w', value: 'x' }, { kind: 'unequal', index: 6 })],
    [14, register(13, { kind: 'write', value: 'y' }, { kind: 'unknown' })],
    [16, register(15, { kind: 'cas', expected: 'y', value: 'z' }, { kind: 'written', index: 9 })],
    [17, register(16, { kind: 'write', value: 'no' }, { kind: 'refused' })],
  )
  assert.deepEqual([tally.registers, tally.searched], [6, 6])
})

test('the history of all clients: bad ones', () => {
  const bad: Record<string, [number, ClientEvent][]> = {
    'lost-write': [
      [1, sent('a')],
      [2, acknowledged(0, 'a')],
      [3, sent('b')],
      [4, acknowledged(1, 'b')],
      [5, fetched(1, ['b'], { askedAtMs: 4 })],
    ],
    unseen: [
      [1, sent('a')],
      [2, acknowledged(0, 'a')],
    ],
    'skipped-poll': [
      [1, sent('a', 'b', 'c')],
      [2, acknowledged(0, 'a', 'b', 'c')],
      [3, fetched(0, ['a'], { askedAtMs: 2, mark: 3 })],
      [4, fetched(2, ['c'], { askedAtMs: 3, mark: 3 })],
      [5, fetched(0, ['a', 'b', 'c'], { client: 'other', askedAtMs: 4 })],
    ],
    'wrong-position': [
      [1, fetched(0, [], { client: 'm' })],
      [2, position(7, 1)],
    ],
    'stale-index': [
      [2, register(1, { kind: 'write', value: 'v' }, { kind: 'written', index: 4 })],
      [4, register(3, { kind: 'read' }, { kind: 'read', value: null, index: 3 })],
    ],
    'wrong-value': [
      [2, register(1, { kind: 'write', value: 'v' }, { kind: 'written', index: 4 })],
      [4, register(3, { kind: 'read' }, { kind: 'read', value: null, index: 5 })],
    ],
  }
  for (const [name, story] of Object.entries(bad)) assert.throws(() => record(...story), new RegExp(name), name)
})
