import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionFailed } from '../stdx/index.ts'
import { Persistence } from './persistence.ts'

test('persistence: entries are journaled when the write that carried them completes', () => {
  const persistence = new Persistence(3)
  assert.equal(persistence.journaled, 3)
  const first = persistence.begin(5)
  const second = persistence.begin(9)
  assert.equal(persistence.journaled, 3)
  persistence.completed(first)
  assert.equal(persistence.journaled, 5)
  persistence.completed(second)
  assert.equal(persistence.journaled, 9)
})

test('persistence: a write that was overtaken by a truncation claims nothing from there on (ABA)', () => {
  const persistence = new Persistence(1)
  const a = persistence.begin(2)
  persistence.truncated(2)
  const b = persistence.begin(2)
  persistence.truncated(2)
  const aAgain = persistence.begin(3)
  persistence.completed(a)
  assert.equal(persistence.journaled, 1)
  persistence.completed(b)
  assert.equal(persistence.journaled, 1)
  persistence.completed(aAgain)
  assert.equal(persistence.journaled, 3)
})

test('persistence: what was journaled and is truncated is journaled no more, and is handed out anew', () => {
  const persistence = new Persistence(5)
  persistence.truncated(4)
  assert.deepEqual([persistence.journaled, persistence.handedOut], [3, 3])
  persistence.completed(persistence.begin(4))
  assert.equal(persistence.journaled, 4)
})

test('persistence: a vote is durable when the write that follows it completes, not one that was on its way before', () => {
  const persistence = new Persistence(0)
  const before = persistence.begin(1)
  persistence.hardStateChanged()
  assert.equal(persistence.hardStateDurable, false)
  persistence.completed(before)
  assert.equal(persistence.hardStateDurable, false)
  const write = persistence.begin(1)
  assert.equal(write, persistence.hardStateWrite)
  persistence.completed(write)
  assert.equal(persistence.hardStateDurable, true)
})

test('persistence: completions out of order are our own mistake', () => {
  const persistence = new Persistence(0)
  persistence.begin(1)
  const second = persistence.begin(2)
  persistence.completed(second)
  assert.throws(() => persistence.completed(1), AssertionFailed)
  assert.throws(() => persistence.completed(3), AssertionFailed)
})
