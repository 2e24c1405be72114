import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Clock, DiskSpace, Timer } from '../platform/index.ts'
import { PlatformError } from '../platform/index.ts'
import { DiskWatch, reserveOf } from './disk-watch.ts'
import type { StorageEvent } from './events.ts'

const MIB = 1 << 20
const TOTAL = 100_000 * MIB

/** A watch over a disk and a storage that are what the test says they are. */
class Bench {
  nowMs = 0
  space: DiskSpace | null = { freeBytes: 50_000 * MIB, totalBytes: TOTAL }
  error: PlatformError | null = null
  storage = {
    journalBlockInFlight: 0,
    awaitsRoom: false,
    tries: 0,
    saves: [] as boolean[],
    journalBytes: 0,
    proveJournalEnd() {},
    tryAgain() {
      this.tries++
    },
    saveSpace(save: boolean, journalBytes: number) {
      this.journalBytes = save ? journalBytes : 0
      if ((this.saves.at(-1) ?? false) !== save) this.saves.push(save)
    },
  }
  readonly events: StorageEvent[] = []
  readonly watch: DiskWatch
  readonly #timers: { everyMs: number; dueMs: number; callback: () => void }[] = []

  constructor(options: { reserveBytes?: number; stuckMs?: number } = {}) {
    const clock = {
      now: () => this.nowMs,
      every: (everyMs: number, callback: () => void): Timer => {
        const timer = { everyMs, dueMs: this.nowMs + everyMs, callback }
        this.#timers.push(timer)
        return { cancel: () => void this.#timers.splice(this.#timers.indexOf(timer), 1) }
      },
    } as unknown as Clock
    const disk = {
      space: (_path: string, done: (error: PlatformError | null, space?: DiskSpace | null) => void) =>
        this.error === null ? done(null, this.space) : done(this.error),
    } as never
    const { reserveBytes = 256 * MIB, stuckMs = 700 } = options
    this.watch = new DiskWatch(
      { node: 2, directory: '/data', reserveBytes, stuckMs },
      { clock, disk, storage: this.storage, trace: (event) => this.events.push(event), changed: () => {} },
    )
    this.watch.start()
  }

  /** Timers fire when they are due; after a pause each fires once, late. */
  pass(ms: number): void {
    const end = this.nowMs + ms
    for (;;) {
      const next = this.#timers.reduce((a, b) => (b.dueMs < a.dueMs ? b : a))
      if (next.dueMs > end) break
      this.nowMs = Math.max(this.nowMs, next.dueMs)
      next.dueMs = this.nowMs + next.everyMs
      next.callback()
    }
    this.nowMs = end
  }

  pause(ms: number): void {
    this.nowMs += ms
  }

  free(mib: number): string[] {
    this.space = { freeBytes: mib * MIB, totalBytes: TOTAL }
    this.events.length = 0
    this.pass(1000)
    return this.events.map(({ type }) => type)
  }
}

test('the reserve is 256 MiB or a twentieth of a small disk, and never more than a tenth', () => {
  const of = (configured: number | null, totalMib: number) =>
    reserveOf(configured, { freeBytes: 0, totalBytes: totalMib * MIB }) / MIB
  assert.equal(of(null, 1_000_000), 256)
  assert.equal(of(null, 1000), 50)
  assert.equal(of(10, 1000) * MIB, 10)
  assert.equal(of(500 * MIB, 1000), 100)
  assert.equal(of(0, 1000), 0)
  assert.equal(reserveOf(500, null), 0)
})

test('low below the reserve, ample a quarter above it, and in between as it was', () => {
  const bench = new Bench()
  assert.deepEqual(bench.free(257), [])
  assert.equal(bench.watch.low, null)
  assert.deepEqual(bench.free(180), ['disk-low'])
  assert.equal(
    bench.watch.low,
    "node 2's disk has 180 MiB left, below its reserve of 256 MiB: writes are refused until there is more; reads, deletes and administration go on",
  )
  assert.deepEqual(bench.free(300), [])
  assert.notEqual(bench.watch.low, null)
  assert.deepEqual(bench.free(321), ['disk-ample'])
  assert.equal(bench.watch.low, null)
  assert.deepEqual(bench.free(257), [])
  assert.deepEqual(bench.storage.saves, [true, false])
})

test('work that was refused makes it low at once, whatever is said to be free, until the work is done and two seconds are over', () => {
  const bench = new Bench()
  bench.storage.awaitsRoom = true
  bench.watch.refused()
  assert.match(bench.watch.low ?? '', /takes no more/)
  const tries = bench.storage.tries
  bench.pass(10_000)
  assert.notEqual(bench.watch.low, null)
  assert.ok(bench.storage.tries >= tries + 19)
  bench.storage.awaitsRoom = false
  bench.pass(500)
  assert.equal(bench.watch.low, null)
  bench.watch.refused()
  bench.pass(1900)
  assert.notEqual(bench.watch.low, null)
  bench.pass(700)
  assert.equal(bench.watch.low, null)
})

test('where nobody says how much is free only refusals count; where the question fails the last answer does', () => {
  const bench = new Bench()
  bench.space = null
  bench.pass(1000)
  assert.deepEqual([bench.watch.low, bench.watch.space, bench.watch.reserveBytes], [null, null, 0])
  bench.watch.refused()
  assert.match(bench.watch.low ?? '', /takes no more/)
  bench.free(100)
  bench.error = new PlatformError({ code: 'DISK_FAILED', path: '/data', operation: 'x', errno: 'EIO' }, 'x')
  bench.pass(5000)
  assert.match(bench.watch.low ?? '', /100 MiB/)
})

test('low before anybody has said how large it is: the journal has its share as soon as somebody does', () => {
  const bench = new Bench()
  bench.space = null
  bench.pass(1000)
  bench.storage.awaitsRoom = true
  bench.watch.refused()
  assert.notEqual(bench.watch.low, null)
  bench.free(180)
  assert.equal(bench.storage.journalBytes, 16 * MIB)
})

test('stuck when one block is on its way for too long; many that take a while are only slow', () => {
  const bench = new Bench()
  for (let block = 1; block < 100; block++) {
    bench.storage.journalBlockInFlight = block
    bench.pass(500)
  }
  assert.equal(bench.watch.stuckMs, 0)
  bench.storage.journalBlockInFlight = 100
  bench.pass(700)
  assert.equal(bench.watch.stuckMs, 0)
  bench.pass(200)
  assert.ok(bench.watch.stuckMs >= 700, `${bench.watch.stuckMs}`)
  bench.pass(1000)
  bench.storage.journalBlockInFlight = 0
  bench.pass(100)
  assert.equal(bench.watch.stuckMs, 0)
  assert.deepEqual(
    bench.events.map(({ type }) => type),
    ['disk-stuck', 'disk-answers'],
  )
})

test('a process that slept does not take its own sleep for the disk being stuck', () => {
  const bench = new Bench()
  bench.storage.journalBlockInFlight = 7
  bench.pass(100)
  bench.pause(60_000)
  bench.pass(100)
  assert.equal(bench.watch.stuckMs, 0)
  bench.pass(1000)
  assert.ok(bench.watch.stuckMs > 0)
})

test('nothing is asked or told after the stop', () => {
  const bench = new Bench()
  bench.watch.stop()
  bench.space = { freeBytes: 0, totalBytes: TOTAL }
  bench.watch.refused()
  assert.deepEqual(bench.events, [])
})
