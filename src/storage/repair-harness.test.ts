/** What tests and campaigns of repairs share: a caretaker driven by hand, and a peer that has everything. */
import { assert } from '../stdx/index.ts'
import type { Entry } from './entry.ts'
import { checkpointAt, type World } from './harness.test.ts'
import { shardDirectory, shardSegmentFile } from './layout.ts'
import type { SwapOutcome } from './log-repairs.ts'
import type { SegmentRepair } from './segment-repair.ts'
import type { Storage, StorageOptions } from './storage.ts'

/** Of a log of the directory `/data`. */
export const fileOf = (shard: number, firstIndex: number): string =>
  shardSegmentFile(shardDirectory('/data', shard), firstIndex)

/** Writes a directory whose checkpoint covers all of the shard's log, and closes it. Answers the first index of each of its files. */
export function writeClosed(
  world: World,
  shard: number,
  log: readonly Entry[],
  options: Partial<StorageOptions> = {},
): readonly number[] {
  const storage = world.open(options)
  for (const entry of log) {
    storage.append([entry], () => {})
    storage.openShardLog(shard).append(entry)
    world.clock.settle()
  }
  storage.setCheckpointSource({ activeShards: () => [shard], capture: () => checkpointAt(shard, log, log.length) })
  world.close(storage)
  const names = world.list(shardDirectory('/data', shard)).filter((name) => name.endsWith('.log'))
  return names.map((name) => Number.parseInt(name, 10))
}

/** Reads through all files once. */
export function scrub(world: World, storage: Storage): void {
  for (let steps = 0; ; steps++) {
    let over: boolean | null = null
    storage.caretaker.scrubber.step((_bytes, passDone) => {
      over = passDone
    })
    world.clock.settle()
    assert(over !== null && steps < 10_000, 'scrubbing never ends')
    if (over === true) return
  }
}

export function beginRepair(world: World, storage: Storage, shard: number): SegmentRepair | null {
  let begun: SegmentRepair | null | undefined
  storage.caretaker.beginRepair(shard, new Set(), (repair) => {
    begun = repair
  })
  world.clock.settle()
  assert(begun !== undefined, 'a repair neither begins nor does not')
  return begun
}

export function addTo(world: World, repair: SegmentRepair, entries: readonly Entry[]): Error | null {
  let outcome: Error | null | undefined
  repair.add(entries, (error) => {
    outcome = error
  })
  world.clock.settle()
  assert(outcome !== undefined, 'entries are neither taken nor refused')
  return outcome
}

export function complete(world: World, storage: Storage, repair: SegmentRepair): SwapOutcome | Error {
  let outcome: SwapOutcome | Error | undefined
  storage.caretaker.completeRepair(repair, (error, swapped) => {
    outcome = error ?? swapped!
  })
  world.clock.settle()
  assert(outcome !== undefined, 'a repair is never over')
  return outcome
}

/** As a peer would that has all of `log`, a few entries at a time; answers how many ranges were repaired. */
export function repairAll(world: World, storage: Storage, shard: number, log: readonly Entry[]): number {
  let repaired = 0
  for (let repair = beginRepair(world, storage, shard); repair !== null; repair = beginRepair(world, storage, shard)) {
    while (!repair.complete) {
      const from: number = repair.nextIndex
      const refused = addTo(world, repair, log.slice(from - 1, Math.min(from + 3, repair.lastIndex)))
      if (refused !== null) throw refused
    }
    const outcome = complete(world, storage, repair)
    if (outcome !== 'done') throw outcome instanceof Error ? outcome : new Error(`a repair is ${outcome}`)
    assert(++repaired < 100, 'repairs never end')
  }
  return repaired
}

/** Flips one bit beneath everything that runs. */
export function flip(world: World, path: string, at: number, bit = 0): void {
  const { platter } = world.disk
  platter.overwrite(
    path,
    at,
    platter.read(path, at, 1).map((byte) => byte ^ (1 << bit)),
  )
}

export const damagesIn = (storage: Storage): string[] => storage.caretaker.damages.map(({ file }) => file)
