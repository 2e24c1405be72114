/** What every clock does. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock, Timer } from '../clock.ts'
import type { Drive } from './drive.ts'

export function clockContract(name: string, open: () => { clock: Clock; drive: Drive }): void {
  test(`${name}: now never goes back, wall is whole milliseconds`, async () => {
    const { clock, drive } = open()
    let last = clock.now()
    for (let i = 0; i < 5; i++) {
      await drive.elapse(1)
      assert.ok(clock.now() >= last)
      last = clock.now()
    }
    assert.ok(Number.isInteger(clock.wall()))
    assert.ok(clock.wall() > Date.UTC(2020, 0, 1))
  })

  test(`${name}: after fires once, later than the call, not before its delay`, async () => {
    const { clock, drive } = open()
    for (const delayMs of [0, 0.3, 1, 2.7, 10]) {
      const startMs = clock.now()
      const firedMs: number[] = []
      clock.after(delayMs, () => firedMs.push(clock.now()))
      assert.equal(firedMs.length, 0, 'never synchronous')
      await drive.until(() => firedMs.length > 0, `a timer of ${delayMs} ms`)
      await drive.elapse(5)
      assert.equal(firedMs.length, 1)
      // A nanosecond for the subtraction of two floating-point numbers.
      assert.ok(firedMs[0]! - startMs >= delayMs - 1e-6, `${firedMs[0]! - startMs} ms for ${delayMs} ms`)
    }
  })

  test(`${name}: a very long delay does not fire early`, async () => {
    const { clock, drive } = open()
    let fired = false
    const timer = clock.after(2 ** 33, () => {
      fired = true
    })
    await drive.elapse(10)
    assert.equal(fired, false)
    timer.cancel()
  })

  test(`${name}: timers fire in the order of their deadlines`, async () => {
    const { clock, drive } = open()
    const order: number[] = []
    for (const delayMs of [30, 10, 20]) clock.after(delayMs, () => order.push(delayMs))
    await drive.until(() => order.length === 3, 'three timers')
    assert.deepEqual(order, [10, 20, 30])
  })

  test(`${name}: a cancelled timer never fires, and may be cancelled again`, async () => {
    const { clock, drive } = open()
    const fired: string[] = []
    const timer = clock.after(3, () => fired.push('after'))
    const interval = clock.every(3, () => fired.push('every'))
    const inside: Timer = clock.every(2, () => {
      fired.push('inside')
      inside.cancel()
    })
    for (const each of [timer, timer, interval, interval]) each.cancel()
    await drive.elapse(15)
    inside.cancel()
    assert.deepEqual(fired, ['inside'])
  })

  test(`${name}: every repeats, and missed intervals are not made up for`, async () => {
    const { clock, drive } = open()
    let fired = 0
    const timer = clock.every(10, () => fired++)
    await drive.until(() => fired === 2, 'two intervals')
    drive.stall(100)
    const before = fired
    // A turn or two: one late call is due, a burst of ten is not.
    await drive.elapse(1)
    assert.ok(fired <= before + 1, `${fired - before} calls for the missed intervals`)
    timer.cancel()
  })

  test(`${name}: endOfTurn is later than the call, in order, and nests into the next turn`, async () => {
    const { clock, drive } = open()
    const order: string[] = []
    clock.endOfTurn(() => {
      order.push('first')
      clock.endOfTurn(() => order.push('nested'))
    })
    clock.endOfTurn(() => order.push('second'))
    assert.deepEqual(order, [])
    await drive.until(() => order.length === 3, 'the nested callback')
    assert.deepEqual(order, ['first', 'second', 'nested'])
  })

  test(`${name}: a chain of turns does not stop the timers`, async () => {
    const { clock, drive } = open()
    let turning = true
    const turn = (): void => {
      if (turning) clock.endOfTurn(turn)
    }
    turn()
    clock.after(2, () => {
      turning = false
    })
    await drive.until(() => !turning, 'a timer beside busy turns')
  })
}
