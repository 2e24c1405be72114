/**
 * A group member's conversation with its coordinator, one request at a time over one connection: find, join, sync, beat, leave,
 * commit, look up. What an answer means for the member is one of a few words, since the protocol's many codes call for few
 * different things to do.
 */
import { type Api, apis, type DraftOf, type MessageDefinition, type MessageOf } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import { Violation } from '../violation.ts'

/**
 * - `ok`: go on
 * - `again`: another node coordinates, or this one cannot now: ask who does, and repeat
 * - `rejoin`: the group is changing: join with the same id
 * - `forgotten`: the group does not know this member (any more): join as a new one
 * - `id-required`: join again with the id in the answer
 * - `fenced`: another process has taken this member's seat: end
 */
export type Meaning = 'ok' | 'again' | 'rejoin' | 'forgotten' | 'id-required' | 'fenced'

const MEANINGS: ReadonlyMap<number, Meaning> = new Map([
  [KafkaError.NONE, 'ok'],
  [KafkaError.NOT_COORDINATOR, 'again'],
  [KafkaError.COORDINATOR_NOT_AVAILABLE, 'again'],
  [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, 'again'],
  [KafkaError.REBALANCE_IN_PROGRESS, 'rejoin'],
  [KafkaError.ILLEGAL_GENERATION, 'rejoin'],
  [KafkaError.UNKNOWN_MEMBER_ID, 'forgotten'],
  [KafkaError.MEMBER_ID_REQUIRED, 'id-required'],
  [KafkaError.FENCED_INSTANCE_ID, 'fenced'],
])

const FIND_VERSION = 4
const FIND_TIMEOUT_MS = 4000
const BACKOFF_MS = 150
const LANE = 'group'

export interface CoordinationCollaborators {
  readonly client: KafkaClient
  readonly clock: Clock
  readonly violated: (violation: Violation) => void
}

export class Coordination {
  readonly #group: string
  readonly #name: string
  readonly #with: CoordinationCollaborators
  #coordinator: Address | null = null

  constructor(group: string, name: string, collaborators: CoordinationCollaborators) {
    this.#group = group
    this.#name = name
    this.#with = collaborators
  }

  /** What the code means; one that no member may get is a violation, and then `forgotten`, which is always possible. */
  meaningOf(errorCode: number, of: string): Meaning {
    const meaning = MEANINGS.get(errorCode)
    if (meaning !== undefined) return meaning
    const what = `${this.#name} in ${this.#group}: ${of} was answered with ${kafkaErrorName(errorCode)}`
    this.#with.violated(new Violation('groups are served', what))
    return 'forgotten'
  }

  /** `answer` null: no answer, or nobody to ask. The next request asks anew who coordinates. */
  request<Q extends MessageDefinition, R extends MessageDefinition>(
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
    timeoutMs: number,
    done: (answer: MessageOf<R> | null) => void,
  ): void {
    const at = this.#coordinator
    if (at === null) {
      this.#find(() => {
        if (this.#coordinator === null) done(null)
        else this.request(api, version, message, timeoutMs, done)
      })
      return
    }
    this.#with.client.request(
      at,
      api,
      version,
      message,
      timeoutMs,
      (failure, answer) => {
        if (failure !== null) this.#coordinator = null
        done(answer)
      },
      LANE,
    )
  }

  /** Somebody else coordinates, perhaps; `done` after a moment. */
  lookElsewhere(done: () => void): void {
    this.#coordinator = null
    this.#with.clock.after(BACKOFF_MS, done)
  }

  #find(done: () => void): void {
    const { client } = this.#with
    const request = { keyType: 0, coordinatorKeys: [this.#group] }
    client.request(
      client.anyBroker(),
      apis.findCoordinator,
      FIND_VERSION,
      request,
      FIND_TIMEOUT_MS,
      (_failure, answer) => {
        const found = answer?.coordinators[0]
        if (found?.errorCode === KafkaError.NONE) this.#coordinator = { host: found.host, port: found.port }
        done()
      },
    )
  }
}
