/**
 * Tidemark inside a program or a unit test: the same nodes as on servers, in this process.
 *
 *     const tidemark = await Tidemark.start({ nodes: 3, memory: true })
 *     const kafka = new Kafka({ brokers: tidemark.kafka.brokers })
 *     …
 *     await tidemark.stop()
 */
import path from 'node:path'
import { surroundings } from './embedding.ts'
import { type LogLine, type NodeError, type NodeTuning, TidemarkNode } from './node.ts'
import { formatAddress, type NodeOptions, OptionError, parseAddress, parseNodeOptions } from './node-options.ts'

import type { Network, Platform } from './platform/index.ts'
import { MemoryDisk, MemoryNetwork } from './platform/memory/index.ts'
import { nodePlatform } from './platform/nodejs/index.ts'

export type { ClusterStatus, NodeStatus } from './gateways/http/index.ts'
export { NodeError } from './node.ts'
export { OptionError } from './node-options.ts'
export { PlatformError } from './platform/index.ts'
export { StorageError } from './storage/index.ts'

export interface StartOptions {
  /** Data directory. With several nodes each has a folder in it. Default `./tidemark-data`; not with `memory`. */
  readonly data?: string
  /** How many nodes, all in this process. Default 1. */
  readonly nodes?: number
  /** Keep everything in memory: fast, and gone with the process. */
  readonly memory?: boolean
  /** Where Kafka clients connect, `HOST:PORT`. Default: a free port on 127.0.0.1. With several nodes only port 0. */
  readonly kafka?: string
  /** Health, metrics and the page. Default: off. `HOST:PORT`, port 0 for a free one. */
  readonly http?: string
  /** Partitions of a topic that does not say how many. Default 4. */
  readonly defaultPartitions?: number
  /** How long a new consumer group waits for more members, in ms. Default 0 here: tests should not wait. */
  readonly groupInitialRebalanceDelayMs?: number
  /** What a node would log. Default: nothing. */
  readonly log?: (line: LogLine & { readonly node: number }) => void
  /** A node stopped by itself, to protect its data. Default: the error is thrown, as nobody else would hear of it. */
  readonly terminated?: (error: NodeError) => void
}

/** Nodes that share a process have less memory and disk to themselves. */
const EMBEDDED_TUNING: NodeTuning = { storage: { journalSegmentBytes: 16 << 20, shardSegmentBytes: 64 << 20 } }
const NODES_MAX = 9
const READY_TIMEOUT_MS = 10_000

export class Tidemark {
  readonly #nodes: readonly TidemarkNode[]

  private constructor(nodes: readonly TidemarkNode[]) {
    this.#nodes = nodes
  }

  /** Resolves when every node serves. Rejects with a typed error that says what to do. */
  static async start(options: StartOptions = {}): Promise<Tidemark> {
    const count = options.nodes ?? 1
    if (!Number.isInteger(count) || count < 1 || count > NODES_MAX) {
      throw new OptionError(
        { code: 'OPTION_INVALID', option: 'nodes', value: String(count) },
        `nodes: ${count} must be a whole number from 1 to ${NODES_MAX}`,
      )
    }
    if (options.memory === true && options.data !== undefined) {
      throw new OptionError(
        { code: 'OPTION_INVALID', option: 'data', value: options.data },
        'data cannot be combined with memory: say where the data goes, or that it goes nowhere',
      )
    }
    for (const option of ['kafka', 'http'] as const) {
      const at = options[option]
      if (count > 1 && at !== undefined && parseAddress(option, at).port !== 0) {
        throw new OptionError(
          { code: 'OPTION_INVALID', option, value: at },
          `${option}: ${at} is one port for ${count} nodes; say port 0, and each finds one of its own`,
        )
      }
    }
    const peers = new MemoryNetwork({}, { clock: nodePlatform().clock })
    const starting = Array.from({ length: count }, (_, i) => startNode(i + 1, count, options, peers))
    const started = await Promise.allSettled(starting)
    const nodes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    const tidemark = new Tidemark(nodes)
    try {
      for (const result of started) if (result.status === 'rejected') throw result.reason
      await tidemark.#ready()
    } catch (error) {
      await tidemark.stop()
      throw error
    }
    return tidemark
  }

  get kafka(): { readonly brokers: string[] } {
    return { brokers: this.#nodes.map((node) => formatAddress(node.kafkaAddress)) }
  }

  /** Addresses of the pages and APIs; empty when `http` is off. */
  get http(): { readonly urls: string[] } {
    return {
      urls: this.#nodes.flatMap((node) =>
        node.httpAddress === null ? [] : [`http://${formatAddress(node.httpAddress)}`],
      ),
    }
  }

  status() {
    return this.#nodes[0]!.clusterStatus()
  }

  /** Hands leadership over where there is somebody, takes a checkpoint, lets the directories go. */
  async stop(): Promise<void> {
    // One after the other: each hands over to those that are left.
    for (const node of this.#nodes) await node.stop()
  }

  async #ready(): Promise<void> {
    const { clock } = nodePlatform()
    const deadline = clock.now() + READY_TIMEOUT_MS
    while (!this.#nodes.every((node) => node.ready)) {
      if (clock.now() > deadline)
        throw new Error(
          `not ready after ${READY_TIMEOUT_MS} ms: ${this.#nodes.map((node) => node.status().waitingFor).join('; ')}`,
        )
      await new Promise<void>((resolve) => clock.after(1, resolve))
    }
  }
}

function startNode(id: number, count: number, options: StartOptions, peers: MemoryNetwork): Promise<TidemarkNode> {
  const real = nodePlatform()
  const memory = options.memory === true
  const platform: Platform = memory
    ? { ...real, disk: new MemoryDisk({ powerLoss: false }, { clock: real.clock }) }
    : real
  const host = `node-${id}`
  const peerNetwork: Network = peers.host(host)
  const base = memory ? '/tidemark' : path.resolve(options.data ?? './tidemark-data')
  const nodeOptions: NodeOptions = {
    ...parseNodeOptions({
      id: String(id),
      data: count === 1 ? base : path.join(base, host),
      kafka: options.kafka ?? '127.0.0.1:0',
      http: options.http ?? '127.0.0.1:0',
      'default-partitions': String(options.defaultPartitions ?? 4),
      'group-initial-rebalance-delay-ms': String(options.groupInitialRebalanceDelayMs ?? 0),
    }),
    // Peers meet on a network of their own inside this process.
    peer: { host, port: 7400 },
    cluster:
      count === 1
        ? []
        : Array.from({ length: count }, (_, i) => ({ id: i + 1, peer: { host: `node-${i + 1}`, port: 7400 } })),
  }
  return TidemarkNode.start(nodeOptions, {
    ...surroundings(platform),
    peerNetwork,
    withHttp: options.http !== undefined,
    log: (line) => options.log?.({ ...line, node: id }),
    terminated:
      options.terminated ??
      ((error) => {
        throw error
      }),
    tuning: EMBEDDED_TUNING,
  })
}
