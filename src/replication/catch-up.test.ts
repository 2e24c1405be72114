/** A follower that is fed from the shard log. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EntryKind } from '../storage/index.ts'
import { diskWithTerms, type Flight, ProtocolHarness } from './protocol-harness.test.ts'

/**
 * After a restart the mark of a leader starts at its checkpoint, while its shard log may hold what a former process knew to be
 * committed beyond that. Found by the simulator (seed 10).
 */
test('a read of the shard log that reaches beyond the mark is sent up to the mark', () => {
  const harness = new ProtocolHarness({ voters: [1, 2, 3] })
  for (const id of [1, 2, 3]) harness.add(id)
  const propose = (text: string): void => {
    const draft = { kind: EntryKind.data, recordCount: 1, payload: [Buffer.from(text)], stamp: 1 }
    harness.act(1, (raft) => void raft.propose(draft))
  }
  const settle = (): void => {
    for (let again = true; again; ) {
      again = false
      for (const flight of harness.deliverable()) {
        harness.deliver(flight)
        again = true
      }
      for (const { id, writes } of harness.running()) {
        while (writes.length > 0) harness.sync(id)
      }
      again ||= harness.flights.length > 0
    }
  }
  harness.act(1, (raft) => raft.campaign())
  settle()
  harness.crash(3)
  for (const text of ['a', 'b', 'c']) propose(text)
  settle()
  const { raft, committed } = harness.node(1)
  assert.equal(raft.commit, 4)
  raft.log.releaseUpTo(3)
  harness.crash(2)
  propose('not committed')
  settle()
  harness.restart(3)
  settle()
  const read = harness.node(1).reads.shift()
  assert.equal(read?.peer, 3)
  const beyond = [...committed.slice(read!.fromIndex - 1), raft.log.entry(5)!]
  harness.act(1, (leader) => leader.entriesRead(3, beyond))
  const sent = harness.flights.flatMap(({ message }) =>
    message.type === 'append' && message.entries.length > 0 ? [message.entries.map(({ index }) => index)] : [],
  )
  assert.deepEqual(sent[0], [2, 3, 4])
  settle()
  assert.equal(harness.node(3).raft.log.lastIndex, 5)
})

/**
 * A leader that probes while appends are out is answered for them first. Two such answers in one turn: the first ends the probe,
 * the second says more than was sent since. Sent again, that would never be answered, and neither would a probe that waits for
 * the answer. Found by the simulator (seed 3273).
 */
test('a follower that is probed with appends out, and answers them one by one, is not sent them again', () => {
  let probes = false
  const chance = (site: string): boolean => probes && site === 'replication/probe-again'
  const harness = new ProtocolHarness({ voters: [1, 2], chance })
  for (const id of [1, 2]) harness.add(id)
  const settle = (): void => {
    while (harness.flights.length > 0 || harness.running().some(({ writes }) => writes.length > 0)) {
      for (const flight of harness.deliverable()) harness.deliver(flight)
      for (const { id, writes } of harness.running()) while (writes.length > 0) harness.sync(id)
    }
  }
  const propose = (text: string): void => {
    const draft = { kind: EntryKind.data, recordCount: 1, payload: [Buffer.from(text)], stamp: 1 }
    harness.act(1, (raft) => void raft.propose(draft))
  }
  harness.act(1, (raft) => raft.campaign())
  settle()
  propose('a')
  propose('b')
  probes = true
  harness.sync(1)
  probes = false
  for (let append = 0; append < 2; append++) {
    harness.deliver(harness.deliverable().find(({ to }) => to === 2)!)
    harness.sync(2)
  }
  while (harness.flights.some(({ to }) => to === 2)) harness.deliver(harness.deliverable().find(({ to }) => to === 2)!)
  const answers = harness.flights.filter(({ to, message }) => to === 1 && message.type === 'append-reply')
  assert.equal(answers.length, 2)
  probes = true
  harness.deliverTogether(answers)
  settle()
  propose('c')
  settle()
  assert.equal(harness.node(2).raft.commit, 4)
})

/**
 * The same story with memory at hand: the answer to the probe and the repeated rejection come in one turn, before anything is
 * sent on. Found by the random walks (seed 101588181/24); `testdata/repeated-rejection.txt` reads from the shard log in between.
 */
test('a rejection repeated behind the answer to the probe that it led to does not lead to another probe', () => {
  const harness = new ProtocolHarness({ voters: [1, 2] })
  harness.add(1, diskWithTerms([1, 1], 1))
  harness.add(2, diskWithTerms([], 1))
  const deliverTo = (id: number): void => {
    while (harness.flights.some(({ to }) => to === id))
      harness.deliver(harness.deliverable().find(({ to }) => to === id)!)
  }
  const settle = (): void => {
    while (harness.flights.length > 0 || harness.running().some(({ writes }) => writes.length > 0)) {
      for (const id of [1, 2]) deliverTo(id)
      for (const { id, writes } of harness.running()) while (writes.length > 0) harness.sync(id)
    }
  }
  const answers = (): Flight[] => harness.flights.filter(({ message }) => message.type === 'append-reply')
  harness.act(1, (raft) => raft.campaign())
  for (let turn = 0; turn < 6 && answers().length === 0; turn++) {
    deliverTo(2)
    if (answers().length === 0) deliverTo(1)
    for (const { id, writes } of harness.running()) while (writes.length > 0) harness.sync(id)
  }
  const [rejection] = answers()
  assert.ok(rejection?.message.type === 'append-reply' && rejection.message.rejected !== null)
  harness.repeat(rejection)
  harness.deliver(rejection)
  deliverTo(2)
  const [again, answer] = answers()
  harness.repeat(again!)
  harness.deliver(again!)
  harness.deliverTogether([answer!, answers().at(-1)!])
  settle()
  assert.equal(harness.node(2).raft.log.lastIndex, 3)
})
