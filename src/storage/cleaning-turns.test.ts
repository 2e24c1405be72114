import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Clock, Timer } from '../platform/index.ts'
import { CleaningTurns } from './cleaning-turns.ts'

/** Time that passes from timer to timer. */
class SteppedClock implements Clock {
  #nowMs = 1000
  readonly #due: { readonly atMs: number; readonly callback: () => void }[] = []

  now(): number {
    return this.#nowMs
  }

  wall(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): Timer {
    this.#due.push({ atMs: this.#nowMs + delayMs, callback })
    return { cancel: () => {} }
  }

  every(): Timer {
    throw new Error('nobody asks for it')
  }

  endOfTurn(callback: () => void): void {
    this.after(0, callback)
  }

  settle(): void {
    while (this.#due.length > 0) {
      this.#due.sort((a, b) => a.atMs - b.atMs)
      const { atMs, callback } = this.#due.shift()!
      this.#nowMs = Math.max(this.#nowMs, atMs)
      callback()
    }
  }
}

test('cleaning turns: one at a time, in order', () => {
  const clock = new SteppedClock()
  const turns = new CleaningTurns(0, clock)
  const started: string[] = []
  const over: (() => void)[] = []
  for (const name of ['a', 'b'])
    turns.take((end) => {
      started.push(name)
      over.push(end)
    })
  clock.settle()
  assert.deepEqual(started, ['a'])
  over.shift()!()
  clock.settle()
  assert.deepEqual(started, ['a', 'b'])
})

test('cleaning turns: the rate holds whatever the work itself costs; time that was not used is lost', () => {
  const clock = new SteppedClock()
  const [bytesPerSecond, chunkBytes, chunks] = [1 << 20, 32 << 10, 64]
  const turns = new CleaningTurns(bytesPerSecond, clock)
  const timed = (workMs: number): number => {
    const from = clock.now()
    let until = from
    let left = chunks
    const next = (): void => {
      until = clock.now()
      if (left-- > 0) clock.after(workMs, () => turns.pause(chunkBytes, next))
    }
    next()
    clock.settle()
    return until - from
  }
  const expectedMs = ((chunkBytes * chunks) / bytesPerSecond) * 1000
  const holds = (workMs: number): boolean => Math.abs(timed(workMs) - expectedMs) < 150
  assert.ok(holds(0))
  clock.after(60_000, () => {})
  clock.settle()
  assert.ok(holds(20))
  assert.equal(timed(100), chunks * 100, 'as fast as the work goes')
})
