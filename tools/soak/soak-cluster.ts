/** The cluster under test: real processes with traces, and what their own reports say of who leads and who lags. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { RawClient } from '../../bench/raw-client.ts'
import { DevCluster } from '../../src/cli/dev-cluster.ts'
import type { ClusterStatus, NodeStatus } from '../../src/gateways/http/index.ts'
import { apis } from '../../src/gateways/kafka/index.ts'
import { wait } from './raw-writer.ts'

const CATCH_UP_MS = 30_000

export interface SoakClusterOptions {
  readonly nodes: number
  readonly basePort: number
  /** Default: a new one in the system's folder for temporary files. */
  readonly directory?: string
  readonly directoryOf?: (id: number) => string
}

export class SoakCluster {
  readonly nodes: DevCluster
  readonly directory: string
  readonly traceDirectory: string
  /** What nodes printed, and what they did without being asked. */
  readonly log: string[] = []
  readonly problems: string[] = []

  /** Whose disks have lost power: what they do until they are started again is not their fault. */
  readonly #powerless = new Set<number>()

  constructor({ nodes, basePort, directory, directoryOf }: SoakClusterOptions) {
    this.directory = directory ?? fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-soak-'))
    this.traceDirectory = path.join(this.directory, 'trace')
    this.nodes = new DevCluster({
      nodes,
      directory: this.directory,
      basePort,
      ...(directoryOf === undefined ? {} : { directoryOf }),
      environment: { TIDEMARK_TRACE: this.traceDirectory },
      output: (node, line) => this.note(`node ${node}: ${line}`),
      exited: (node, code, signal) => {
        const how = `node ${node} ended by itself (${signal ?? `exit code ${code}`})`
        if (this.#powerless.has(node)) this.note(`soak: ${how} without power`)
        else this.problems.push(`${how}: ${this.#lastWords(node)}`)
      },
    })
  }

  note(text: string): void {
    this.log.push(`${new Date().toISOString()} ${text}`)
    if (this.log.length > 200_000) this.log.splice(0, 100_000)
  }

  #lastWords(node: number): string {
    return this.log
      .filter((line) => line.includes(` node ${node}: `))
      .slice(-3)
      .join(' | ')
  }

  async start(): Promise<void> {
    this.nodes.startAll()
    await this.nodes.ready()
  }

  async createTopic(name: string, partitions: number): Promise<void> {
    const client = await RawClient.connect(this.nodes.kafka(1))
    const answer = await client.request(apis.createTopics, 5, {
      topics: [{ name, numPartitions: partitions, replicationFactor: -1, assignments: [], configs: [] }],
      timeoutMs: 10_000,
    })
    client.close()
    const errorCode = answer.topics[0]?.errorCode
    if (errorCode !== 0) throw new Error(`topic ${name} cannot be created: error ${errorCode}`)
  }

  /** As a running node sees it; the shards' figures are their leaders' own. */
  async status(): Promise<ClusterStatus> {
    for (const id of this.nodes.ids) {
      if (!this.nodes.isRunning(id)) continue
      try {
        const response = await fetch(`${this.nodes.http(id)}/api/cluster`, { signal: AbortSignal.timeout(1500) })
        if (response.ok) return (await response.json()) as ClusterStatus
      } catch {
        // asleep, or on its way down
      }
    }
    throw new Error('no node tells the status of the cluster')
  }

  async leaderOfMost(): Promise<number> {
    const { shards } = await this.status()
    const led = new Map(this.nodes.ids.map((id) => [id, 0]))
    for (const { topic, leader } of shards)
      if (topic !== null && leader !== null) led.set(leader, (led.get(leader) ?? 0) + 1)
    return [...led].sort((a, b) => b[1] - a[1])[0]![0]
  }

  /** Until the node has, of every shard, all that was committed when this was called. */
  async caughtUp(id: number): Promise<void> {
    const deadline = performance.now() + CATCH_UP_MS
    const goal = new Map((await this.status()).shards.map((shard) => [shard.shard, shard.highWatermark]))
    for (let behind = 'it does not answer'; ; ) {
      try {
        const response = await fetch(`${this.nodes.http(id)}/api/node`, { signal: AbortSignal.timeout(1500) })
        const { shards } = (await response.json()) as NodeStatus
        const here = new Map(shards.map((shard) => [shard.shard, shard.highWatermark]))
        const missing = [...goal].filter(([shard, mark]) => (here.get(shard) ?? -1) < mark)
        if (missing.length === 0) return
        behind = missing
          .map(([shard, mark]) => `shard ${shard} at ${here.get(shard) ?? 'nothing'} of ${mark}`)
          .join(', ')
      } catch {
        // not yet
      }
      if (!this.nodes.isRunning(id)) throw new Error(`node ${id} ended while it was catching up`)
      if (performance.now() > deadline)
        throw new Error(`node ${id} has not caught up after ${CATCH_UP_MS} ms: ${behind}`)
      await wait(25)
    }
  }

  async restart(...ids: number[]): Promise<void> {
    for (const id of ids) this.startNode(id)
    await this.nodes.ready(ids, 30_000)
    for (const id of ids) await this.caughtUp(id)
  }

  startNode(id: number): void {
    this.#powerless.delete(id)
    this.nodes.start(id)
  }

  /** To be called before their disks go: a node that notices ends by itself, and is right. */
  losePower(ids: readonly number[]): void {
    for (const id of ids) this.#powerless.add(id)
  }

  get directories(): string[] {
    return this.nodes.ids.map((id) => this.nodes.directory(id))
  }
}
