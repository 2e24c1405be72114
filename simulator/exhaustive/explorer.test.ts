/** The explorer ends, sees the same states every time, and finds each of the classic defects of Raft's implementations. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Edit } from '../mutants/patch.ts'
import type { Bounds } from './bounds.ts'
import { type Exploration, explore } from './explorer.ts'
import { openCore } from './opened-core.ts'
import { boundsOf, FIGURE_8 } from './scopes.ts'
import { StateSet } from './state-set.ts'

test('a scope without defects is explored to its end, and is the same every time', async () => {
  const core = await openCore()
  const bounds = boundsOf({ terms: 2, crashes: 1, led: true })
  const [first, again] = [explore(core, bounds), explore(core, bounds)]
  assert.equal(first.violation, null)
  assert.ok(first.exhausted)
  assert.ok(first.states > 10_000, `${first.states} states`)
  assert.equal(first.committed, 2)
  assert.deepEqual(again, first)
})

test('elections that ask first, and a network without order, end as well', async () => {
  const core = await openCore()
  for (const change of [
    { preVote: true, campaigns: 2 },
    { network: 'unordered', lostSessions: 1 },
    { lostMessages: 1, duplicates: 1, resignations: 1 },
    { overtakings: 1, resignations: 1 },
  ] satisfies Partial<Bounds>[]) {
    const { exhausted, violation, committed } = explore(core, boundsOf(change))
    assert.equal(violation, null, `${violation?.property}: ${violation?.message}`)
    assert.ok(exhausted && committed >= 1)
  }
})

test('snapshots are sent, in pieces too, and the scope ends', async () => {
  const core = await openCore()
  const bounds = boundsOf({ cuts: 1, crashes: 1, snapshotChunkBytes: 40 })
  const { exhausted, violation, said } = explore(core, bounds)
  assert.equal(violation, null, `${violation?.property}: ${violation?.message}`)
  assert.ok(exhausted && said.includes('snapshot') && said.includes('snapshot-reply'))
})

test('of six states that differ by names one is looked at', async () => {
  const core = await openCore()
  for (const bounds of [boundsOf({ proposals: 1 }), boundsOf({ preVote: true, campaigns: 2 })]) {
    const [folded, plain] = [explore(core, bounds), explore(core, { ...bounds, symmetry: false })]
    assert.ok(folded.exhausted && plain.exhausted)
    // Few states are their own image.
    assert.ok(
      plain.states > 5.5 * folded.states && plain.states <= 6 * folded.states,
      `${plain.states}, ${folded.states}`,
    )
    assert.equal(plain.committed, folded.committed)
  }
})

test('what is not explored to its end says so', async () => {
  const { exhausted, states } = explore(await openCore(), boundsOf({ terms: 2, maxStates: 1000 }))
  assert.ok(!exhausted)
  assert.equal(states, 1000)
})

interface Defect {
  readonly name: string
  readonly edits: readonly Edit[]
  readonly bounds: Bounds
  /** One of these breaks: which one is met first depends on the order of the search. */
  readonly breaks: readonly string[]
}

const DEFECTS: readonly Defect[] = [
  {
    name: 'a replica votes twice in a term',
    edits: [
      { file: 'replication/voting', find: 'core.vote === 0 || core.vote === from', replace: 'true' },
      { file: 'replication/raft-core', find: 'this.vote === 0 || this.vote === node,', replace: 'true,' },
    ],
    bounds: boundsOf({}),
    breaks: ['one vote per term', 'one leader per term'],
  },
  {
    name: 'a vote is told before it is on disk, and forgotten in a crash',
    edits: [
      {
        file: 'replication/persistence',
        find: 'return this.#hardStateWrite <= this.#completed',
        replace: 'return true',
      },
    ],
    bounds: boundsOf({ crashes: 1, checkPromises: false }),
    breaks: ['one leader per term', 'committed is on a quorum of disks'],
  },
  {
    name: 'a follower says "journaled" of what it has only received',
    edits: [
      {
        file: 'replication/follower',
        find: 'Math.min(following.matched, this.#core.persistence.journaled)',
        replace: 'following.matched',
      },
    ],
    bounds: boundsOf({ checkPromises: false }),
    breaks: ['committed is on a quorum of disks'],
  },
  {
    name: 'the same, seen at the moment it is said',
    edits: [
      {
        file: 'replication/follower',
        find: 'Math.min(following.matched, this.#core.persistence.journaled)',
        replace: 'following.matched',
      },
    ],
    bounds: boundsOf({}),
    breaks: ['what is said is on disk'],
  },
  {
    name: 'a leader counts its own journal before it is written',
    edits: [
      {
        file: 'replication/leader',
        find: 'node === self ? core.persistence.journaled :',
        replace: 'node === self ? core.log.lastIndex :',
      },
    ],
    bounds: boundsOf({}),
    breaks: ['committed is on a quorum of disks'],
  },
  {
    name: 'entries of earlier terms are committed by counting (Figure 8)',
    edits: [
      {
        file: 'replication/leader',
        find: 'if (index <= core.commit || index < this.#firstIndex)',
        replace: 'if (index <= core.commit)',
      },
    ],
    bounds: FIGURE_8,
    breaks: [
      'leaders hold what is committed',
      'one committed history',
      'the core’s own assertions',
      'committed is on a quorum of disks',
    ],
  },
  {
    // The chain of checksums would keep it from doing harm, so that goes too.
    name: 'a follower keeps its own entry where the leader has another',
    edits: [
      { file: 'replication/follower', find: 'core.truncateFrom(index)', replace: 'return true' },
      { file: 'replication/follower', find: 'if (entry.previousCrc !== log.lastCrc)', replace: 'if (entry === null)' },
      { file: 'replication/raft-log', find: 'entry.previousCrc === this.#lastCrc,', replace: 'true,' },
      { file: 'replication/raft-log', find: 'entry.firstOffset === this.#endOffset,', replace: 'true,' },
    ],
    bounds: boundsOf({ disks: [[1], [2], []] }),
    breaks: ['what is said is on disk', 'one committed history', 'committed is on a quorum of disks', 'log matching'],
  },
  {
    name: 'a vote for somebody whose log is behind',
    edits: [
      {
        file: 'replication/voting',
        find: 'core.leader === null && isUpToDate(core, message)',
        replace: 'core.leader === null',
      },
    ],
    bounds: boundsOf({ terms: 2, led: true, proposals: 1 }),
    breaks: ['leaders hold what is committed', 'the core’s own assertions', 'one committed history'],
  },
  {
    name: 'a log of another term is taken for what a snapshot stands for',
    edits: [
      {
        file: 'replication/follower',
        find: 'if (held.term !== entryTerm) return false',
        replace: 'if (held.term !== entryTerm) return true',
      },
    ],
    bounds: boundsOf({ disks: [[1, 1, 1], [2], []], cuts: 1, lostSessions: 1, messagesMax: 4, writesMax: 2 }),
    breaks: ['one committed history', 'committed is on a quorum of disks', 'what is said is on disk'],
  },
]

for (const { name, edits, bounds, breaks } of DEFECTS) {
  test(`found: ${name}`, async () => {
    const found: Exploration = explore(await openCore(edits), { ...bounds, maxStates: 2_000_000 })
    assert.ok(found.violation !== null, `not found in ${found.states} states`)
    assert.ok(breaks.includes(found.violation.property), `${found.violation.property}: ${found.violation.message}`)
    assert.ok(found.path.length > 0)
  })
}

test('a defect that does not fit the source is an error', async () => {
  await assert.rejects(openCore([{ file: 'replication/voting', find: 'nothing like this', replace: '' }]))
  await assert.rejects(openCore([{ file: 'replication/nowhere', find: 'x', replace: '' }]), /no replication\/nowhere/)
})

test('a state set remembers, grows, and tells what is new', () => {
  const states = new StateSet()
  const state = (i: number): Int32Array => Int32Array.of(i, i >> 3, 7, 1 << (i & 15))
  for (let i = 0; i < 200_000; i++) assert.ok(states.add(state(i)), `${i} was taken for another`)
  for (let i = 0; i < 200_000; i++) assert.ok(!states.add(state(i)))
  assert.equal(states.size, 200_000)
  assert.ok(states.add(Int32Array.of(0, 0, 7, 1, 0)), 'a longer state is another one')
})
