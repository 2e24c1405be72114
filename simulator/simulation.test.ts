/** Short runs of the simulator itself: it is deterministic, and it holds on a few seeds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apis } from '../src/gateways/kafka/index.ts'
import type { Address } from '../src/platform/index.ts'
import type { KafkaClient } from './kafka-client.ts'
import { scenarioOf } from './scenario/swarm.ts'
import { simulate } from './simulation.ts'

const SHORT_MS = 9000

test('the same seed gives the same events, another one does not', async () => {
  const scenario = scenarioOf(2, 'all', SHORT_MS)
  const [one, two] = [await simulate(scenario), await simulate(scenario)]
  assert.equal(one.violation?.message, undefined)
  assert.equal(one.hash, two.hash)
  assert.equal(one.events, two.events)
  assert.notEqual(one.hash, (await simulate(scenarioOf(3, 'all', SHORT_MS))).hash)
})

test('a scenario is plain data', () => {
  const scenario = scenarioOf(11)
  assert.deepEqual(JSON.parse(JSON.stringify(scenario)), scenario)
})

for (const profile of ['crash', 'network', 'pause'] as const) {
  test(`a seed of ${profile} holds`, async () => {
    const result = await simulate(scenarioOf(5, profile, SHORT_MS))
    assert.equal(result.violation?.message, undefined)
    assert.ok(result.acknowledged > 0)
    assert.ok([...result.faults.values()].reduce((sum, hits) => sum + hits, 0) > 0)
  })
}

/** Is told that nothing was ever committed, whoever it asks. */
function forgetful(client: KafkaClient): KafkaClient {
  type Done = (failure: unknown, answer: { groups?: { topics: unknown[] }[] } | null) => void
  const request = client.request.bind(client) as (...all: unknown[]) => void
  const forgetting = (
    to: Address,
    api: unknown,
    version: number,
    message: unknown,
    ms: number,
    done: Done,
    lane = '',
  ) => {
    const told: Done = (failure, answer) => {
      if (api === apis.offsetFetch) for (const group of answer?.groups ?? []) group.topics = []
      done(failure, answer)
    }
    request(to, api, version, message, ms, told, lane)
  }
  return Object.assign(client, { request: forgetting })
}

test('what groups have committed is asked for again after all nodes have started from their disks', async () => {
  const group = { name: 'g', members: 2, staticMembers: false, pollMs: 150, pollsPerCommit: 1, stayMs: 8000 }
  const scenario = { ...scenarioOf(4, 'calm', SHORT_MS), groups: [group] }
  const auditors: string[] = []
  const result = await simulate(scenario, {
    interference: {
      client: (name, client) => {
        if (name !== 'g/auditor') return client
        auditors.push(name)
        return auditors.length === 2 ? forgetful(client) : client
      },
    },
  })
  assert.equal(auditors.length, 2)
  assert.equal(result.violation?.property, 'groups: one owner, no commit lost')
  assert.match(result.violation?.message ?? '', /the position is -1/)
})

test('with a minority broken, every partition that the others lead takes writes', async () => {
  const producer = {
    name: 'p',
    idempotent: true,
    intervalMs: 100,
    recordsMax: 2,
    valueBytes: 40,
    inFlightMax: 3,
    acks: -1,
  } as const
  const scenario = {
    ...scenarioOf(4, 'calm', SHORT_MS),
    nodes: 3,
    replication: 3,
    topics: [{ name: 't', partitions: 2 }],
    producers: [producer],
    groups: [],
    administrators: [],
    core: { order: [2, 3, 1], outsiders: ['down', 'down', 'down'] as const },
  }
  assert.equal((await simulate(scenario)).violation?.message, undefined)
  const result = await simulate(scenario, {
    interference: { client: (name, client) => (name === 'p' ? deaf(client) : client) },
  })
  assert.equal(result.violation?.property, 'a quorum that is well serves')
  assert.match(result.violation?.message ?? '', /leads t\/0, and p has had no answer/)
  assert.ok(result.acknowledged > 0, 'the other partition was served all the time')
})

/** Never hears what becomes of batches in partition 0. */
function deaf(client: KafkaClient): KafkaClient {
  type Produced = { topicData?: { partitionData: { index: number }[] }[] }
  const request = client.request.bind(client) as (...all: unknown[]) => void
  const listening = (to: Address, api: unknown, version: number, message: Produced, ...more: unknown[]) => {
    if (api !== apis.produce || message.topicData?.[0]?.partitionData[0]?.index !== 0)
      request(to, api, version, message, ...more)
  }
  return Object.assign(client, { request: listening })
}
