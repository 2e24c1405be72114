import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type BatchMark, PRODUCERS_MAX, Producers, sequenceAfter } from './producers.ts'

function mark(firstSequence: number, count: number, baseOffset: number): BatchMark {
  const lastSequence = sequenceAfter(firstSequence, count - 1)
  return { firstSequence, lastSequence, baseOffset, lastOffset: baseOffset + count - 1, appendTime: -1 }
}

interface Sent {
  readonly id: number
  readonly epoch: number
  readonly mark: BatchMark
}

/**
 * The dumb twin: keeps every batch that is in the log and answers each question by reading all of them again, with the rules
 * as Kafka's documentation words them.
 */
class PlainProducers {
  log: Sent[] = []
  committed = 0

  check(id: number, epoch: number, sequence: number, count: number): BatchMark | 0 | 45 | 47 {
    const mine = this.log.filter((one) => one.id === id)
    const last = mine[mine.length - 1]
    if (last === undefined) return 0
    if (epoch < last.epoch) return 47
    if (epoch > last.epoch) return sequence === 0 ? 0 : 45
    const lastFive = mine.filter((one) => one.epoch === epoch).slice(-5)
    const lastSequence = (sequence + count - 1) % 2 ** 31
    const again = lastFive.find((one) => one.mark.firstSequence === sequence && one.mark.lastSequence === lastSequence)
    if (again) return again.mark
    return sequence === (last.mark.lastSequence + 1) % 2 ** 31 ? 0 : 45
  }
}

type Step =
  | {
      readonly type: 'send'
      readonly id: number
      readonly epochChange: number
      readonly back: number
      readonly count: number
    }
  | { readonly type: 'commit'; readonly batches: number }
  | { readonly type: 'depose'; readonly keep: number }
  | { readonly type: 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('send' as const),
      id: fc.integer({ min: 0, max: 2 }),
      epochChange: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, -1),
      back: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 5, 6, -1),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('commit' as const), batches: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('depose' as const), keep: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
)

function run(steps: readonly Step[], startSequence: number): void {
  let producers = new Producers(0)
  const twin = new PlainProducers()
  let nextOffset = 0
  const commitOne = () => {
    const sent = twin.log[twin.committed++]!
    producers.commit(sent.id, sent.epoch, sent.mark)
  }
  // Everybody is known, for unknown producers have rules of their own; the numbers may be about to wrap.
  for (let id = 0; id <= 2; id++) {
    twin.log.push({ id, epoch: 0, mark: mark(startSequence, 1, nextOffset++) })
    commitOne()
  }
  for (const one of steps) {
    if (one.type === 'commit') {
      for (let i = 0; i < one.batches && twin.committed < twin.log.length; i++) commitOne()
    } else if (one.type === 'depose') {
      // Some of what was proposed survives the change of leaders, and is committed before the next leader is settled.
      producers.dropOverlay()
      twin.log.length = Math.min(twin.log.length, twin.committed + one.keep)
      nextOffset = (twin.log[twin.log.length - 1]?.mark.lastOffset ?? -1) + 1
      while (twin.committed < twin.log.length) commitOne()
    } else if (one.type === 'restart') {
      const bytes = Buffer.alloc(producers.snapshotBytes)
      assert.equal(producers.write(bytes, 0), bytes.length)
      producers = new Producers(0)
      assert.equal(producers.read(bytes, 0), bytes.length)
      while (twin.log.length > twin.committed) twin.log.pop()
      nextOffset = (twin.log[twin.log.length - 1]?.mark.lastOffset ?? -1) + 1
    } else {
      const mine = twin.log.filter((sent) => sent.id === one.id)
      const latest = mine[mine.length - 1]
      const epoch = Math.max(0, (latest?.epoch ?? 1) + one.epochChange)
      const again = one.back > 0 ? mine[mine.length - one.back] : undefined
      const next = latest && one.epochChange === 0 ? sequenceAfter(latest.mark.lastSequence, 1) : 0
      const first = again ? again.mark.firstSequence : sequenceAfter(next, one.back < 0 ? 1 : 0)
      const count = again && one.count < 3 ? again.mark.lastOffset - again.mark.baseOffset + 1 : one.count
      const expected = twin.check(one.id, epoch, first, count)
      assert.deepEqual(producers.check(one.id, epoch, first, count), expected)
      if (expected === 0) {
        const sent = { id: one.id, epoch, mark: mark(first, count, nextOffset) }
        nextOffset += count
        twin.log.push(sent)
        producers.propose(sent.id, sent.epoch, sent.mark)
      }
    }
  }
}

test('the table answers as one that reads the whole log each time', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.constantFrom(0, 5, 2 ** 31 - 4), (steps, start) =>
      run(steps, start),
    ),
    { numRuns: 300 },
  )
})

test('a producer that never wrote here begins with its first batch, whoever may have seen that one', () => {
  const producers = new Producers(100)
  assert.equal(producers.check(100, 0, 3, 2), 45, 'its first batch is on its way to somebody else')
  assert.equal(producers.check(100, 0, 0, 3), 0)
  producers.propose(100, 0, mark(0, 3, 0))
  assert.equal(producers.check(100, 0, 3, 2), 0)
  producers.dropOverlay()
  assert.equal(producers.check(100, 0, 3, 2), 45, 'what it continued is lost')
  producers.commit(100, 0, mark(0, 3, 0))
  assert.equal(producers.check(100, 0, 3, 2), 0, 'it was not lost')
  assert.equal(producers.check(101, 7, 0, 1), 0, 'its epoch rose before it came here')
})

test('one that may have written to an earlier topic of this name starts anywhere, or where it was turned away', () => {
  const producers = new Producers(100)
  producers.turnedAway(1, 0, 10)
  producers.turnedAway(1, 0, 13)
  assert.equal(producers.check(1, 0, 13, 2), 45)
  assert.equal(producers.check(1, 1, 0, 2), 0, 'a new epoch has nothing to wait for')
  assert.equal(producers.check(99, 0, 13, 2), 0)
  assert.equal(producers.check(1, 0, 10, 3), 0)
  producers.propose(1, 0, mark(10, 3, 0))
  assert.equal(producers.check(1, 0, 13, 2), 0)
})

test('what such a one wrote, and is lost with the leadership, comes first when it comes again', () => {
  const producers = new Producers(100)
  producers.propose(1, 0, mark(10, 3, 0))
  producers.dropOverlay()
  assert.equal(producers.check(1, 0, 13, 2), 45)
  producers.commit(1, 0, mark(10, 3, 0))
  assert.equal(producers.check(1, 0, 13, 2), 0, 'it was not lost')
})

test('sequences wrap from 2^31 − 1 to 0, also within a batch', () => {
  const producers = new Producers(0)
  producers.commit(1, 0, mark(2 ** 31 - 2, 3, 0))
  assert.equal(typeof producers.check(1, 0, 2 ** 31 - 2, 3), 'object')
  assert.equal(producers.check(1, 0, 1, 1), 0)
  assert.equal(producers.check(1, 0, 0, 1), 45)
})

test('the producer that has not written for longest is forgotten first', () => {
  const producers = new Producers(0)
  for (let id = 0; id < PRODUCERS_MAX; id++) producers.commit(id, 3, mark(0, 1, id))
  producers.commit(0, 3, mark(1, 1, PRODUCERS_MAX))
  producers.commit(PRODUCERS_MAX, 3, mark(0, 1, PRODUCERS_MAX + 1))
  assert.equal(producers.size, PRODUCERS_MAX)
  assert.equal(producers.check(0, 0, 0, 1), 47)
  const bytes = Buffer.alloc(producers.snapshotBytes)
  producers.write(bytes, 0)
  const successor = new Producers(0)
  successor.read(bytes, 0)
  for (const each of [producers, successor]) {
    assert.equal(each.check(1, 0, 77, 1), 0, 'the forgotten one goes on')
    assert.equal(each.check(PRODUCERS_MAX + 1, 0, 77, 1), 45, 'nobody with this id can have been forgotten')
  }
})
