import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Entry, EntryKind, encodeEntry } from '../storage/index.ts'
import type { Message } from './messages.ts'
import { diskWithTerms, ProtocolHarness, SHARD } from './protocol-harness.test.ts'
import { encodeSnapshotBody, headOf } from './snapshot.ts'

const lines: string[] = []

function follower(terms: readonly number[]): ProtocolHarness {
  lines.length = 0
  const harness = new ProtocolHarness({ voters: [1, 2, 3], observe: (line) => lines.push(line) })
  harness.add(1, diskWithTerms(terms, 5))
  harness.add(2)
  return harness
}

function append(previousIndex: number, previousTerm: number, entries: readonly Entry[], commit = 0): Message {
  return { type: 'append', shard: SHARD, term: 5, previousIndex, previousTerm, commit, entries }
}

function entry(index: number, term: number, previousCrc: number): Entry {
  const kind = EntryKind.leadership
  return encodeEntry({
    kind,
    shard: SHARD,
    term,
    index,
    stamp: 1,
    firstOffset: 0,
    recordCount: 0,
    previousCrc,
    payload: [],
  })
}

function replies(harness: ProtocolHarness): Message[] {
  return harness.flights
    .filter(({ from, message }) => from === 1 && message.type === 'append-reply')
    .map(({ message }) => message)
}

test('follower: an entry whose chain leads elsewhere is refused, loudly and once', () => {
  const harness = follower([1])
  harness.act(1, (raft) => raft.step(2, append(1, 1, [entry(2, 5, 0xbad)])))
  assert.ok(
    lines.some((line) => line.includes('CHAIN_MISMATCH')),
    lines.join('\n'),
  )
  assert.equal(harness.node(1).raft.log.lastIndex, 1)
  const [reply] = replies(harness)
  assert.ok(reply?.type === 'append-reply' && reply.rejected !== null)
  // Nothing more is taken in this session, so the two do not argue for ever.
  harness.act(1, (raft) => raft.step(2, append(1, 1, [])))
  assert.equal(replies(harness).length, 1)
  // A new session is a new beginning.
  harness.disconnect(1, 2)
  harness.connect(1, 2)
  harness.act(1, (raft) => raft.step(2, append(1, 1, [])))
  assert.equal(replies(harness).length, 1)
})

test('follower: another entry under the same term and index is refused and does not replace ours', () => {
  const harness = follower([1, 5])
  const before = harness.node(1).raft.log.entry(2)
  harness.act(1, (raft) => raft.step(2, append(1, 1, [entry(2, 5, raft.log.entry(1)!.crc)])))
  assert.ok(
    lines.some((line) => line.includes('CHAIN_MISMATCH')),
    lines.join('\n'),
  )
  assert.equal(harness.node(1).raft.log.entry(2), before)
})

test('follower: entries that do not follow one another are refused', () => {
  const harness = follower([1])
  harness.act(1, (raft) => raft.step(2, append(1, 1, [entry(3, 5, 0)])))
  assert.ok(
    lines.some((line) => line.includes('APPEND_MALFORMED')),
    lines.join('\n'),
  )
  assert.equal(harness.node(1).raft.log.lastIndex, 1)
})

test('follower: commits no further than its log is known to match', () => {
  const harness = follower([1, 2, 2])
  harness.act(1, (raft) => raft.step(2, append(1, 1, [], 9)))
  assert.equal(harness.node(1).raft.commit, 1)
})

test('follower: a rejection skips a whole diverging term', () => {
  const harness = follower([1, 1, 4, 4, 4, 4])
  harness.act(1, (raft) => raft.step(2, append(9, 3, [])))
  harness.act(1, (raft) => raft.step(2, append(6, 3, [])))
  for (const reply of replies(harness)) {
    assert.ok(reply.type === 'append-reply')
    assert.deepEqual([reply.rejected?.hintIndex, reply.rejected?.hintTerm], [2, 1])
  }
})

/** A leader that probes waits for the answer to its latest append, and for no other. */
test('follower: a rejection does not take the place of an answer that is due', () => {
  const harness = follower([1, 4])
  harness.act(1, (raft) => {
    for (const message of [append(5, 5, []), append(1, 1, []), append(5, 5, [])]) raft.step(2, message)
  })
  const accepted = replies(harness).filter((reply) => reply.type === 'append-reply' && reply.rejected === null)
  assert.deepEqual(accepted, [
    { type: 'append-reply', shard: SHARD, term: 5, received: 1, journaled: 1, rejected: null },
  ])
})

function snapshotAt(index: number): Message {
  const place = { index, entryTerm: 5, crc: index, nextOffset: index, stamp: index }
  const epochs = [{ term: 5, firstIndex: 2, firstOffset: 0 }]
  const rest = { epochs, configuration: Buffer.alloc(0), cleanedFrom: null, state: Buffer.from('[]') }
  const body = encodeSnapshotBody({ ...place, ...rest })
  return { type: 'snapshot', shard: SHARD, term: 5, head: headOf(place, body), at: 0, chunk: body }
}

/** The second is of a leader that has gone; the one that we follow has a log that goes on from the first. It sends nothing twice. */
test('follower: while one snapshot follows another nobody hears of the first', () => {
  const harness = follower([1])
  harness.act(1, (raft) => raft.step(2, snapshotAt(5)))
  harness.act(1, (raft) => raft.step(2, snapshotAt(8)))
  harness.install(1)
  assert.deepEqual(replies(harness), [])
  harness.install(1)
  assert.deepEqual(replies(harness), [
    { type: 'append-reply', shard: SHARD, term: 5, received: 8, journaled: 8, rejected: null },
  ])
})
