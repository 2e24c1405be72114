import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TimeIndex } from './time-index.ts'

const MIB = 1 << 20

function bytesOf(times: TimeIndex): Buffer {
  const bytes = Buffer.alloc(times.snapshotBytes)
  assert.equal(times.write(bytes, 0), bytes.length)
  return bytes
}

function copyOf(times: TimeIndex): TimeIndex {
  const copy = new TimeIndex()
  const bytes = bytesOf(times)
  assert.equal(copy.read(bytes, 0), bytes.length)
  return copy
}

/** As versions before 5 of the snapshot hold it. */
function runningMaxima(points: readonly [number, number][], maximum: number, spacing = 256 << 10, since = 0): Buffer {
  const bytes = Buffer.alloc(36 + 16 * points.length)
  for (const [i, value] of [spacing, since, maximum, points.at(-1)?.[0] ?? 0].entries())
    bytes.writeDoubleLE(value, 8 * i)
  bytes.writeUInt32LE(points.length, 32)
  for (const [i, [offset, before]] of points.entries()) {
    bytes.writeDoubleLE(offset, 36 + 16 * i)
    bytes.writeDoubleLE(before, 44 + 16 * i)
  }
  return bytes
}

function fromRunningMaxima(bytes: Buffer): TimeIndex {
  const times = new TimeIndex()
  assert.equal(times.readRunningMaxima(bytes, 0), bytes.length)
  return times
}

test('time index: whatever was appended and cut, a reading of all records finds none before the place it names', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ time: fc.nat(60), bytes: fc.integer({ min: 1, max: 4 * MIB }) }) },
    { weight: 1, arbitrary: fc.record({ cut: fc.nat(100) }) },
    { weight: 1, arbitrary: fc.constant('snapshot' as const) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      let times = new TimeIndex()
      const twin = new TimeIndex()
      const log: number[] = []
      let start = 0
      for (const [i, each] of steps.entries()) {
        if (each === 'snapshot') times = copyOf(times)
        else if ('cut' in each) {
          start = Math.max(start, Math.floor((log.length * each.cut) / 100))
          for (const one of [times, twin]) one.cut(i + 1, start, log.length)
        } else {
          const offset = log.push(each.time) - 1
          for (const one of [times, twin]) one.add(offset, each.time, each.bytes)
        }
      }
      assert.deepEqual(bytesOf(times), bytesOf(twin))
      for (let time = 0; time <= 61; time += 7) {
        for (let from = start; from < log.length; from += 1 + (log.length >> 3)) {
          const first = log.findIndex((one, at) => at >= from && one >= time)
          const place = times.nextFrom(time, from)
          assert.ok(first < 0 || (place >= from && place <= first), `${time} from ${from}: ${place}, is at ${first}`)
        }
      }
      for (const { from, to, maximum } of times.spans())
        assert.equal(Math.max(...log.slice(from, to)), maximum, `${from} to ${to}`)
      assert.ok(times.spans().length === 0 ? start === log.length : times.spans().at(-1)!.to > log.length)
    }),
  )
})

test('time index: a record from the future costs the lookups beside it nothing, and is forgotten when it is cut', () => {
  const times = new TimeIndex()
  for (let i = 0; i < 1000; i++) times.add(i, i === 100 ? 1e15 : i, MIB)
  const place = times.nextFrom(900, 200)
  assert.ok(place > 880 && place <= 900, `${place}`)
  assert.ok(times.nextFrom(1001, 0) <= 100)
  assert.equal(times.nextFrom(1001, 200), -1)
  times.cut(7, 200, 1000)
  assert.equal(times.nextFrom(1001, 0), -1)
  assert.equal(Math.max(...times.spans().map(({ maximum }) => maximum)), 999)
})

test('time index: a log through which much has gone is divided as finely as what is left of it deserves', () => {
  const times = new TimeIndex()
  const kept = 10_000
  let end = 0
  for (; end < 2_000_000; end++) {
    times.add(end, end, MIB)
    if (end % 1000 === 0 && end > kept) times.cut(end, end - kept, end + 1)
  }
  let worst = 0
  for (let time = end - kept; time < end; time += 7) worst = Math.max(worst, time - times.nextFrom(time, end - kept))
  assert.ok(worst <= kept / 32, `${worst} MiB of ${kept} are read in vain`)
  assert.ok(times.spans().length <= 512)
  // And less is kept from now on.
  for (const until = end + 400; end < until; end++) times.add(end, end, MIB)
  times.cut(end, end - 100, end)
  for (const until = end + 200; end < until; end++) times.add(end, end, MIB)
  times.cut(end, end - 100, end)
  assert.ok(times.nextFrom(end - 50, 0) >= end - 60, `${times.nextFrom(end - 50, 0)} of ${end}`)
})

test('time index: a log that was cut to its end has no times', () => {
  const times = new TimeIndex()
  for (let i = 0; i < 10; i++) times.add(i, 50, MIB)
  times.cut(3, 10, 10)
  assert.deepEqual([times.nextFrom(1, 0), times.spans()], [-1, []])
  times.add(10, 7, 1)
  assert.equal(times.nextFrom(7, 0), 10)
})

test('time index: a cut that was seen already changes nothing', () => {
  const times = new TimeIndex()
  for (let i = 0; i < 100; i++) times.add(i, i, MIB)
  times.cut(40, 10, 60)
  times.cut(90, 50, 100)
  const before = bytesOf(times)
  times.cut(40, 10, 60)
  times.cut(90, 50, 100)
  assert.deepEqual(bytesOf(times), before)
})

test('time index: running maxima of earlier versions become spans, exactly', () => {
  // 5 9 7 8 │ 10 3 │ 12 4
  const times = fromRunningMaxima(
    runningMaxima(
      [
        [4, 9],
        [6, 10],
      ],
      12,
    ),
  )
  assert.deepEqual(times.spans(), [
    { from: 0, to: 4, maximum: 9 },
    { from: 4, to: 6, maximum: 10 },
    { from: 6, to: Number.POSITIVE_INFINITY, maximum: 12 },
  ])
  assert.deepEqual(
    [5, 10, 11, 13].map((time) => times.nextFrom(time, 0)),
    [0, 4, 6, -1],
  )
  const empty = runningMaxima([], Number.NEGATIVE_INFINITY)
  assert.deepEqual(fromRunningMaxima(empty).spans(), [])
})

test('time index: replicas that came from an earlier version at different entries agree again as the log is cut', () => {
  const full: [number, number][] = Array.from({ length: 512 }, (_, i) => [10 * (i + 1), 10 * (i + 1) - 1])
  const earlier = fromRunningMaxima(runningMaxima(full.slice(0, 300), 3005, 256 << 10, 5 * MIB))
  for (let i = 3006; i < 5127; i++) earlier.add(i, i, 30_000)
  const later = fromRunningMaxima(runningMaxima(full, 5126, 256 << 10, 100_000))
  const never = new TimeIndex()
  for (let i = 0; i < 5127; i++) never.add(i, i, 30_000)
  const all = [earlier, later, never]
  const differ = (): boolean => all.some((one) => !bytesOf(one).equals(bytesOf(earlier)))
  assert.ok(differ())
  // A while later what is new is divided alike,
  for (let end = 5127; end < 8500; end++) for (const times of all) times.add(end, end, 30_000)
  const latest = all.map((times) => times.spans().slice(-20))
  assert.deepEqual(latest[1], latest[0])
  assert.deepEqual(latest[2], latest[0])
  assert.ok(differ())
  // and what is old goes.
  for (const times of all) times.cut(77, 7900, 8500)
  assert.ok(!differ())
})
