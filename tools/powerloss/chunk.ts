/**
 * A chunk of cycles: a cluster on new disks, from its first start to the account of everything that it acknowledged. Power goes
 * for the first time while the nodes start on empty disks, and for the last time right after a clean stop, which has promised
 * that its checkpoint is there.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Prng } from '../../src/stdx/index.ts'
import { readTraces } from '../check-trace.ts'
import { examine } from '../soak/evidence.ts'
import { SoakCluster } from '../soak/soak-cluster.ts'
import { type Accounts, Workload } from '../soak/workload.ts'
import { succeeds } from './commands.ts'
import { type Cycle, Cycles } from './cycle.ts'
import { Disks, type FileSystem } from './disks.ts'
import { type Endings, endingsIn } from './endings.ts'
import { discard, makeRunDirectory } from './leftovers.ts'
import type { PowerSwitch } from './power-switch.ts'

const NODES = 3
/** One cycle in ten takes all nodes at once. */
const ALL_EVERY = 10
const ALL_AT = 4
/** What is outstanding is answered within this time after the last recovery, or never. */
const STOP_PATIENCE_MS = 60_000

export interface ChunkPlan {
  readonly chunk: number
  /** The first of these cycles, counted over the campaign. */
  readonly firstCycle: number
  readonly cycles: number
  readonly seed: string
  readonly fs: FileSystem | 'both'
  readonly parent: string
  readonly basePort: number
  readonly powerSwitch: PowerSwitch
  readonly progress: (text: string) => void
}

export interface Chunk {
  readonly cycles: readonly Cycle[]
  readonly losses: Record<FileSystem, number>
  readonly accounts: Accounts | null
  readonly entries: number
  readonly endings: Endings
  readonly problems: readonly string[]
  /** Where the evidence of a failure lies. */
  readonly kept: string | null
  readonly seconds: number
}

export async function runChunk(plan: ChunkPlan): Promise<Chunk> {
  const began = performance.now()
  const directory = makeRunDirectory(plan.parent)
  try {
    const disks = await Disks.make(directory, fileSystemsOf(plan), plan.powerSwitch)
    const cluster = new SoakCluster({
      nodes: NODES,
      basePort: plan.basePort,
      directory,
      directoryOf: (id) => path.join(disks.mountOf(id), 'data'),
    })
    const run = new Run(plan, cluster, disks)
    try {
      await run.live()
      await run.end()
    } catch (error) {
      for (const problem of [(error as Error).message, ...cluster.problems.splice(0)]) run.problem(problem)
    } finally {
      await cluster.nodes.stopAll(0)
    }
    return { ...run.result(), kept: run.problems.length === 0 ? null : keep(cluster, disks), seconds: since(began) }
  } finally {
    discard(directory)
  }
}

class Run {
  readonly #plan: ChunkPlan
  readonly #cluster: SoakCluster
  readonly #disks: Disks
  readonly #workload: Workload
  readonly #cycles: Cycle[] = []
  readonly #losses = { ext4: 0, xfs: 0 }
  #accounts: Accounts | null = null
  #entries = 0
  readonly problems: string[] = []

  constructor(plan: ChunkPlan, cluster: SoakCluster, disks: Disks) {
    this.#plan = plan
    this.#cluster = cluster
    this.#disks = disks
    this.#workload = new Workload(cluster, { seed: plan.seed, plain: true, calm: true })
  }

  problem(text: string): void {
    this.problems.push(text)
    this.#cluster.note(`powerloss: PROBLEM ${text}`)
  }

  async live(): Promise<void> {
    const { chunk, firstCycle, cycles, seed } = this.#plan
    const cycle = new Cycles(this.#cluster, this.#disks, this.#plan.powerSwitch, new Prng(`${seed}/cycles`))
    for (let i = 0; i < cycles; i++) {
      const atBirth = i === 0
      const all = atBirth ? chunk % 2 === 0 : (firstCycle + i) % ALL_EVERY === ALL_AT
      this.#took(await cycle.run({ all, atBirth }), i)
      if (atBirth) await this.#workload.start()
    }
    this.#plan.progress('stopping the load, reading everything back')
    await withinTime(this.#workload.stop(), STOP_PATIENCE_MS, 'the load came not to rest')
    this.#accounts = await this.#workload.readBack()
    for (const problem of this.#accounts.problems) this.problem(problem)
  }

  #took(cycle: Cycle, i: number): void {
    this.#cycles.push(cycle)
    const times = cycle.twice ? 2 : 1
    for (const id of cycle.nodes) this.#losses[this.#disks.fileSystemOf(id)] += times
    for (const problem of [...this.#workload.takeProblems(), ...this.#cluster.problems.splice(0)])
      this.problem(`cycle ${i + 1}: ${problem}`)
    const who = cycle.nodes.length === NODES ? 'all nodes' : `node ${cycle.nodes[0]}`
    const manner = `${cycle.how}${cycle.how === 'mid-write' ? ` met ${cycle.midWrite}` : ''}${cycle.atBirth ? ', at its birth' : ''}${cycle.twice ? ', twice' : ''}`
    this.#plan.progress(
      `cycle ${this.#plan.firstCycle + i + 1}: ${who} (${manner}), back after ${cycle.recoveryMs} ms, ${this.#workload.acknowledged} acknowledged, ${this.problems.length} problems`,
    )
  }

  /** All stop, lose power, and are compared as they would be found. */
  async end(): Promise<void> {
    const { nodes } = this.#cluster
    await nodes.stopAll()
    this.#plan.progress('comparing the shard logs, checking the traces')
    await this.#disks.cut(nodes.ids)
    await this.#disks.remount(nodes.ids)
    const { shardLogs, problems } = examine({
      directories: this.#cluster.directories,
      traces: readTraces(this.#cluster.traceDirectory),
      marksAtEnd: this.#accounts?.marksAtEnd ?? [],
    })
    this.#entries = shardLogs.entries
    for (const problem of [...problems, ...this.#cluster.problems.splice(0)]) this.problem(problem)
  }

  result(): Omit<Chunk, 'kept' | 'seconds'> {
    const { traceDirectory } = this.#cluster
    const endings = fs.existsSync(traceDirectory) ? endingsIn(readTraces(traceDirectory)) : {}
    return {
      cycles: this.#cycles,
      losses: this.#losses,
      accounts: this.#accounts,
      entries: this.#entries,
      endings,
      problems: this.problems,
    }
  }
}

function fileSystemsOf({ fs: wanted, chunk }: ChunkPlan): FileSystem[] {
  return Array.from({ length: NODES }, (_, i) => (wanted !== 'both' ? wanted : (i + chunk) % 2 === 0 ? 'ext4' : 'xfs'))
}

/** The images are in memory and go; what tells the story moves to where it may stay. */
function keep(cluster: SoakCluster, disks: Disks): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-powerloss-failed-'))
  fs.writeFileSync(path.join(directory, 'powerloss.log'), `${cluster.log.join('\n')}\n`)
  succeeds('cp', '-a', cluster.traceDirectory, directory)
  for (const id of cluster.nodes.ids) succeeds('cp', '-a', '--sparse=always', disks.mountOf(id), directory)
  return directory
}

function withinTime<T>(promise: Promise<T>, timeoutMs: number, otherwise: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${otherwise} within ${timeoutMs} ms`)), timeoutMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

function since(began: number): number {
  return Math.round((performance.now() - began) / 100) / 10
}
