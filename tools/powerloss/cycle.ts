/**
 * One cycle: power goes, from one node or from all at once, and comes back.
 *
 *     frozen     SIGSTOP ── power off ── SIGKILL ── umount, mount ── start        the machine stops between two instructions
 *     running               power off ── SIGKILL ── umount, mount ── start        … in the middle of a write or a sync
 *
 * A running node sees EIO after the power went; what it then says or does must not be a lie either. Half of the cuts come with
 * some of the dirty pages written (power-switch.ts). In a quarter of the cycles power goes again while the node recovers.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Prng } from '../../src/stdx/index.ts'
import { journalDirectory, segmentNumberIn } from '../../src/storage/layout.ts'
import { wait } from '../soak/raw-writer.ts'
import type { SoakCluster } from '../soak/soak-cluster.ts'
import type { Disks } from './disks.ts'
import type { Scatter } from './power-switch.ts'

export interface Cycle {
  readonly nodes: readonly number[]
  readonly how: 'frozen' | 'running'
  /** It was the first start of these nodes, with nothing on their disks. */
  readonly atBirth: boolean
  /** Power went again during recovery. */
  readonly twice: boolean
  /** From the start until the nodes were ready and had caught up. */
  readonly recoveryMs: number
}

export interface CyclePlan {
  readonly all: boolean
  readonly atBirth: boolean
}

const between = (random: Prng, least: number, most: number): number => least + random.below(most - least + 1)

export class Cycles {
  readonly #cluster: SoakCluster
  readonly #disks: Disks
  readonly #random: Prng

  constructor(cluster: SoakCluster, disks: Disks, random: Prng) {
    this.#cluster = cluster
    this.#disks = disks
    this.#random = random
  }

  async run({ all, atBirth }: CyclePlan): Promise<Cycle> {
    const random = this.#random
    const { ids } = this.#cluster.nodes
    const nodes = all ? ids : [between(random, 1, ids.length)]
    const how = random.below(2) === 0 ? 'frozen' : 'running'
    const twice = random.below(4) === 0
    if (atBirth) for (const id of ids) this.#cluster.startNode(id)
    await wait(atBirth ? between(random, 0, 700) : between(random, 200, 1200))
    await this.#cut(nodes, how)
    // The others go on alone for a while; when all are gone there is nothing to wait for.
    if (!all) await wait(between(random, 0, 800))
    if (twice) {
      for (const id of nodes) this.#cluster.startNode(id)
      await wait(between(random, 20, 700))
      await this.#cut(nodes, how)
    }
    const started = performance.now()
    this.#cluster.note(`powerloss: restart ${nodes.join(', ')}`)
    await this.#cluster.restart(...nodes)
    return { nodes, how, atBirth, twice, recoveryMs: Math.round(performance.now() - started) }
  }

  async #cut(ids: readonly number[], how: Cycle['how']): Promise<void> {
    const { nodes } = this.#cluster
    const scatters = this.#random.below(2) === 0
    const first = this.#random.below(2)
    this.#cluster.note(`powerloss: power off for ${ids.join(', ')}, ${how}${scatters ? ', some pages written' : ''}`)
    if (how === 'frozen') await Promise.all(ids.map((id) => nodes.signal(id, 'SIGSTOP')))
    this.#cluster.losePower(ids)
    await this.#disks.cut(ids, (id) => (scatters ? this.#journalOf(id, first) : null))
    await Promise.all(ids.map((id) => nodes.signal(id, 'SIGKILL')))
    await this.#disks.remount(ids)
  }

  /** The segment that is being written. A node that has just been started may have none. */
  #journalOf(id: number, first: number): Scatter | null {
    const directory = journalDirectory(this.#cluster.nodes.directory(id))
    if (!fs.existsSync(directory)) return null
    const names = fs.readdirSync(directory).filter((name) => segmentNumberIn(name) !== null)
    const name = names.sort((a, b) => changed(directory, b) - changed(directory, a))[0]
    return name === undefined ? null : { file: path.join(directory, name), first }
  }
}

function changed(directory: string, name: string): number {
  return fs.statSync(path.join(directory, name)).mtimeMs
}
