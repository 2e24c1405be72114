/** Each workload does what it is there for in a calm run, is answered, and notices a lie. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apis } from '../../src/gateways/kafka/index.ts'
import { KafkaError } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { scenarioOf } from '../scenario/swarm.ts'
import { simulate } from '../simulation.ts'

const DURATION_MS = 15_000

/** Three nodes without faults, and everybody busy. */
function calm(seed: number): Scenario {
  const producer = { intervalMs: 60, recordsMax: 4, valueBytes: 40, inFlightMax: 3 }
  const group = { members: 2, pollMs: 150, pollsPerCommit: 1, stayMs: 1500 }
  return {
    ...scenarioOf(seed, 'calm', DURATION_MS),
    nodes: 3,
    replication: 3,
    networkUs: [100, 400],
    diskUs: [50, 200],
    topics: [{ name: 'topic-0', partitions: 2 }],
    producers: [
      { ...producer, name: 'idempotent', idempotent: true, abandonPermille: 100, compressed: true },
      { ...producer, name: 'impatient', idempotent: true, timeoutMs: 1 },
      { ...producer, name: 'leader-only', idempotent: false, acks: 1 },
      { ...producer, name: 'silent', idempotent: false, acks: 0 },
    ],
    consumers: [{ name: 'consumer-0', fetchBytes: 50_000, rewindPermille: 5, probePermille: 300 }],
    groups: [
      { ...group, name: 'dynamic', staticMembers: false },
      { ...group, name: 'static', staticMembers: true },
    ],
    administrators: [{ name: 'admin-0', topics: 2, intervalMs: 60 }],
    registers: { shards: 2, keys: 2, clients: 2, intervalMs: 50 },
    shrinking: {
      name: 'shrinking',
      configs: { 'segment.bytes': '600', 'retention.bytes': '4000', 'retention.ms': '-1' },
      byItself: true,
      intervalMs: 60,
      deleteEveryMs: 400,
    },
    compacted: {
      name: 'compacted',
      configs: {
        'cleanup.policy': 'compact',
        'segment.bytes': '600',
        'min.cleanable.dirty.ratio': '0',
        'delete.retention.ms': '2000',
      },
      intervalMs: 60,
    },
  }
}

test('everybody is busy and is answered', async () => {
  const { violation, deeds, timeline, acknowledged } = await simulate(calm(5))
  assert.equal(violation?.message, undefined)
  assert.ok(acknowledged > 300, `${acknowledged} records were acknowledged`)
  const expected = [
    ...['earliest', 'latest', 'by-time', 'beyond-the-end', 'astray', 'one-byte'].map((kind) => `probe ${kind}`),
    ...['leave', 'silence', 'vanish', 'replace', 'commit'].map((deed) => `group ${deed}`),
    ...['create', 'delete', 'produce', 'read', 'look', 'list', 'settings', 'refused'].map((deed) => `topic ${deed}`),
    ...['read', 'written', 'unequal'].map((kind) => `register ${kind}`),
    ...['read', 'delete', 'looked-below'].map((deed) => `shrinking ${deed}`),
    ...['write', 'tombstone', 'read', 'hole', 'reading'].map((deed) => `compacted ${deed}`),
  ]
  assert.deepEqual(
    expected.filter((what) => (deeds.get(what) ?? 0) === 0),
    [],
  )
  // The storm and those who walk away are heard of, and nobody else is.
  const troubles = timeline.filter((line) => /topic-0\/\d: /.test(line))
  assert.ok(troubles.some((line) => line.includes('impatient') && line.includes('timeout')))
  assert.ok(troubles.some((line) => line.includes('idempotent') && line.includes('connection-lost')))
})

test('a compacted topic that is cut besides: readers fall below its start, and find all that is left', async () => {
  const scenario = calm(5)
  const configs = { ...scenario.compacted!.configs, 'cleanup.policy': 'compact,delete', 'retention.bytes': '2000' }
  const { violation, deeds } = await simulate({ ...scenario, compacted: { ...scenario.compacted!, configs } })
  assert.equal(violation?.message, undefined)
  for (const deed of ['tombstone', 'hole', 'reading', 'looked-below', 'start-moved'])
    assert.ok((deeds.get(`compacted ${deed}`) ?? 0) > 0, deed)
})

type Doctor = (answer: never) => void

/** Every answer of one kind is changed on its way. */
function lying(api: { readonly name: string }, doctor: Doctor) {
  return (_name: string, client: KafkaClient): KafkaClient => {
    const honest = client.request.bind(client)
    client.request = (to, asked, version, message, timeoutMs, done, lane) =>
      honest(
        to,
        asked,
        version,
        message,
        timeoutMs,
        (failure, answer) => {
          if (asked.name === api.name && answer !== null) doctor(answer as never)
          done(failure, answer)
        },
        lane,
      )
    return client
  }
}

test('members that are forgotten while they read give up what they own once, under the name they had', async () => {
  let beats = 0
  let lies = 0
  const client = lying(apis.heartbeat, (answer: { errorCode: number }) => {
    if (++beats % 3 !== 0) return
    answer.errorCode = KafkaError.UNKNOWN_MEMBER_ID
    lies++
  })
  const { violation, deeds } = await simulate(calm(3), { interference: { client } })
  assert.equal(violation?.message, undefined)
  assert.ok(lies > 3, `${lies} members were forgotten`)
  assert.ok((deeds.get('group commit') ?? 0) > 0)
})

const LIES: readonly {
  readonly what: string
  readonly api: { readonly name: string }
  readonly doctor: Doctor
  readonly property: string
}[] = [
  {
    what: 'a lookup one record too far',
    api: apis.listOffsets,
    doctor: ({ topics }: { topics: { partitions: { offset: number }[] }[] }) => {
      for (const topic of topics) for (const partition of topic.partitions) partition.offset++
    },
    property: 'consumers are served',
  },
  {
    what: 'nothing where there are records',
    api: apis.fetch,
    doctor: ({ responses }: { responses: { partitions: { records: Buffer | null }[] }[] }) => {
      for (const topic of responses) for (const partition of topic.partitions) partition.records = null
    },
    property: 'consumers are served',
  },
  {
    what: 'a batch that nobody may refuse is refused',
    api: apis.produce,
    doctor: ({ responses }: { responses: { partitionResponses: { errorCode: number }[] }[] }) => {
      for (const topic of responses)
        for (const partition of topic.partitionResponses) partition.errorCode = KafkaError.INVALID_RECORD
    },
    property: 'producers are served',
  },
  {
    what: 'an unknown group',
    api: apis.heartbeat,
    doctor: (answer: { errorCode: number }) => {
      answer.errorCode = KafkaError.GROUP_ID_NOT_FOUND
    },
    property: 'groups are served',
  },
  {
    what: 'a topic that is not there exists',
    api: apis.createTopics,
    doctor: ({ topics }: { topics: { name: string; errorCode: number }[] }) => {
      for (const topic of topics) if (topic.name.startsWith('admin')) topic.errorCode = KafkaError.TOPIC_ALREADY_EXISTS
    },
    property: 'topics are what was asked for',
  },
  {
    what: 'a topic that is there does not exist',
    api: apis.deleteTopics,
    doctor: ({ responses }: { responses: { errorCode: number }[] }) => {
      for (const topic of responses) topic.errorCode = KafkaError.UNKNOWN_TOPIC_OR_PARTITION
    },
    property: 'topics are what was asked for',
  },
]

for (const { what, api, doctor, property } of LIES) {
  test(`a lie is noticed: ${what}`, async () => {
    const { violation } = await simulate(calm(2), { interference: { client: lying(api, doctor) } })
    assert.equal(violation?.property, property, violation?.message)
  })
}
