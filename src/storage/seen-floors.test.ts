import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Prng } from '../stdx/index.ts'
import { SeenFloors } from './seen-floors.ts'

test('seen floors: the highest that has been shown for the grace, or a lower one, never a higher', () => {
  const prng = new Prng('floors')
  for (let round = 0; round < 100; round++) {
    const seen = new SeenFloors()
    const twin: { offset: number; sinceMs: number }[] = []
    let [offset, nowMs] = [0, 0]
    for (let i = prng.below(60); i >= 0; i--) {
      offset += prng.below(10)
      nowMs += prng.below(100)
      seen.note(offset, nowMs)
      twin.push({ offset, sinceMs: nowMs })
      const graceMs = prng.below(500)
      const shown = Math.max(0, ...twin.filter(({ sinceMs }) => nowMs - sinceMs >= graceMs).map((each) => each.offset))
      const told = seen.shownFor(graceMs, nowMs)
      assert.ok(twin.length > 32 ? told <= shown : told === shown, `${told} of ${shown}`)
    }
    assert.equal(seen.shownFor(0, nowMs), offset)
    seen.forget()
    assert.equal(seen.shownFor(0, nowMs), 0)
  }
})

test('seen floors: however often the log is cleaned, what was shown for the grace goes on rising, a little late', () => {
  for (const everyMs of [1, 7, 90]) {
    const seen = new SeenFloors()
    const graceMs = 1000
    for (let nowMs = 0; nowMs < 20_000; nowMs += everyMs) {
      seen.note(nowMs, nowMs)
      const shown = seen.shownFor(graceMs, nowMs)
      assert.ok(shown <= Math.max(0, nowMs - graceMs), `${shown} at ${nowMs}`)
      assert.ok(shown >= nowMs - 1.3 * graceMs - everyMs, `${shown} at ${nowMs}, cleaned every ${everyMs}`)
    }
  }
})
