/** A fresh cluster for one measurement, with what its processes used. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DevCluster } from '../src/cli/dev-cluster.ts'
import type { NodeStatus } from '../src/gateways/http/index.ts'

export interface Usage {
  readonly cpuSeconds: number
  readonly journalSyncs: number
}

export class BenchCluster {
  readonly cluster: DevCluster
  readonly #directory: string
  readonly #logged: string[] = []

  constructor(nodes: number, flags: readonly string[] = [], basePort = 23_092) {
    this.#directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-bench-'))
    this.cluster = new DevCluster({
      nodes,
      directory: this.#directory,
      basePort,
      flags,
      output: (node, line) => this.#logged.push(`node ${node}: ${line}`),
    })
  }

  async start(): Promise<void> {
    this.cluster.startAll()
    try {
      await this.cluster.ready()
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#logged.slice(-20).join('\n')}`)
    }
  }

  async stop(): Promise<void> {
    await this.cluster.stopAll()
    fs.rmSync(this.#directory, { recursive: true, force: true })
  }

  /** CPU of all node processes (from /proc where there is one) and journal syncs of the node behind a Kafka address. */
  async usage(broker: string): Promise<Usage> {
    let cpuSeconds = 0
    for (const id of this.cluster.ids) cpuSeconds += cpuOf(this.cluster.pid(id))
    const leader = this.cluster.ids.find((id) => this.cluster.kafka(id) === broker)
    const status =
      leader === undefined
        ? null
        : ((await (await fetch(`${this.cluster.http(leader)}/api/node`)).json()) as NodeStatus)
    return { cpuSeconds, journalSyncs: status?.counters.journalSyncs ?? 0 }
  }

  /** A counter's value, all nodes together. */
  async counted(name: string): Promise<number> {
    let sum = 0
    for (const id of this.cluster.ids) {
      const text = await (await fetch(`${this.cluster.http(id)}/metrics`)).text()
      sum += Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
    }
    return sum
  }
}

function cpuOf(pid: number | null): number {
  try {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return Number.NaN // no /proc on this system
  }
}
