/** For tests of commands: a cluster that has formed, and questions to its nodes whose answers are kept. */
import type { Cluster } from './cluster.ts'
import { World } from './cluster-testing.ts'
import type { CreateTopicRequest, TopicResult } from './commands.ts'

export function request(name: string, more: Partial<CreateTopicRequest> = {}): CreateTopicRequest {
  return { name, partitions: -1, replicationFactor: -1, configs: {}, validateOnly: false, ...more }
}

/** Asks, and returns a box that holds the answer once there is one. */
export function create(cluster: Cluster, ...requests: CreateTopicRequest[]): { results: TopicResult[] | null } {
  const box: { results: TopicResult[] | null } = { results: null }
  cluster.createTopics(requests, (results) => {
    box.results = results
  })
  return box
}

export function remove(cluster: Cluster, ...names: string[]): { results: TopicResult[] | null } {
  const box: { results: TopicResult[] | null } = { results: null }
  cluster.deleteTopics(
    names.map((name) => ({ name, id: null })),
    (results) => {
      box.results = results
    },
  )
  return box
}

/** Sets one setting of a topic. */
export function alter(
  cluster: Cluster,
  name: string,
  setting: string,
  value: string,
): { results: TopicResult[] | null } {
  const box: { results: TopicResult[] | null } = { results: null }
  const changes = [{ name: setting, operation: 'set', value }] as const
  cluster.alterTopics([{ name, changes, replace: false, validateOnly: false }], (results) => {
    box.results = results
  })
  return box
}

export function codes(box: { results: TopicResult[] | null }): (string | null)[] | null {
  return box.results?.map(({ error }) => error?.code ?? null) ?? null
}

export function formed(): World {
  const world = new World([1, 2, 3])
  world.elect(1)
  world.clock.settle()
  return world
}
