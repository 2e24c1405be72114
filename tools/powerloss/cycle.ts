/**
 * One cycle: power goes, from one node or from all at once, and comes back.
 *
 *     frozen     SIGSTOP ── power off ── SIGKILL ── umount, mount ── start        the machine stops between two instructions
 *     mid-write  SIGSTOP when a block is not synced, some of its pages written, and on as above (mid-write.ts)
 *     running               power off ── SIGKILL ── umount, mount ── start        … in the middle of whatever it does
 *
 * A running node sees EIO after the power went; what it then says or does must not be a lie either. In a quarter of the cycles
 * power goes again while the node recovers.
 */
import fs from 'node:fs'
import type { Prng } from '../../src/stdx/index.ts'
import { identityFile, journalDirectory } from '../../src/storage/layout.ts'
import { wait } from '../soak/raw-writer.ts'
import type { SoakCluster } from '../soak/soak-cluster.ts'
import type { Disks } from './disks.ts'
import type { PowerSwitch } from './power-switch.ts'

export interface Cycle {
  readonly nodes: readonly number[]
  readonly how: 'frozen' | 'mid-write' | 'running'
  /** It was the first start of these nodes, with nothing on their disks. */
  readonly atBirth: boolean
  /** Power went again during recovery. */
  readonly twice: boolean
  /** Nodes whose power went when a block was written and not synced; only where that was sought. */
  readonly midWrite: number
  /** From the start until the nodes were ready and had caught up. */
  readonly recoveryMs: number
}

const BIRTH_MS = 10_000

export interface CyclePlan {
  readonly all: boolean
  readonly atBirth: boolean
}

const between = (random: Prng, least: number, most: number): number => least + random.below(most - least + 1)

export class Cycles {
  readonly #cluster: SoakCluster
  readonly #disks: Disks
  readonly #powerSwitch: PowerSwitch
  readonly #random: Prng

  constructor(cluster: SoakCluster, disks: Disks, powerSwitch: PowerSwitch, random: Prng) {
    this.#cluster = cluster
    this.#powerSwitch = powerSwitch
    this.#disks = disks
    this.#random = random
  }

  async run({ all, atBirth }: CyclePlan): Promise<Cycle> {
    const random = this.#random
    const { ids } = this.#cluster.nodes
    const nodes = all ? ids : [between(random, 1, ids.length)]
    const ways: Cycle['how'][] = [
      'frozen',
      'running',
      ...(this.#powerSwitch.offMidWrite === null ? [] : (['mid-write'] as const)),
    ]
    const how = ways[random.below(ways.length)]!
    const twice = random.below(4) === 0
    if (atBirth) for (const id of ids) this.#cluster.startNode(id)
    // Half of the births get as far as an identity; the journal's first block follows soon after.
    if (atBirth && random.below(2) === 0) await this.#identified(nodes[0]!)
    else await wait(atBirth ? between(random, 0, 700) : between(random, 200, 1200))
    let midWrite = await this.#cut(nodes, how)
    // The others go on alone for a while; when all are gone there is nothing to wait for.
    if (!all) await wait(between(random, 0, 800))
    if (twice) {
      for (const id of nodes) this.#cluster.startNode(id)
      await wait(between(random, 20, 700))
      midWrite += await this.#cut(nodes, how)
    }
    const started = performance.now()
    this.#cluster.note(`powerloss: restart ${nodes.join(', ')}`)
    await this.#cluster.restart(...nodes)
    return { nodes, how, atBirth, twice, midWrite, recoveryMs: Math.round(performance.now() - started) }
  }

  async #identified(id: number): Promise<void> {
    const deadline = performance.now() + BIRTH_MS
    while (!fs.existsSync(identityFile(this.#cluster.nodes.directory(id))) && performance.now() < deadline)
      await wait(2)
  }

  async #cut(ids: readonly number[], how: Cycle['how']): Promise<number> {
    const { nodes } = this.#cluster
    this.#cluster.note(`powerloss: power off for ${ids.join(', ')}, ${how}`)
    if (how === 'frozen') await Promise.all(ids.map((id) => nodes.signal(id, 'SIGSTOP')))
    this.#cluster.losePower(ids)
    let midWrite = 0
    if (how === 'mid-write') midWrite = await this.#cutMidWrite(ids)
    else await this.#disks.cut(ids)
    await Promise.all(ids.map((id) => nodes.signal(id, 'SIGKILL')))
    await this.#disks.remount(ids)
    return midWrite
  }

  async #cutMidWrite(ids: readonly number[]): Promise<number> {
    const { nodes } = this.#cluster
    const part = this.#random.below(3) > 0 ? 'head' : 'tail'
    const percent = between(this.#random, 1, 99)
    const victims = ids.flatMap((id) => {
      const pid = nodes.pid(id)
      const journal = journalDirectory(nodes.directory(id))
      return pid === null ? [] : [{ pid, mount: this.#disks.mountOf(id), journal, part, percent } as const]
    })
    return this.#powerSwitch.offMidWrite!(victims)
  }
}
