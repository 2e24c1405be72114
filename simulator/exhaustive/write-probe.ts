/**
 * Is anybody able to take a write? Creates a topic of one partition, and then asks every node again and again to write a record into
 * it, at a level that needs a quorum. What a node that does not lead answers does not matter.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import { encodeBatch } from '../../src/records/index.ts'
import { must, Prng } from '../../src/stdx/index.ts'
import { KafkaError } from '../../src/streams/index.ts'
import { KafkaClient } from '../kafka-client.ts'
import type { World } from '../world.ts'

const CREATE_TOPICS_VERSION = 4
const PRODUCE_VERSION = 9
const TIMEOUT_MS = 1500
const INTERVAL_MS = 250

export class WriteProbe {
  readonly #world: World
  readonly #client: KafkaClient
  #created = false
  #stopped = false
  /** What was asked before `forget` does not count. */
  #round = 0
  #values = 0
  /** Writes begun since the last `forget` and acknowledged. */
  acknowledged = 0

  constructor(world: World) {
    this.#world = world
    const prng = new Prng(`${world.scenario.seed}/client/probe`)
    this.#client = new KafkaClient(
      { clientId: 'probe', bootstrap: world.bootstrap },
      { network: world.networkOf('clients'), clock: world.clock, pick: (bound) => prng.below(bound) },
    )
  }

  /** The partition's shard, once it exists. */
  get shard(): number {
    const { name } = this.#topic
    for (const { node } of this.#world.machines)
      for (const { topic, shard } of node?.status().shards ?? []) if (topic === name) this.#shard = shard
    return this.#shard
  }
  #shard = 0

  get #topic(): { readonly name: string } {
    return must(this.#world.scenario.topics[0], 'a topic')
  }

  start(): void {
    this.#turn()
  }

  forget(): void {
    this.#round++
    this.acknowledged = 0
  }

  stop(): void {
    this.#stopped = true
  }

  #turn(): void {
    if (this.#stopped) return
    if (!this.#created) this.#create()
    else for (const address of this.#world.bootstrap) this.#write(address)
    this.#world.clock.after(INTERVAL_MS, () => this.#turn())
  }

  #create(): void {
    const topic = {
      name: this.#topic.name,
      numPartitions: 1,
      replicationFactor: this.#world.scenario.replication,
      assignments: [],
      configs: [],
    }
    const request = { topics: [topic], timeoutMs: TIMEOUT_MS }
    this.#client.request(
      this.#client.anyBroker(),
      apis.createTopics,
      CREATE_TOPICS_VERSION,
      request,
      TIMEOUT_MS,
      (_failure, answer) => {
        const code = answer?.topics[0]?.errorCode
        if (code === KafkaError.NONE || code === KafkaError.TOPIC_ALREADY_EXISTS) this.#created = true
      },
    )
  }

  #write(to: { readonly host: string; readonly port: number }): void {
    const round = this.#round
    const value = Buffer.from(`probe ${this.#values++}`)
    const records = encodeBatch([{ key: null, value }], { timestamp: this.#world.clock.wall() })
    const partitionData = [{ index: 0, records }]
    const topicData = [{ name: this.#topic.name, partitionData }]
    const request = { transactionalId: null, acks: -1, timeoutMs: TIMEOUT_MS, topicData }
    this.#client.request(to, apis.produce, PRODUCE_VERSION, request, TIMEOUT_MS, (_failure, answer) => {
      const code = answer?.responses[0]?.partitionResponses[0]?.errorCode
      if (code === KafkaError.NONE && round === this.#round) this.acknowledged++
    })
  }
}
