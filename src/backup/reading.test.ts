/** What a backup reads while the cluster changes under it: leaders that move, topics that go and come again. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type Api, apis, type MessageDefinition, type MessageOf } from '../gateways/kafka/index.ts'
import type { Address } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { GROUPS_TOPIC } from '../streams/index.ts'
import { ClusterClient } from './cluster-client.ts'
import { readGroupIds } from './reading.ts'

const platform = nodePlatform()

/** Two nodes, and a group in each of the two partitions of the groups' topic; what is listed is what the node leads then. */
class MovingGroups extends ClusterClient {
  readonly leaders = [1, 2]
  readonly epochs = [1, 1]
  listed = 0
  /** After so many answers, this. */
  moves: ((listed: number) => void) | null = null

  constructor() {
    super({ brokers: [{ host: 'h', port: 1 }], patienceMs: 2000 }, platform)
  }

  override ask<Q extends MessageDefinition, R extends MessageDefinition>(
    { port }: Address,
    { apiKey }: Api<Q, R>,
  ): Promise<MessageOf<R>> {
    const answer = apiKey === apis.metadata.apiKey ? this.#metadata() : this.#list(port)
    return Promise.resolve(answer as never)
  }

  #metadata() {
    const brokers = [1, 2].map((id) => ({ nodeId: id, host: 'h', port: id }))
    const partitions = this.leaders.map((leaderId, partitionIndex) => {
      const leaderEpoch = this.epochs[partitionIndex]!
      return { partitionIndex, leaderId, leaderEpoch, replicaNodes: [1, 2] }
    })
    return { brokers, clusterId: 'c', topics: [{ name: GROUPS_TOPIC, topicId: 'a', isInternal: true, partitions }] }
  }

  #list(port: number) {
    const groups = ['g0', 'g1'].filter((_, i) => this.leaders[i] === port).map((groupId) => ({ groupId }))
    this.moves?.(++this.listed)
    return { errorCode: 0, groups }
  }
}

test('groups: a leader that moves while they are listed loses none of them', async () => {
  const client = new MovingGroups()
  client.moves = (listed) => {
    if (listed !== 1) return
    client.leaders[1] = 1
    client.epochs[1]!++
  }
  assert.deepEqual(await readGroupIds(client), ['g0', 'g1'])
})

test('groups: nor does one that moves and comes back', async () => {
  const client = new MovingGroups()
  client.moves = (listed) => {
    if (listed > 2) return
    client.leaders[1] = listed === 1 ? 1 : 2
    client.epochs[1]!++
  }
  assert.deepEqual(await readGroupIds(client), ['g0', 'g1'])
})
