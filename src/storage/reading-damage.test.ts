/** What can be read of a log that is damaged: everything but what is damaged, and its numbers. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { chain, World } from './harness.test.ts'
import { damagesIn, fileOf, flip, scrub, writeClosed } from './repair-harness.test.ts'
import { damaged } from './segment.ts'
import type { SegmentFacts } from './segment-facts.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

const LOG = chain(16, 60, 1000)
const path = (firstIndex: number): string => fileOf(16, firstIndex)

/** A log of many files, closed; the first index of each. */
function closed(): { readonly world: World; readonly firsts: readonly number[] } {
  const world = new World()
  return { world, firsts: writeClosed(world, 16, LOG) }
}

function open(world: World): { readonly storage: Storage; readonly log: ShardLog } {
  const storage = world.open()
  return { storage, log: storage.openShardLog(16) }
}

/** Indexes that cannot be read by their offset, each in a node that has just been started. */
function unreadable(world: World): number[] {
  const failed: number[] = []
  for (const entry of LOG) {
    const { storage, log } = open(world)
    log.readFromOffset(entry.firstOffset, 1, (error, entries) => {
      if (error !== null) failed.push(entry.index)
      else assert.equal(entries[0]!.index, entry.index)
    })
    world.clock.settle()
    world.close(storage)
  }
  return failed
}

function factsOf(world: World, log: ShardLog): readonly SegmentFacts[] {
  let facts: readonly SegmentFacts[] | null = null
  log.segments((error, segments) => {
    assert.equal(error, null)
    facts = segments
  })
  world.clock.settle()
  return facts!
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('damage: a file whose header is bad hides nothing of any file, wherever it lies', () => {
  for (const at of closed().firsts.keys()) {
    const { world, firsts } = closed()
    flip(world, path(firsts[at]!), 30)
    assert.deepEqual(unreadable(world), [], `file ${at}`)
  }
})

test('damage: a file that is missing hides its own entries alone', () => {
  const { world, firsts } = closed()
  const at = firsts.length >>> 1
  world.disk.platter.remove(path(firsts[at]!))
  assert.deepEqual(unreadable(world), range(firsts[at]!, firsts[at + 1]!))
})

test('damage: what the numbers of a file are nobody can tell, and of all others they are known', () => {
  const { world, firsts } = closed()
  const whole = factsOf(world, open(world).log)
  const at = firsts.length >>> 1
  const { world: damaged } = closed()
  flip(damaged, path(firsts[at]!), 30)
  const { storage, log } = open(damaged)
  const facts = factsOf(damaged, log)
  assert.deepEqual(damagesIn(storage), [path(firsts[at]!)], 'it is told, so that it is repaired')
  const [before, lost] = [whole[at - 1]!, whole[at]!]
  const together = { ...before, bytes: before.bytes + lost.bytes, maxTimestamp: Number.POSITIVE_INFINITY }
  assert.deepEqual(facts, [...whole.slice(0, at - 1), together, ...whole.slice(at + 1)])
  assert.equal(
    log.storedBytes,
    whole.reduce((sum, { bytes }) => sum + bytes, 0),
  )
})

test('damage: a file that was misread once has its numbers again when it was scrubbed', () => {
  const { world, firsts } = closed()
  const lost = path(firsts[2]!)
  const { storage, log } = open(world)
  world.disk.fault = (operation, file) => (operation === 'read' && file === lost ? 'EIO' : null)
  assert.equal(factsOf(world, log).length, firsts.length - 1)
  world.disk.fault = () => null
  scrub(world, storage)
  assert.deepEqual([damagesIn(storage), factsOf(world, log).length], [[], firsts.length])
})

test('damage: a hole that was seen once behind a sealed file is none when the scrubber has seen its end', () => {
  const { world, firsts } = closed()
  const { storage, log } = open(world)
  const segment = log.files.segments[2]!
  log.repairs.note(damaged(segment, world.read(segment.path).length, 'it ends too early'))
  assert.deepEqual(damagesIn(storage), [path(firsts[2]!)])
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [])
})

test('damage: behind where the scrubber began is none that it can call mended', () => {
  const world = new World()
  const storage = world.open({ shardSegmentBytes: 8 << 20 })
  const log = storage.openShardLog(16)
  const long = chain(16, 3000, 1000)
  const put = (from: number, to: number): void => {
    for (const entry of long.slice(from, to)) log.append(entry)
    log.flush()
    world.clock.settle()
  }
  const step = (): boolean => {
    let over = false
    storage.caretaker.scrubber.step((_bytes, passDone) => {
      over = passDone
    })
    world.clock.settle()
    return over
  }
  put(0, 2500)
  // The small files, then the first MiB of the file in use.
  for (let steps = 0; steps < 2; steps++) step()
  put(2500, 3000)
  flip(world, path(1), world.read(path(1)).length - 300)
  log.readFromIndex(3000, 1, (error) => assert.match(String(error?.message), /damaged/))
  world.clock.settle()
  while (!step());
  assert.deepEqual(damagesIn(storage), [path(1)])
})
