import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionFailed } from '../stdx/index.ts'
import { Metadata, outcomeChange } from './metadata.ts'
import { OUTCOMES_KEPT, type Outcome } from './outcomes.ts'

function outcome(number: number, error: Outcome['error'] = null): Outcome {
  return { number, request: String(number).padStart(32, '0'), place: number % 3, error }
}

function metadataAfter(count: number): Metadata {
  const metadata = new Metadata()
  for (let number = 0; number < count; number++) put(metadata, outcome(number))
  return metadata
}

function put(metadata: Metadata, of: Outcome): void {
  const { key, value } = outcomeChange(of)
  assert.deepEqual(metadata.set(key, value), { type: 'outcome' })
}

test('what is written is what is read', () => {
  const metadata = new Metadata()
  const all = [outcome(0), outcome(1, 'TOPIC_EXISTS')]
  for (const each of all) put(metadata, each)
  for (const each of all) assert.deepEqual(metadata.outcomes.of(each.request, each.place), each)
  assert.equal(metadata.outcomes.of(all[0]!.request, 1), undefined, 'another topic of the request')
  assert.equal(metadata.outcomes.next, 2)
  metadata.clear()
  assert.equal(metadata.outcomes.of(all[0]!.request, 0), undefined)
  assert.equal(metadata.outcomes.next, 0)
})

test('the last ones are kept, and it is known whether one is missing', () => {
  const metadata = metadataAfter(OUTCOMES_KEPT + 5)
  const { outcomes } = metadata
  for (let number = 0; number < OUTCOMES_KEPT + 5; number++) {
    const { request, place } = outcome(number)
    assert.equal(outcomes.of(request, place)?.number, number < 5 ? undefined : number)
  }
  assert.equal(outcomes.forgotSome(4), true)
  assert.equal(outcomes.forgotSome(5), false)
})

test('a snapshot that came in between may bring them in any order', () => {
  const metadata = metadataAfter(OUTCOMES_KEPT)
  for (let number = OUTCOMES_KEPT + 6; number >= OUTCOMES_KEPT; number--) put(metadata, outcome(number))
  const { outcomes } = metadata
  assert.equal(outcomes.next, OUTCOMES_KEPT + 7)
  for (let number = 0; number < OUTCOMES_KEPT + 7; number++) {
    const { request, place } = outcome(number)
    assert.equal(outcomes.of(request, place)?.number, number < 7 ? undefined : number)
  }
})

test('a record in the place of another is refused', () => {
  const { value } = outcomeChange(outcome(1))
  assert.throws(() => new Metadata().set('outcome/2', value), AssertionFailed)
})
