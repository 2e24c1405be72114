/**
 * The questions that a reader asks beside reading: where the log begins and ends, where a time is in it, what is beyond its
 * end, what somebody says who does not lead. Each has one right answer, and some refusals that a changing cluster may give.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address } from '../../src/platform/index.ts'
import { must } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import { nodeAt } from '../node-settings.ts'
import { Violation } from '../violation.ts'
import type { ConsumerCollaborators } from './consumer.ts'
import type { RecordTimes } from './record-times.ts'

export interface Probed {
  readonly topic: string
  readonly partition: number
  readonly position: number
  readonly highWatermark: number
  readonly times: RecordTimes
}

const KINDS = ['earliest', 'latest', 'by-time', 'by-time', 'beyond-the-end', 'astray', 'one-byte'] as const
export type ProbeKind = (typeof KINDS)[number]

const LIST_OFFSETS_VERSION = 5
const FETCH_VERSION = 11
const TIMEOUT_MS = 4000
const LATEST = -1
const EARLIEST = -2
const FAR = 1_000_000

export class Probes {
  readonly #name: string
  readonly #with: ConsumerCollaborators
  /** Right answers, by kind. */
  readonly answered = new Map<ProbeKind, number>()

  constructor(name: string, collaborators: ConsumerCollaborators) {
    this.#name = name
    this.#with = collaborators
  }

  /** `done` when it is answered or was in vain. */
  ask(of: Probed, leader: Address, done: () => void): void {
    const { client, prng } = this.#with
    const kind = must(KINDS[prng.below(KINDS.length)], 'a kind of probe')
    switch (kind) {
      case 'earliest':
        return this.#list(kind, of, leader, EARLIEST, done)
      case 'latest':
        return this.#list(kind, of, leader, LATEST, done)
      case 'by-time': {
        const { length } = of.times
        const known = length === 0 ? 0 : of.times.timeAt(prng.below(length))
        return this.#list(kind, of, leader, known + prng.below(3), done)
      }
      case 'beyond-the-end':
        return this.#fetch(kind, of, leader, prng.below(2) === 0 ? FAR + of.position : -FAR, 1 << 20, done)
      case 'astray':
        return this.#fetch(kind, of, client.anyBroker(), of.position, 1 << 20, done)
      case 'one-byte':
        return this.#fetch(kind, of, leader, of.position, 1, done)
    }
  }

  #list(kind: ProbeKind, of: Probed, leader: Address, timestamp: number, done: () => void): void {
    const { client, clock, emit } = this.#with
    const { topic, partition, times } = of
    const askedAtMs = clock.now()
    const known = times.length
    const partitions = [{ partitionIndex: partition, timestamp, currentLeaderEpoch: -1 }]
    const request = { replicaId: -1, isolationLevel: 0, topics: [{ name: topic, partitions }] }
    const lane = `${topic}/${partition}`
    client.request(
      leader,
      apis.listOffsets,
      LIST_OFFSETS_VERSION,
      request,
      TIMEOUT_MS,
      (failure, answer) => {
        const result = answer?.topics[0]?.partitions[0]
        if (failure === null && result !== undefined && !this.#refused(kind, of, result.errorCode)) {
          const { offset, timestamp: found } = result
          if (kind === 'earliest' && offset !== 0)
            this.#wrong(kind, of, `nothing was cut, and the log begins at ${offset}`)
          if (kind === 'latest')
            emit({
              type: 'fetched',
              client: this.#name,
              by: nodeAt(leader),
              topic,
              partition,
              askedAtMs,
              position: offset,
              highWatermark: offset,
              records: [],
            })
          const defect = kind === 'by-time' ? times.defectOf(timestamp, known, offset, found) : null
          if (defect !== null) this.#wrong(kind, of, defect)
          this.#count(kind)
        }
        done()
      },
      lane,
    )
  }

  #fetch(kind: ProbeKind, of: Probed, to: Address, fetchOffset: number, bytes: number, done: () => void): void {
    const { client } = this.#with
    const { topic, partition } = of
    const partitions = [{ partition, fetchOffset, partitionMaxBytes: bytes }]
    const request = {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: bytes,
      topics: [{ topic, partitions }],
      forgottenTopicsData: [],
    }
    client.request(
      to,
      apis.fetch,
      FETCH_VERSION,
      request,
      TIMEOUT_MS,
      (failure, answer) => {
        const result = answer?.responses[0]?.partitions[0]
        if (failure === null && result !== undefined) {
          const { errorCode, highWatermark, records } = result
          const size = sizeOf(records)
          if (errorCode !== KafkaError.NONE && size > 0) this.#wrong(kind, of, `${size} bytes beside an error`)
          if (kind === 'beyond-the-end') {
            if (errorCode === KafkaError.NONE) this.#wrong(kind, of, `offset ${fetchOffset} is served`)
            if (errorCode === KafkaError.OFFSET_OUT_OF_RANGE) this.#count(kind)
            else this.#refused(kind, of, errorCode)
          } else if (!this.#refused(kind, of, errorCode)) {
            if (fetchOffset < highWatermark && size === 0)
              this.#wrong(kind, of, `nothing is served below ${highWatermark}`)
            this.#count(kind)
          } else if (kind === 'astray' && errorCode === KafkaError.NOT_LEADER_OR_FOLLOWER) this.#count(kind)
        }
        done()
      },
      `${topic}/${partition}`,
    )
  }

  #refused(kind: ProbeKind, of: Probed, errorCode: number): boolean {
    if (errorCode === KafkaError.NONE) return false
    if (KAFKA_ERRORS.get(errorCode)?.retriable !== true) this.#wrong(kind, of, kafkaErrorName(errorCode))
    return true
  }

  #wrong(kind: ProbeKind, { topic, partition }: Probed, what: string): void {
    const message = `${this.#name} asked ${topic}/${partition} (${kind}): ${what}`
    this.#with.violated(new Violation('consumers are served', message))
  }

  #count(kind: ProbeKind): void {
    this.answered.set(kind, (this.answered.get(kind) ?? 0) + 1)
  }
}

export function sizeOf(records: Buffer | null | readonly Buffer[]): number {
  if (records === null) return 0
  return Buffer.isBuffer(records) ? records.length : records.reduce((sum, each) => sum + each.length, 0)
}
