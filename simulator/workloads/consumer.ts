/**
 * A consumer that reads every partition from its start to wherever the log has come, and tells what it saw. Now and then it
 * goes back to the start, so that old records are read from the disk as well as new ones from memory.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Clock } from '../../src/platform/index.ts'
import { forEachRecord, splitBatches } from '../../src/records/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import { nodeAt } from '../node-settings.ts'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import { Probes } from './probes.ts'
import { RecordTimes } from './record-times.ts'

export interface ConsumerOptions {
  readonly name: string
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
  readonly fetchBytes: number
  /** In 1000 fetches, how many start again from offset 0. */
  readonly rewindPermille: number
  /** In 1000 fetches, how many give way to another question (probes.ts). */
  readonly probePermille?: number
}

export interface ConsumerCollaborators {
  readonly client: KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
}

interface Cursor {
  readonly topic: string
  readonly partition: number
  position: number
  highWatermark: number
  /** How often it started from 0. */
  rounds: number
  readonly times: RecordTimes
}

const FETCH_VERSION = 11
const WAIT_MS = 500
const REQUEST_TIMEOUT_MS = 4000
const BACKOFF_MS = 100

export class Consumer {
  readonly #options: ConsumerOptions
  readonly #with: ConsumerCollaborators
  readonly #cursors: Cursor[]
  /** Until the last reading. */
  #rewinds = true
  #fetchBytes: number
  readonly probes: Probes

  constructor(options: ConsumerOptions, collaborators: ConsumerCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#fetchBytes = options.fetchBytes
    this.probes = new Probes(options.name, collaborators)
    this.#cursors = options.topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({
        topic: name,
        partition,
        position: 0,
        highWatermark: -1,
        rounds: 0,
        times: new RecordTimes(),
      })),
    )
  }

  start(): void {
    for (const cursor of this.#cursors) this.#fetch(cursor)
  }

  /** The last reading: everything once more from the start, in large pieces and without turning round. */
  readAllOnceMore(): void {
    this.#rewinds = false
    this.#fetchBytes = 1 << 20
    for (const cursor of this.#cursors) {
      cursor.rounds++
      cursor.position = 0
      cursor.highWatermark = -1
    }
  }

  /** Everything has been read up to the mark that was last heard of. */
  get caughtUp(): boolean {
    return this.#cursors.every(({ position, highWatermark }) => highWatermark >= 0 && position >= highWatermark)
  }

  /** Where a partition was read up to. */
  positionOf(topic: string, partition: number): number {
    return this.#cursors.find((cursor) => cursor.topic === topic && cursor.partition === partition)?.position ?? 0
  }

  #fetch(cursor: Cursor): void {
    const { client, clock, prng } = this.#with
    const leader = client.leaderOf(cursor.topic, cursor.partition)
    if (leader === null) return this.#ask(cursor)
    if (this.#rewinds && prng.below(1000) < this.#options.rewindPermille) {
      cursor.position = 0
      cursor.rounds++
    }
    const { probePermille = 0 } = this.#options
    if (this.#rewinds && probePermille > 0 && prng.below(1000) < probePermille)
      return this.probes.ask(cursor, leader, () => this.#fetch(cursor))
    const { topic, partition, position, rounds } = cursor
    const askedAtMs = clock.now()
    const partitions = [{ partition, fetchOffset: position, partitionMaxBytes: this.#fetchBytes }]
    const request = {
      maxWaitMs: WAIT_MS,
      minBytes: 1,
      maxBytes: this.#fetchBytes,
      topics: [{ topic, partitions }],
      forgottenTopicsData: [],
    }
    client.request(
      leader,
      apis.fetch,
      FETCH_VERSION,
      request,
      REQUEST_TIMEOUT_MS,
      (failure, answer) => {
        const result = answer?.responses[0]?.partitions[0]
        if (failure !== null || result === undefined) return this.#ask(cursor)
        if (result.errorCode !== KafkaError.NONE) {
          if (KAFKA_ERRORS.get(result.errorCode)?.retriable !== true) {
            const what = `${this.#options.name} at ${topic}/${partition} offset ${position}: ${kafkaErrorName(result.errorCode)}`
            this.#with.violated(new Violation('consumers are served', what))
          }
          return this.#ask(cursor)
        }
        const records = recordsFrom(result.records, position, cursor.times)
        if (records.length === 0 && position < result.highWatermark) {
          const what = `${this.#options.name} asked ${topic}/${partition} for offset ${position} and got nothing, below the mark ${result.highWatermark}`
          this.#with.violated(new Violation('consumers are served', what))
        }
        this.#with.emit({
          type: 'fetched',
          client: this.#options.name,
          by: nodeAt(leader),
          topic,
          partition,
          askedAtMs,
          position,
          highWatermark: result.highWatermark,
          records,
        })
        // Meanwhile the reading may have begun anew.
        if (cursor.rounds === rounds) {
          cursor.position = position + records.length
          cursor.highWatermark = result.highWatermark
        }
        this.#fetch(cursor)
      },
      `${topic}/${partition}`,
    )
  }

  #ask(cursor: Cursor): void {
    this.#with.clock.after(BACKOFF_MS, () => {
      const topics = this.#options.topics.map(({ name }) => name)
      this.#with.client.refresh(topics, () => this.#fetch(cursor))
    })
  }
}

/** What was asked for: the first batch may begin before `position`. */
export function recordsFrom(
  bytes: Buffer | null | readonly Buffer[],
  position: number,
  times: RecordTimes | null = null,
): { offset: number; value: string }[] {
  const records: { offset: number; value: string }[] = []
  const whole = bytes === null ? Buffer.alloc(0) : Buffer.isBuffer(bytes) ? bytes : Buffer.concat(bytes)
  const batches = splitBatches(whole)
  if (batches === null)
    throw new Violation('consumers are served', `a fetch at ${position} was answered with bytes that are no batches`)
  for (const batch of batches) {
    forEachRecord(batch, 0, ({ offset, timestamp, value }) => {
      if (offset < position) return
      times?.learn(offset, timestamp)
      records.push({ offset, value: value?.toString() ?? '' })
    })
  }
  return records
}
