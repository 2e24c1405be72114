/**
 * Watches every node's high-water marks, all the time, and above all those of a node that has just been asleep.
 *
 * The promise: whatever a node answers about where a partition ends, it is never less than what had been acknowledged *before
 * the question was asked*. A node that slept through its own replacement holds an old mark and believes, in its first
 * milliseconds, that it leads. It must refuse.
 *
 * So questions are sent without waiting for the answers to earlier ones, also to a node that sleeps; each remembers what was
 * acknowledged when it left. A refusal is fine, whatever its code. So is silence.
 */
import { RawClient } from '../../bench/raw-client.ts'
import { apis } from '../../src/gateways/kafka/index.ts'

const INTERVAL_MS = 25
const OUTSTANDING_MAX = 1000
const NONE = 0
const OFFSET_OUT_OF_RANGE = 1

/** By topic: what was acknowledged, by partition. */
export type Floors = ReadonlyMap<string, readonly number[]>

interface Watched {
  readonly broker: string
  client: RawClient | null
  connecting: boolean
  outstanding: number
}

export class MarkWatcher {
  readonly #nodes: Watched[]
  readonly #floors: () => Floors
  readonly problems: string[] = []
  answers = 0
  refusals = 0
  #timer: NodeJS.Timeout | null = null

  constructor(brokers: readonly string[], floors: () => Floors) {
    this.#nodes = brokers.map((broker) => ({ broker, client: null, connecting: false, outstanding: 0 }))
    this.#floors = floors
  }

  start(): void {
    this.#timer = setInterval(() => {
      for (const node of this.#nodes) this.#ask(node)
    }, INTERVAL_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    for (const { client } of this.#nodes) client?.close()
  }

  #ask(node: Watched): void {
    if (node.client === null || !node.client.isOpen) {
      this.#connect(node)
      return
    }
    if (node.outstanding >= OUTSTANDING_MAX) return
    const floors = new Map([...this.#floors()].map(([topic, offsets]) => [topic, offsets.slice()]))
    const topics = [...floors]
    node.outstanding += 2
    const latest = {
      replicaId: -1,
      isolationLevel: 0,
      topics: topics.map(([name, offsets]) => ({
        name,
        partitions: offsets.map((_, partitionIndex) => ({ partitionIndex, timestamp: -1 })),
      })),
    }
    node.client.send(apis.listOffsets, 4, latest, (error, response) => {
      node.outstanding--
      if (error !== null) return
      for (const { name, partitions } of response.topics) {
        for (const { partitionIndex, errorCode, offset } of partitions)
          this.#judge(node, 'ListOffsets', name, partitionIndex, errorCode, offset, floors)
      }
    })
    const read = {
      replicaId: -1,
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: 1,
      isolationLevel: 0,
      topics: topics.map(([topic, offsets]) => ({
        topic,
        partitions: offsets.map((fetchOffset, partition) => ({ partition, fetchOffset, partitionMaxBytes: 1 })),
      })),
    }
    node.client.send(apis.fetch, 11, read, (error, response) => {
      node.outstanding--
      if (error !== null) return
      for (const { topic, partitions } of response.responses) {
        for (const { partitionIndex, errorCode, highWatermark } of partitions)
          this.#judge(node, 'Fetch', topic, partitionIndex, errorCode, highWatermark, floors)
      }
    })
  }

  #connect(node: Watched): void {
    if (node.connecting) return
    node.connecting = true
    RawClient.connect(node.broker, 1000).then(
      (client) => {
        node.connecting = false
        node.outstanding = 0
        if (this.#timer === null) client.close()
        else node.client = client
      },
      () => {
        node.connecting = false
      },
    )
  }

  #judge(
    node: Watched,
    request: string,
    topic: string,
    partition: number,
    errorCode: number,
    mark: number,
    floors: Floors,
  ): void {
    this.answers++
    const floor = floors.get(topic)?.[partition] ?? 0
    if (errorCode !== NONE && errorCode !== OFFSET_OUT_OF_RANGE) this.refusals++
    else if (errorCode === OFFSET_OUT_OF_RANGE)
      this.#problem(
        `${node.broker} ${request} ${topic}/${partition}: offset ${floor}, acknowledged before it was asked for, is called out of range (mark ${mark})`,
      )
    else if (mark < floor)
      this.#problem(
        `${node.broker} ${request} ${topic}/${partition}: mark ${mark} shown, ${floor} acknowledged before it was asked for`,
      )
  }

  #problem(text: string): void {
    this.problems.push(`${new Date().toISOString()} ${text}`)
  }
}
