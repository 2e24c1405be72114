/**
 * A backup's hold on a partition: what it has still to read is not cut meanwhile, as far as the leader can help it
 * (docs/decisions/0005-backup.md).
 *
 *     begin ──► keep, keep, … ──► stood?   true: the same leader has held it from `begin` on, without a gap, by its own word
 *
 * The loop that reads comes by between any two fetches; a hold is renewed after a third of its lease, and at once where another node
 * leads. Nothing is tried twice in a row, and no refusal ends the run: a backup without a hold is a backup that has to be quick.
 */
import { apis } from '../gateways/kafka/index.ts'
import type { Address, Clock } from '../platform/index.ts'
import { KafkaError, kafkaErrorName } from '../streams/index.ts'
import type { ClusterClient, TopicInCluster } from './cluster-client.ts'
import { LinkLost } from './link.ts'

export interface Holder {
  /** Drawn anew for each run: 32 hexadecimal digits. */
  readonly id: string
  /** For people, who see it as what holds the log. */
  readonly name: string
}

const LEASE_MS = 30_000
const RENEW_MS = LEASE_MS / 3
/** After a refusal: soon, but not with every fetch. One that does not answer may not know the request, and close the connection of others. */
const AGAIN_MS = 1000

interface Outcome {
  readonly refusal: string | null
  readonly answered: boolean
  readonly granted: boolean
  /** There was no gap since it was granted before. */
  readonly renewed: boolean
}

export class LogHold {
  readonly #client: ClusterClient
  readonly #clock: Clock
  readonly #holder: Holder
  readonly #topic: TopicInCluster
  readonly #partition: number
  /** The leader that was asked last. */
  #at: Address | null = null
  #nextMs = 0
  #heldBy: Address | null = null
  /** Since `begin`; null: there was a gap, or may have been one. */
  #heldThroughoutBy: Address | null = null
  /** Why the last attempt came to nothing; null: it did not. */
  refusal: string | null = null

  constructor(client: ClusterClient, clock: Clock, holder: Holder, topic: TopicInCluster, partition: number) {
    this.#client = client
    this.#clock = clock
    this.#holder = holder
    this.#topic = topic
    this.#partition = partition
  }

  /** Asks at once. What is asked of the leader after this is asked of a log that is held. */
  async begin(offset: number): Promise<void> {
    const leader = this.#client.leaderOf(this.#topic, this.#partition)
    const granted = leader !== null && (await this.#renew(leader, offset))
    this.#heldThroughoutBy = granted ? leader : null
  }

  /** What lies below `offset` is not needed any more. */
  async keep(offset: number): Promise<void> {
    const leader = this.#client.leaderOf(this.#topic, this.#partition)
    if (leader === null || (isSame(leader, this.#at) && this.#clock.now() < this.#nextMs)) return
    await this.#renew(leader, offset)
  }

  /** Whether the log was held all the time since `begin`. */
  async stood(offset: number): Promise<boolean> {
    const leader = this.#client.leaderOf(this.#topic, this.#partition)
    if (leader === null || this.#heldThroughoutBy === null) return false
    return (await this.#renew(leader, offset)) && this.#heldThroughoutBy !== null
  }

  async #renew(leader: Address, offset: number): Promise<boolean> {
    this.#at = leader
    const { refusal, answered, granted, renewed } = await this.#ask(leader, offset, LEASE_MS)
    this.refusal = refusal
    if (granted) this.#heldBy = leader
    this.#nextMs = this.#clock.now() + (refusal !== null && answered ? AGAIN_MS : RENEW_MS)
    // Where no answer came a new hold may have begun: that the next one renews it says nothing of what was before.
    const goesOn = answered && (!granted || (renewed && isSame(leader, this.#heldThroughoutBy)))
    if (!goesOn) this.#heldThroughoutBy = null
    return granted
  }

  /** The log was cut above what was held. */
  lost(): void {
    this.#nextMs = 0
  }

  /** It would end by itself; so nobody waits for it, and disks have their room sooner. */
  async release(): Promise<void> {
    if (this.#heldBy !== null) await this.#ask(this.#heldBy, 0, 0)
    this.#heldBy = null
  }

  async #ask(leader: Address, offset: number, leaseMs: number): Promise<Outcome> {
    try {
      const { errorCode, errorMessage, logStartOffset, renewed } = await this.#client.ask(leader, apis.holdLog, 0, {
        name: this.#topic.name,
        topicId: this.#topic.id,
        partitionIndex: this.#partition,
        holder: this.#holder.id,
        holderName: this.#holder.name,
        offset,
        leaseMs,
      })
      const granted = errorCode === KafkaError.NONE
      // It was cut: the next fetch says so, too, and goes on above. Otherwise the leader's log is behind, and will not be for long.
      const isCut = errorCode === KafkaError.OFFSET_OUT_OF_RANGE && logStartOffset > offset
      const refusal = granted || isCut ? null : (errorMessage ?? kafkaErrorName(errorCode))
      return { refusal, answered: true, granted, renewed }
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error
      return { refusal: error.message, answered: false, granted: false, renewed: false }
    }
  }
}

function isSame(one: Address, other: Address | null): boolean {
  return one.host === other?.host && one.port === other.port
}
