/** What a backup believes of the brokers: what any of them knows exists. */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import type { Address } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { ClusterClient } from './cluster-client.ts'
import { LinkLost } from './link.ts'

const BROKERS = [1, 2, 3].map((id) => ({ nodeId: id, host: 'h', port: id }))

/** Of one partition each. Null: no answer, ever. */
type Told =
  | readonly { readonly name: string; readonly id: string; readonly leader: number; readonly epoch: number }[]
  | null

class Scripted extends ClusterClient {
  readonly #told: readonly (Told | 'down')[]

  constructor(told: readonly (Told | 'down')[]) {
    super({ brokers: [BROKERS[0]!], patienceMs: 200 }, nodePlatform())
    this.#told = told
  }

  override ask({ port }: Address): Promise<never> {
    const told = this.#told[port - 1]!
    if (told === 'down') return Promise.reject(new LinkLost(`no connection to ${port}`))
    if (told === null) return new Promise(() => {})
    const topics = told.map(({ name, id, leader, epoch }) => ({
      ...{ name, topicId: id, isInternal: false },
      partitions: [{ partitionIndex: 0, leaderId: leader, leaderEpoch: epoch, replicaNodes: [1, 2, 3] }],
    }))
    return Promise.resolve({ brokers: BROKERS, clusterId: 'c', topics } as never)
  }
}

const tides = { name: 'tides', id: 'a', leader: 2, epoch: 5 }

async function known(told: readonly (Told | 'down')[]): Promise<string[]> {
  const client = new Scripted(told)
  // The first answer names the others.
  for (let look = 0; look < 2; look++) await client.refresh()
  return [...client.topics.values()].map(({ name, id, leaders }) => `${name} ${id} ${leaders[0]?.port ?? 'none'}`)
}

test('client: a topic that one broker does not know, cut off or behind as it is, is not gone', async () => {
  assert.deepEqual(await known([[], [tides], [tides]]), ['tides a 2'])
  assert.deepEqual(await known([[], 'down', [tides]]), ['tides a 2'])
  assert.deepEqual(await known([[], [], []]), [])
  const client = new Scripted([[], [tides], [tides]])
  for (let look = 0; look < 2; look++) await client.refresh()
  assert.equal(await client.askLeader(tides, 0, async ({ port }) => ({ value: port })), 2)
  assert.equal(await client.askLeader({ name: 'tides', id: 'b' }, 0, async () => ({ value: 0 })), null)
})

test('client: the leader is the one of the latest term, the topic the one that most know', async () => {
  const before = { ...tides, leader: 1, epoch: 4 }
  assert.deepEqual(await known([[before], [tides], [before]]), ['tides a 2'])
  assert.deepEqual(await known([[{ ...tides, leader: -1 }], [tides], [tides]]), ['tides a 2'])
  assert.deepEqual(await known([[tides], [{ ...tides, leader: -1, epoch: 6 }], [tides]]), ['tides a none'])
  assert.deepEqual(await known([[{ ...tides, id: 'old' }], [tides], [tides]]), ['tides a 2'])
})

test('client: who does not answer is waited for a little, and nobody answering is an error', async () => {
  const began = performance.now()
  assert.deepEqual(await known([[tides], null, 'down']), ['tides a 2'])
  assert.ok(performance.now() - began < 5000)
  await assert.rejects(known(['down', 'down', 'down']), /no broker answers/)
})
