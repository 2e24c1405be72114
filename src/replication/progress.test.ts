import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../stdx/index.ts'
import { Inflight, Progress } from './progress.ts'

test('progress: a probe that is answered turns into a pipeline, a new session turns it back', () => {
  const progress = new Progress(2, 11)
  progress.received = 7
  progress.becomeReplicate()
  assert.deepEqual([progress.state, progress.next], ['replicate', 8])
  progress.sent(9, 100)
  assert.deepEqual([progress.next, progress.inflight.bytes], [10, 100])
  progress.becomeProbe(8)
  assert.deepEqual([progress.state, progress.next, progress.inflight.bytes], ['probe', 8, 0])
})

test('progress: what it acknowledges beyond what was sent since the last probe is not sent again', () => {
  const progress = new Progress(2, 8)
  progress.received = 7
  progress.becomeReplicate()
  progress.sent(8, 100)
  progress.sent(9, 100)
  progress.becomeProbe(8)
  // The answer to 8 ends the probe, and 9 is out from before it.
  progress.received = 8
  progress.becomeReplicate()
  progress.acknowledged(9)
  assert.deepEqual([progress.received, progress.next, progress.inflight.count], [9, 10, 0])
  progress.sent(10, 100)
  progress.acknowledged(9)
  assert.deepEqual([progress.received, progress.next, progress.inflight.count], [9, 11, 1])
})

test('progress: what is in flight equals a plain list of it', () => {
  const random = new Prng('inflight')
  const inflight = new Inflight()
  let twin: { last: number; bytes: number }[] = []
  let last = 0
  for (let step = 0; step < 5000; step++) {
    if (random.below(5) < 3) {
      last += 1 + random.below(3)
      const bytes = random.below(1000)
      inflight.add(last, bytes)
      twin.push({ last, bytes })
    } else {
      const index = last - random.below(60)
      inflight.freeUpTo(index)
      twin = twin.filter((one) => one.last > index)
    }
    assert.equal(inflight.count, twin.length)
    assert.equal(
      inflight.bytes,
      twin.reduce((sum, one) => sum + one.bytes, 0),
    )
  }
})
