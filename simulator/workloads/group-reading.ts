/** A member's partition: how far it has been read and committed, and the reading itself, one fetch at a time. */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import { nodeAt } from '../node-settings.ts'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import { recordsFrom } from './consumer.ts'

export interface Owned {
  readonly topic: string
  readonly partition: number
  position: number
  /** In which turn of its member. */
  polledAt: number
  /** The last commit that was acknowledged. */
  committed: number
  /** The last answer left something to be read. */
  behind: boolean
  /** Of the last answer in which nothing more was to be read. */
  seen: { readonly mark: number; readonly askedAtMs: number } | null
}

type Records = ReturnType<typeof recordsFrom>
type Served = (errorCode: number, highWatermark: number, records: Records) => void

export interface ReadingCollaborators {
  readonly name: string
  readonly leader: Address
  readonly client: KafkaClient
  readonly clock: Clock
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
  /** Not after the membership, and not while the member sleeps. */
  readonly later: (what: Served) => Served
}

const FETCH_BYTES = 1 << 20
const FETCH_VERSION = 11
const TIMEOUT_MS = 4000

/** `done(false)`: somebody else leads, or nobody answers. */
export function readOn(owned: Owned, by: ReadingCollaborators, done: (served: boolean) => void): void {
  const { topic, partition, position } = owned
  const { name: client } = by
  const askedAtMs = by.clock.now()
  const served = by.later((errorCode, highWatermark, records) => {
    if (errorCode !== KafkaError.NONE) {
      if (KAFKA_ERRORS.get(errorCode)?.retriable !== true) {
        const what = `${client} at ${topic}/${partition} offset ${position}: ${kafkaErrorName(errorCode)}`
        by.violated(new Violation('groups are served', what))
      }
      return done(false)
    }
    by.emit({
      type: 'fetched',
      client,
      by: nodeAt(by.leader),
      topic,
      partition,
      askedAtMs,
      position,
      highWatermark,
      records,
    })
    owned.position = position + records.length
    owned.behind = owned.position < highWatermark
    if (!owned.behind) owned.seen = { mark: highWatermark, askedAtMs }
    done(true)
  })
  const partitions = [{ partition, fetchOffset: position, partitionMaxBytes: FETCH_BYTES }]
  const request = {
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: FETCH_BYTES,
    topics: [{ topic, partitions }],
    forgottenTopicsData: [],
  }
  by.client.request(by.leader, apis.fetch, FETCH_VERSION, request, TIMEOUT_MS, (failure, answer) => {
    // The bytes are there in this turn only, and a sleeping member looks at them in a later one.
    const result = failure === null ? answer?.responses[0]?.partitions[0] : undefined
    if (result === undefined) served(KafkaError.REQUEST_TIMED_OUT, -1, [])
    else served(result.errorCode, result.highWatermark, recordsFrom(result.records, position))
  })
}
