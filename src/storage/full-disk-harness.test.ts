/**
 * What the tests of full disks share: a scripted workload that comes by every file of the storage (journal, shard logs, indexes,
 * checkpoints, a removal, a snapshot, a cut, the identity), and the question whether all that it was told is there.
 */
import { strict as assert } from 'node:assert'
import { PlatformError } from '../platform/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, type World } from './harness.test.ts'
import type { Storage } from './storage.ts'

export const STEPS = 36
export const [KEPT, REMOVED, INSTALLED] = [16, 17, 18]
export const LOGS = new Map([KEPT, REMOVED, INSTALLED].map((shard) => [shard, chain(shard, STEPS + 12, 700)]))
const SNAPSHOT_INDEX = 9
const CUT_INDEX = 13
export const REMOVED_AT = 15
const INSTALLED_AT = 20
const CUT_AT = 24
const NAMED_AT = 26
export const SIZES = { journalSegmentBytes: 16 << 10, shardSegmentBytes: 4 << 10, shardLogFlushBytes: 2 << 10 }

export class Driver {
  readonly storage: Storage
  readonly acknowledged = new Map<number, number>()
  readonly #given = new Map<number, number>()
  readonly #applied = new Map<number, number>([[KEPT, 0]])
  #start = 1

  constructor(storage: Storage) {
    this.storage = storage
    storage.setCheckpointSource({
      activeShards: () => this.#applied.keys(),
      capture: (shard) => this.#capture(shard),
      tail: (shard) => LOGS.get(shard)!.slice(this.#applied.get(shard)),
    })
  }

  /** On a disk that is low no records are taken: only what must always be written. */
  step(step: number, low = false): void {
    const entries: Entry[] = []
    const shards = [KEPT, ...(step < REMOVED_AT ? [REMOVED] : []), ...(step > INSTALLED_AT ? [INSTALLED] : [])]
    for (const shard of low ? [] : shards) {
      if (shard === INSTALLED && !this.#applied.has(shard)) continue
      entries.push(LOGS.get(shard)![this.#given.get(shard) ?? 0]!)
      this.#given.set(shard, entries.at(-1)!.index)
    }
    this.storage.append([encodeHardState(KEPT, step + 1, 1), ...entries], () => {
      for (const entry of entries) {
        this.acknowledged.set(entry.shard, entry.index)
        if (entry.shard === REMOVED && step >= REMOVED_AT) continue
        this.#applied.set(entry.shard, entry.index)
        this.storage.openShardLog(entry.shard).append(entry)
      }
    })
  }

  #capture(shard: number): ShardCheckpoint {
    const state = checkpointAt(shard, LOGS.get(shard)!, this.#applied.get(shard) ?? 0)
    if (shard !== KEPT) return state
    return { ...state, startIndex: this.#start, startOffset: LOGS.get(KEPT)![this.#start - 1]!.firstOffset }
  }

  special(step: number): void {
    const { storage } = this
    if (step % 7 === 6) storage.checkpoint()
    if (step === REMOVED_AT) {
      this.#applied.delete(REMOVED)
      storage.removeShard(REMOVED, KEPT)
    }
    if (step === INSTALLED_AT) {
      storage.installSnapshot(checkpointAt(INSTALLED, LOGS.get(INSTALLED)!, SNAPSHOT_INDEX), (error) => {
        assert.equal(error, null)
        this.#applied.set(INSTALLED, SNAPSHOT_INDEX)
        this.#given.set(INSTALLED, SNAPSHOT_INDEX)
        this.acknowledged.set(INSTALLED, SNAPSHOT_INDEX)
      })
    }
    if (step === CUT_AT) this.#start = CUT_INDEX
    if (step === NAMED_AT)
      storage.setClusterId('c', (error) => assert.ok(error === null || isExcused(error), `${error}`))
  }
}

const isFull = (error: unknown): boolean => error instanceof PlatformError && error.code === 'DISK_FULL'

/** What a start may say, or a storage that ends: that there is no room, or, having found that out too late, that a sync failed. */
export function isExcused(error: Error, manner?: string): boolean {
  const cause = error instanceof StorageError ? error.cause : error
  const atSync = cause instanceof PlatformError && cause.code === 'DISK_FAILED'
  return manner === 'at-sync' ? atSync : isFull(error) || isJournalFull(error) || (manner === undefined && atSync)
}

function isJournalFull(error: Error): boolean {
  return error instanceof StorageError && error.code === 'JOURNAL_FAILED' && isFull(error.cause)
}

/** Everything acknowledged is found again, byte for byte. */
export function verify(world: World, acknowledged: ReadonlyMap<number, number>, where: string): void {
  const storage = world.open(SIZES)
  for (const [shard, index] of acknowledged) {
    const found = storage.recovered.get(shard)
    if (shard === REMOVED && found === undefined) continue
    assert.ok(found !== undefined, `${where}: shard ${shard} is gone`)
    const start = found.checkpoint?.startIndex ?? 1
    const applied = found.checkpoint?.index ?? 0
    const logged: Entry[] = []
    for (let next = start; next <= applied; next = logged.at(-1)!.index + 1)
      logged.push(...world.await<Entry[]>((done) => storage.openShardLog(shard).readFromIndex(next, 1 << 20, done)))
    const whole = [...logged.filter((entry) => entry.index <= applied), ...found.entries]
    const expected = LOGS.get(shard)!.slice(start - 1, Math.max(index, whole.at(-1)?.index ?? 0))
    assert.deepEqual(
      whole.map(({ crc }) => crc),
      expected.map(({ crc }) => crc),
      `${where}: shard ${shard} up to ${index}`,
    )
  }
  world.close(storage)
}
