import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { encodeKeyedBatch, forEachKeyedChange } from '../records/index.ts'
import { EntryKind, payloadOf } from '../storage/index.ts'
import { KeyedShard, type TestMachine } from './keyed-harness.test.ts'
import type { MutationOutcome } from './keyed-machine.ts'

function leading(term = 1): {
  shard: KeyedShard
  machine: TestMachine
  outcomes: MutationOutcome[]
  done: (outcome: MutationOutcome) => void
} {
  const shard = new KeyedShard()
  shard.lead(term)
  const outcomes: MutationOutcome[] = []
  return { shard, machine: shard.machine, outcomes, done: (outcome) => outcomes.push(outcome) }
}

test('a change is in the overlay at once, in the map after its commit, and answered then', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: '1' }, done)
  assert.equal(machine.now('a'), '1')
  assert.deepEqual(machine.map, {})
  shard.propose()
  assert.deepEqual(outcomes, [])
  shard.commit()
  assert.deepEqual(machine.map, { a: '1' })
  assert.deepEqual(outcomes, [null])
  assert.deepEqual(machine.heard, ['leads', 'a=1'])
})

test('nothing is proposed by one who does not lead, or does not know yet what was committed', () => {
  const shard = new KeyedShard()
  const outcomes: MutationOutcome[] = []
  shard.machine.put({ a: '1' }, (outcome) => outcomes.push(outcome))
  shard.append(EntryKind.leadership, 1, 0, [])
  shard.become({ role: 'leader', term: 1, leader: 1, settled: false })
  shard.machine.put({ a: '2' }, (outcome) => outcomes.push(outcome))
  assert.deepEqual(outcomes, ['not-leader', 'not-leader'])
  assert.deepEqual(shard.propose(), [])
  assert.equal(shard.machine.now('a'), null)
})

test('what one turn brings shares an entry, in order, and the last change of a key wins', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: '1', b: '1' }, done)
  machine.put({ a: '2' }, done)
  machine.put({ b: null }, done)
  const entries = shard.propose()
  assert.equal(entries.length, 1)
  const seen: string[] = []
  forEachKeyedChange(payloadOf(entries[0]!), (key, value) => seen.push(`${key}=${value}`))
  assert.deepEqual(seen, ['a=1', 'b=1', 'a=2', 'b=null'])
  assert.equal(machine.now('b'), null)
  shard.commit()
  assert.deepEqual(machine.map, { a: '2' })
  assert.deepEqual(outcomes, [null, null, null])
})

test('the overlay keeps the latest proposal while earlier ones of the same key commit', () => {
  const { shard, machine } = leading()
  machine.put({ a: '1' })
  shard.propose()
  machine.put({ a: '2' })
  shard.propose()
  machine.put({ a: null })
  shard.propose()
  const first = shard.commitIndex + 1
  shard.commit(first)
  assert.equal(machine.now('a'), null)
  assert.deepEqual(machine.map, { a: '1' })
  shard.commit(first + 1)
  assert.deepEqual(machine.map, { a: '2' })
  assert.equal(machine.now('a'), null)
  shard.commit()
  assert.deepEqual(machine.map, {})
})

test('keys by prefix see proposals and deletions', () => {
  const { shard, machine } = leading()
  machine.put({ 'x/1': 'a', 'x/2': 'b', 'y/1': 'c' })
  shard.propose()
  shard.commit()
  machine.put({ 'x/1': null, 'x/3': 'd' })
  assert.deepEqual(machine.nowKeys('x/'), ['x/2', 'x/3'])
})

test('a big turn is spread over entries; each waiter is answered by the entry that holds its last change', () => {
  const { shard, machine, outcomes, done } = leading()
  const megabyte = Buffer.alloc(1 << 20, 1)
  machine.putAll(
    Array.from({ length: 6 }, (_, i) => ({ key: `big${i}`, value: megabyte })),
    done,
  )
  machine.put({ small: '1' }, done)
  const entries = shard.propose()
  assert.deepEqual(
    entries.map((entry) => entry.recordCount),
    [4, 3],
  )
  shard.commit(entries[0]!.index)
  assert.deepEqual(outcomes, [])
  shard.commit()
  assert.deepEqual(outcomes, [null, null])
  assert.equal(Object.keys(machine.map).length, 7)
})

test('what is joined to a change is in its entry, however big that is', () => {
  const { shard, machine, outcomes, done } = leading()
  const big = Buffer.alloc(4 << 20, 1)
  machine.putAll(
    [
      { key: 'big0', value: big },
      { key: 'of big0', value: Buffer.from('1'), joined: true },
      { key: 'big1', value: big },
      { key: 'of big1', value: big, joined: true },
      { key: 'small', value: Buffer.from('1') },
    ],
    done,
  )
  assert.deepEqual(
    shard.propose().map((entry) => entry.recordCount),
    [2, 2, 1],
  )
  shard.commit()
  assert.deepEqual(outcomes, [null])
})

test('a single change above the size of an entry goes alone', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.putAll([{ key: 'huge', value: Buffer.alloc(5 << 20) }], done)
  machine.put({ next: '1' }, done)
  assert.deepEqual(
    shard.propose().map((entry) => entry.recordCount),
    [1, 1],
  )
  shard.commit()
  assert.deepEqual(outcomes, [null, null])
})

test('leadership lost: the overlay is dropped and everybody who waits hears that the outcome is unknown', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: '1' }, done)
  shard.propose()
  machine.put({ b: '1' }, done)
  shard.follow(2)
  assert.deepEqual(outcomes, ['lost', 'lost'])
  assert.equal(machine.now('a'), null)
  assert.equal(machine.mayDecide, false)
  assert.deepEqual(shard.propose(), [])
  shard.commit()
  assert.deepEqual(machine.map, { a: '1' }, 'the entry may still commit')
  assert.deepEqual(outcomes, ['lost', 'lost'], 'and nobody is told twice')
})

test("another leader's entries at our indexes, committed in the turn in which we lose: lost, never done", () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: 'mine' }, done)
  machine.put({ b: 'mine' }, done)
  shard.propose()
  shard.truncate()
  shard.foreign(2, { a: 'theirs' })
  shard.foreign(2, { c: 'theirs' })
  // As the replica calls: what was committed is applied first, the standing is told after.
  shard.commit()
  assert.deepEqual(outcomes, [])
  shard.follow(2)
  assert.deepEqual(outcomes, ['lost', 'lost'])
  assert.deepEqual(machine.map, { a: 'theirs', c: 'theirs' })
})

test('our entry commits, then theirs, in one turn: the answer is the cautious one', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: 'mine' }, done)
  shard.propose()
  shard.foreign(2, { b: 'theirs' })
  shard.commit()
  shard.follow(2)
  assert.deepEqual(outcomes, ['lost'])
  assert.deepEqual(machine.map, { a: 'mine', b: 'theirs' })
})

test('two standings that arrive as one: from a leadership straight into a later one', () => {
  const { shard, machine, outcomes, done } = leading(1)
  machine.put({ a: 'first' }, done)
  shard.propose()
  shard.truncate()
  shard.append(EntryKind.leadership, 3, 0, [])
  shard.commit()
  shard.become({ role: 'leader', term: 3, leader: 1, settled: true })
  assert.deepEqual(outcomes, ['lost'])
  assert.equal(machine.now('a'), null)
  assert.deepEqual(machine.heard, ['leads', 'lost', 'leads'])
  machine.put({ a: 'second' }, done)
  shard.propose()
  shard.commit()
  assert.deepEqual(outcomes, ['lost', null])
  assert.deepEqual(machine.map, { a: 'second' })
})

test('an old entry of ours that commits under our later leadership does not touch the new overlay', () => {
  const { shard, machine, outcomes, done } = leading(1)
  machine.put({ a: 'old' }, done)
  shard.propose()
  shard.follow(2)
  // The entry of term 1 is still in the log when this node leads again; the leadership entry commits both.
  shard.append(EntryKind.leadership, 3, 0, [])
  shard.become({ role: 'leader', term: 3, leader: 1, settled: false })
  shard.commit()
  shard.become({ role: 'leader', term: 3, leader: 1, settled: true })
  assert.equal(machine.now('a'), 'old')
  machine.put({ a: 'new' }, done)
  assert.equal(machine.now('a'), 'new')
  shard.propose()
  shard.commit()
  assert.deepEqual(machine.map, { a: 'new' })
  assert.deepEqual(outcomes, ['lost', null])
})

test('a waiter may mutate again, from its answer, in either outcome', () => {
  const { shard, machine, outcomes, done } = leading()
  machine.put({ a: '1' }, () =>
    machine.put({ b: '1' }, (outcome) => (outcome === 'not-leader' ? done(outcome) : machine.put({ c: '1' }, done))),
  )
  shard.propose()
  shard.commit()
  shard.propose()
  shard.commit()
  shard.propose()
  shard.follow(2)
  assert.deepEqual(outcomes, ['lost'])
  const again = leading()
  again.machine.put({ a: '1' }, () => again.machine.put({ b: '1' }, again.done))
  again.shard.follow(2)
  assert.deepEqual(again.outcomes, ['not-leader'])
})

test('a snapshot gives the same state on an empty machine, and again the same snapshot', () => {
  const { shard, machine } = leading()
  machine.put({ a: '1', b: '2', c: '' })
  shard.propose()
  shard.commit()
  machine.put({ b: null, d: 'in flight' })
  const snapshot = machine.snapshot()
  const copy = new KeyedShard().machine
  copy.restore(snapshot)
  assert.deepEqual(copy.map, { a: '1', b: '2', c: '' }, 'what is not committed is not in it')
  assert.equal(copy.appliedIndex, machine.appliedIndex)
  assert.deepEqual(copy.snapshot(), snapshot)
  assert.deepEqual(copy.heard, ['restored'])
  const empty = new KeyedShard().machine
  empty.restore(new KeyedShard().machine.snapshot())
  assert.deepEqual(empty.map, {})
})

test('a snapshot on a machine that runs: the differences are told, what vanished first', () => {
  const { shard, machine } = leading()
  machine.put({ same: '1', changed: '2', added: '3' })
  shard.propose()
  shard.commit()
  const behind = new KeyedShard()
  behind.foreign(1, { gone: 'x', changed: 'old', same: '1' })
  behind.commit()
  behind.machine.heard.length = 0
  const snapshot = machine.snapshot()
  behind.machine.restore(snapshot)
  assert.deepEqual(behind.machine.heard, ['-gone', 'changed=2', 'added=3'])
  assert.deepEqual(behind.machine.map, machine.map)
  assert.equal(behind.machine.appliedIndex, machine.appliedIndex)
  assert.deepEqual(behind.machine.snapshot(), snapshot, 'the same bytes')
  assert.throws(() => machine.restore(snapshot), /for the machine that decides/)
})

test('values outlive the buffers of their entries and snapshots', () => {
  const shard = new KeyedShard()
  const entry = shard.foreign(1, { a: 'kept' })
  shard.commit()
  entry.bytes.fill(0)
  assert.deepEqual(shard.machine.map, { a: 'kept' })
})

test('every replica that applies the same log holds the same map, whoever leads and whenever that changes', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('put' as const),
      key: fc.constantFrom('a', 'b', 'c'),
      value: fc.option(fc.nat(9).map(String)),
    }),
    fc.record({ do: fc.constantFrom('propose' as const, 'commit' as const, 'lose' as const, 'cut' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const shard = new KeyedShard()
      let term = 1
      shard.lead(term)
      const pending = new Set<number>()
      let calls = 0
      for (const one of steps) {
        if (one.do === 'put') {
          const call = ++calls
          pending.add(call)
          shard.machine.put({ [one.key]: one.value }, () => assert.ok(pending.delete(call), 'answered twice'))
        } else if (one.do === 'propose') shard.propose()
        else if (one.do === 'commit') shard.commit()
        else {
          shard.follow(term + 1)
          if (one.do === 'cut') shard.truncate()
          assert.equal(pending.size, 0, 'leadership lost and somebody still waits')
          term += 2
          shard.lead(term)
        }
        if (one.do === 'commit')
          for (const key of ['a', 'b', 'c'])
            if (shard.commitIndex === shard.lastIndex && pending.size === 0)
              assert.equal(shard.machine.now(key), shard.machine.map[key] ?? null)
      }
      shard.propose()
      shard.commit()
      assert.equal(pending.size, 0)
      const replica = new KeyedShard()
      replica.log.push(...shard.log)
      replica.commit()
      assert.deepEqual(replica.machine.map, shard.machine.map)
      for (const key of ['a', 'b', 'c']) assert.equal(shard.machine.now(key), shard.machine.map[key] ?? null)
    }),
    { numRuns: 200 },
  )
})

test('a payload that is not keyed batches is refused, not half applied', () => {
  const shard = new KeyedShard()
  shard.append(EntryKind.data, 1, 1, [encodeKeyedBatch([{ key: 'a', value: null }], 0, 0).subarray(0, 20)])
  assert.throws(() => shard.commit(), { name: 'RecordsError' })
})
