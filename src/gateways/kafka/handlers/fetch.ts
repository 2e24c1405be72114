/**
 * Fetch: reads several partitions into one answer, and waits for more where there is too little.
 *
 * Two limits rule it (KIP-74). The answer stays below `maxBytes`, except that the first partition in request order that has
 * something gives one whole batch however large: a consumer must always get ahead. And it is worth sending once it has
 * `minBytes`, or an error, or when `maxWaitMs` are over; until then the fetch is parked with the partitions (`FetchWaits`).
 *
 * A look at all partitions takes time where one of them answers from disk, and what arrives in the others meanwhile is heard of by
 * nobody who listens only once the look is over. So whoever was read is listened to as soon as the look has to wait:
 *
 *      partition 0   read: nothing ·········· 5,000 bytes arrive ····┐
 *      partition 1                  read from disk ···················┴─ nothing: look again, do not park
 *
 * Sessions (KIP-227) are refused by always answering session 0: every client then sends full requests. A request that goes on
 * with a session is told that there is none; it names only what changed, so it must not be taken for a full one.
 */
import type { Topic } from '../../../cluster/index.ts'
import { batchBytesOf, recordCountOf } from '../../../records/index.ts'
import {
  type AdvanceListener,
  type FetchOwner,
  type FetchResult,
  type FetchWait,
  KafkaError,
  type KafkaErrorCode,
  type Partition,
} from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { FetchPartition, FetchRequest, FetchTopic } from '../messages/fetch.ts'
import { currentLeader, type ExchangeOf, endpoint, type HandlerContext } from './context.ts'

type FetchExchange = ExchangeOf<typeof apis.fetch>

const TOPIC_ID_VERSION = 13
/** What a client may ask for in one answer, whatever it says: Kafka's `fetch.max.bytes`. */
const ANSWER_BYTES_MAX = 55 << 20
const NO_SLICES: readonly Buffer[] = []
/** Kafka's "debugging consumer": as such a restore reads back what it wrote, before anybody else may. */
export const RESTORING_REPLICA_ID = -2
/** Epochs above it go on with a session; this one opens one, and −1 is a request without. */
const SESSION_OPENS = 0

export function fetch(context: HandlerContext, exchange: FetchExchange, request: FetchRequest): void {
  if (request.sessionEpoch > SESSION_OPENS)
    return exchange.respond({
      throttleTimeMs: 0,
      errorCode: KafkaError.FETCH_SESSION_ID_NOT_FOUND,
      sessionId: 0,
      responses: [],
      nodeEndpoints: [],
    })
  new FetchCall(context, exchange, request).look(request.maxWaitMs <= 0)
}

interface Wanted {
  readonly topic: FetchTopic
  readonly known: Topic | undefined
  readonly asked: FetchPartition
  readonly partition: Partition | undefined
  result: FetchResult
}

class FetchCall implements FetchOwner, AdvanceListener {
  readonly #context: HandlerContext
  readonly #exchange: FetchExchange
  readonly #request: FetchRequest
  readonly #deadline: number
  readonly #wanted: Wanted[] = []
  #bytesLeft = 0
  #anythingYet = false
  #wait: FetchWait | null = null
  /** So many of `#wanted` are listened to, from the first on, while the look waits for a later one. */
  #listening = 0
  /** Bytes that became visible since, in partitions that were read before. */
  #arrived = 0

  constructor(context: HandlerContext, exchange: FetchExchange, request: FetchRequest) {
    this.#context = context
    this.#exchange = exchange
    this.#request = request
    this.#deadline = context.clock.now() + request.maxWaitMs
    const byId = exchange.apiVersion >= TOPIC_ID_VERSION
    for (const topic of request.topics) {
      const known = byId ? context.cluster.topicById(topic.topicId) : context.cluster.topic(topic.topic)
      for (const asked of topic.partitions) {
        const found = known === undefined ? undefined : context.streams.find(known.name, asked.partition)
        const hidden = found?.restoring === true && request.replicaId !== RESTORING_REPLICA_ID
        const partition = hidden ? undefined : found
        const result = hidden ? failed(KafkaError.OFFSET_NOT_AVAILABLE) : this.#absent(known, asked.partition, byId)
        this.#wanted.push({ topic, known, asked, partition, result })
      }
    }
    exchange.onAbandon = () => {
      this.#endListening()
      this.#wait?.cancel()
    }
  }

  #absent(known: Topic | undefined, index: number, byId: boolean): FetchResult {
    if (known === undefined) return failed(byId ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
    return failed(
      known.partitions[index] === undefined ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION : KafkaError.NOT_LEADER_OR_FOLLOWER,
    )
  }

  /** Reads every partition; `lastLook`: answer with whatever there is. */
  look(lastLook: boolean): void {
    this.#wait = null
    // The first batch is given whole, however little may be taken (KIP-74).
    const little = this.#context.chance('kafka/small-fetch')
    this.#bytesLeft = little ? 1 : Math.min(this.#request.maxBytes, ANSWER_BYTES_MAX)
    this.#anythingYet = false
    this.#arrived = 0
    this.#next(0, lastLook)
  }

  /** In request order, because who comes first may take the oversized batch and the bytes that are left. */
  #next(from: number, lastLook: boolean): void {
    for (let i = from; i < this.#wanted.length; i++) {
      const wanted = this.#wanted[i]!
      const { asked, partition } = wanted
      if (partition === undefined) continue
      const limit = Math.min(asked.partitionMaxBytes, this.#bytesLeft)
      const result = partition.read(asked.fetchOffset, limit, !this.#anythingYet, asked.currentLeaderEpoch, (later) => {
        this.#take(wanted, later)
        this.#next(i + 1, lastLook)
      })
      if (result === null) {
        if (!lastLook && this.#exchange.isOpen) this.#listenTo(i)
        return
      }
      this.#take(wanted, result)
    }
    this.#endListening()
    this.#decide(lastLook)
  }

  #listenTo(last: number): void {
    for (; this.#listening <= last; this.#listening++) this.#wanted[this.#listening]!.partition?.listen(this)
  }

  #endListening(): void {
    while (this.#listening > 0) this.#wanted[--this.#listening]!.partition?.unlisten(this)
  }

  advanced(bytes: number): void {
    this.#arrived += bytes
  }

  #take(wanted: Wanted, result: FetchResult): void {
    wanted.result = result
    this.#bytesLeft = Math.max(0, this.#bytesLeft - result.bytes)
    if (result.bytes > 0) this.#anythingYet = true
  }

  #decide(lastLook: boolean): void {
    if (!this.#exchange.isOpen) return
    let bytes = 0
    let failures = false
    for (const { result } of this.#wanted) {
      bytes += result.bytes
      failures ||= result.error !== KafkaError.NONE
    }
    const minBytes = Math.min(this.#request.minBytes, this.#request.maxBytes, ANSWER_BYTES_MAX)
    const leftMs = this.#deadline - this.#context.clock.now()
    const enough = bytes >= minBytes || this.#context.chance('kafka/early-fetch')
    if (lastLook || failures || enough || this.#wanted.length === 0 || leftMs <= 0) {
      this.#answer()
      return
    }
    const missingBytes = minBytes - bytes - this.#arrived
    // No spinning, however slow the disk: there is another look only because something came during this one.
    if (missingBytes <= 0) {
      this.look(false)
      return
    }
    const partitions = this.#wanted.map(({ partition }) => partition!)
    // The queue of equal waits is shared; a fetch that parks again has less time left, which is rare and has its own.
    const waitMs = Math.max(1, leftMs > this.#request.maxWaitMs - 5 ? this.#request.maxWaitMs : Math.ceil(leftMs))
    this.#wait = this.#context.streams.waits.park(this, partitions, missingBytes, waitMs)
  }

  fetchReady(expired: boolean): void {
    if (this.#exchange.isOpen) this.look(expired)
  }

  #answer(): void {
    let records = 0
    let bytes = 0
    let redirects = false
    const responses: { topic: string; topicId: string; partitions: ReturnType<FetchCall['partitionAnswer']>[] }[] = []
    let latest: FetchTopic | null = null
    for (const wanted of this.#wanted) {
      if (wanted.topic !== latest) {
        latest = wanted.topic
        responses.push({ topic: latest.topic, topicId: latest.topicId, partitions: [] })
      }
      responses.at(-1)!.partitions.push(this.partitionAnswer(wanted))
      redirects ||= isRedirect(wanted.result.error)
      bytes += wanted.result.bytes
      for (const slice of wanted.result.slices) records += recordsIn(slice)
    }
    if (records > 0) this.#context.trace({ type: 'fetched', records, bytes })
    const nodeEndpoints = redirects ? this.#context.cluster.nodes().map(endpoint) : []
    this.#exchange.respond({ throttleTimeMs: 0, errorCode: KafkaError.NONE, sessionId: 0, responses, nodeEndpoints })
  }

  partitionAnswer({ known, asked, result }: Wanted) {
    const committedOnly = this.#request.isolationLevel === 1
    return {
      partitionIndex: asked.partition,
      errorCode: result.error,
      highWatermark: result.highWatermark,
      lastStableOffset: result.lastStableOffset,
      logStartOffset: result.logStartOffset,
      abortedTransactions: committedOnly ? [] : null,
      records: result.slices,
      ...(isRedirect(result.error) ? { currentLeader: currentLeader(this.#context, known, asked.partition) } : {}),
    }
  }
}

function isRedirect(error: KafkaErrorCode): boolean {
  return error === KafkaError.NOT_LEADER_OR_FOLLOWER || error === KafkaError.FENCED_LEADER_EPOCH
}

function failed(error: KafkaErrorCode): FetchResult {
  return { error, highWatermark: -1, logStartOffset: -1, lastStableOffset: -1, slices: NO_SLICES, bytes: 0 }
}

function recordsIn(slice: Buffer): number {
  let records = 0
  for (let at = 0; at < slice.length; at += batchBytesOf(slice, at)) records += recordCountOf(slice, at)
  return records
}
