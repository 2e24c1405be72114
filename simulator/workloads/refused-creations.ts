/** Topics that nobody may have, and what whoever asks for one must hear. */
import type { Prng } from '../../src/stdx/index.ts'
import { KafkaError } from '../../src/streams/index.ts'

export interface BadCreation {
  readonly what: string
  readonly errors: readonly number[]
  readonly topic: {
    readonly name: string
    readonly numPartitions: number
    readonly replicationFactor: number
    readonly assignments: { readonly partitionIndex: number; readonly brokerIds: number[] }[]
    readonly configs: { readonly name: string; readonly value: string }[]
  }
}

export function badCreation(prng: Prng, nodes: number, name: string): BadCreation {
  const good = { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
  const all: readonly BadCreation[] = [
    { what: 'a name with a slash', errors: [KafkaError.INVALID_TOPIC_EXCEPTION], topic: { ...good, name: 'a/b' } },
    { what: 'the name ".."', errors: [KafkaError.INVALID_TOPIC_EXCEPTION], topic: { ...good, name: '..' } },
    {
      what: "the cluster's own name",
      errors: [KafkaError.INVALID_TOPIC_EXCEPTION],
      topic: { ...good, name: '__transaction_state' },
    },
    { what: 'no partition', errors: [KafkaError.INVALID_PARTITIONS], topic: { ...good, numPartitions: 0 } },
    {
      what: 'more replicas than nodes',
      errors: [KafkaError.INVALID_REPLICATION_FACTOR],
      topic: { ...good, replicationFactor: nodes + 1 },
    },
    {
      what: 'an unknown setting',
      errors: [KafkaError.INVALID_CONFIG],
      topic: { ...good, configs: [{ name: 'retention.years', value: '3' }] },
    },
    {
      what: 'an assignment and a number of partitions',
      errors: [KafkaError.INVALID_REQUEST],
      topic: { ...good, assignments: [{ partitionIndex: 0, brokerIds: [1] }] },
    },
    {
      what: 'an assignment to a node that is not there',
      errors: [KafkaError.INVALID_REPLICA_ASSIGNMENT],
      topic: {
        ...good,
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [4000] }],
      },
    },
  ]
  return all[prng.below(all.length)]!
}
