/** Fetch over partitions of which one answers from disk: whether what arrives during the look is seen. */
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Clock } from '../../../platform/index.ts'
import { encodeBatch } from '../../../records/index.ts'
import {
  type AdvanceListener,
  type FetchResult,
  FetchWaits,
  KafkaError,
  type KafkaErrorCode,
} from '../../../streams/index.ts'
import type { HandlerContext } from './context.ts'
import { fetch } from './fetch.ts'

const BATCH = encodeBatch([{ key: null, value: Buffer.alloc(130) }], { timestamp: 5 })

/** Time stands still, and turns end when the test says so. */
class StillClock implements Clock {
  readonly #endOfTurn: (() => void)[] = []

  now(): number {
    return 0
  }

  wall(): number {
    return 0
  }

  after() {
    return { cancel() {} }
  }

  every() {
    return { cancel() {} }
  }

  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback)
  }

  turn(): void {
    for (const callback of this.#endOfTurn.splice(0)) callback()
  }
}

/** Answers with everything that has arrived; from disk, when it is told to. */
class SomePartition {
  readonly restoring = false
  readonly onDisk: boolean
  readonly listeners = new Set<AdvanceListener>()
  error: KafkaErrorCode = KafkaError.NONE
  #slices: Buffer[] = []
  #reads: (() => void)[] = []

  constructor(onDisk: boolean) {
    this.onDisk = onDisk
  }

  read(_offset: number, _max: number, _one: boolean, _epoch: number, done: (result: FetchResult) => void) {
    const slices = [...this.#slices]
    const bytes = slices.length * BATCH.length
    const result = { error: this.error, highWatermark: 0, logStartOffset: 0, lastStableOffset: 0, slices, bytes }
    if (!this.onDisk) return result
    this.#reads.push(() => done(result))
    return null
  }

  arrive(batches: number): void {
    for (let i = 0; i < batches; i++) this.#slices.push(BATCH)
    for (const listener of this.listeners) listener.advanced(batches * BATCH.length)
  }

  depose(): void {
    this.error = KafkaError.NOT_LEADER_OR_FOLLOWER
    for (const listener of this.listeners) listener.advanced(Number.POSITIVE_INFINITY)
  }

  diskAnswers(): void {
    for (const answer of this.#reads.splice(0)) answer()
  }

  listen(listener: AdvanceListener): void {
    this.listeners.add(listener)
  }

  unlisten(listener: AdvanceListener): void {
    this.listeners.delete(listener)
  }
}

interface Answered {
  readonly responses: readonly { readonly partitions: readonly { errorCode: number; records: readonly Buffer[] }[] }[]
}

/** Of ten batches, from a partition in memory and one behind it that answers from disk. */
class Fetching {
  readonly memory = new SomePartition(false)
  readonly disk = new SomePartition(true)
  readonly clock = new StillClock()
  readonly waits = new FetchWaits(this.clock)
  readonly exchange = {
    apiVersion: 11,
    isOpen: true,
    onAbandon: null as (() => void) | null,
    respond: (answer: Answered) => {
      this.exchange.isOpen = false
      this.answer = answer
    },
  }
  answer: Answered | null = null

  constructor() {
    const all = [this.memory, this.disk]
    const context = {
      clock: this.clock,
      chance: () => false,
      trace: () => {},
      streams: { find: (_: string, index: number) => all[index], waits: this.waits },
      cluster: { topic: () => ({ name: 'tides', partitions: all }), nodes: () => [], leaderOf: () => null },
    }
    const partitions = all.map((_, partition) => ({
      partition,
      fetchOffset: 0,
      currentLeaderEpoch: -1,
      partitionMaxBytes: 1 << 20,
    }))
    const limits = { minBytes: 10 * BATCH.length, maxBytes: 1 << 20, maxWaitMs: 60_000 }
    const topics = [{ topic: 'tides', partitions }]
    const request = { ...limits, sessionEpoch: -1, replicaId: -1, isolationLevel: 0, topics }
    fetch(context as unknown as HandlerContext, this.exchange as never, request as never)
  }

  /** Batches of each partition. */
  get batches(): number[] {
    return this.answer!.responses[0]!.partitions.map(({ records }) => records.length)
  }
}

test('what arrives in a partition while a later one is read from disk is answered at once', () => {
  const fetching = new Fetching()
  fetching.memory.arrive(10)
  fetching.disk.diskAnswers()
  assert.equal(fetching.waits.parked, 0)
  fetching.disk.diskAnswers()
  assert.deepEqual(fetching.batches, [10, 0])
})

test('a disk that answers each look later is not asked again before enough has come', () => {
  const fetching = new Fetching()
  const { memory, disk, waits, clock } = fetching
  memory.arrive(3)
  disk.diskAnswers()
  assert.deepEqual([waits.parked, fetching.answer], [1, null])
  memory.arrive(6)
  clock.turn()
  disk.diskAnswers()
  assert.equal(waits.parked, 1)
  memory.arrive(1)
  clock.turn()
  assert.equal(waits.parked, 0)
  disk.diskAnswers()
  assert.deepEqual(fetching.batches, [10, 0])
})

test('a leadership that ends while a later partition is read from disk is answered at once', () => {
  const fetching = new Fetching()
  fetching.memory.depose()
  fetching.disk.diskAnswers()
  fetching.disk.diskAnswers()
  const [first] = fetching.answer!.responses[0]!.partitions
  assert.equal(first!.errorCode, KafkaError.NOT_LEADER_OR_FOLLOWER)
})

test('a client that goes away while the disk is read leaves nobody who listens', () => {
  const { memory, disk, waits, exchange } = new Fetching()
  assert.equal(memory.listeners.size, 1)
  exchange.isOpen = false
  exchange.onAbandon!()
  assert.equal(memory.listeners.size, 0)
  disk.diskAnswers()
  assert.deepEqual([waits.parked, memory.listeners.size], [0, 0])
})
