/** What a round does to the cluster, and how long it took to recover. */
import type { Prng } from '../../src/stdx/index.ts'
import { wait } from './raw-writer.ts'
import type { SoakCluster } from './soak-cluster.ts'

export interface Round {
  readonly kind: 'kill' | 'stop'
  readonly node: number
  /** A second SIGKILL hit the node while it was recovering. */
  readonly twice: boolean
  readonly downMs: number
  /** From its start until it was ready and had caught up. */
  readonly recoveryMs: number
}

const SLEEP_MS = 5000
const AFTER_SLEEP_MS = 1500

const between = (random: Prng, least: number, most: number): number => least + random.below(most - least + 1)

export async function killRound(cluster: SoakCluster, random: Prng): Promise<Round> {
  const node = between(random, 1, cluster.nodes.ids.length)
  await wait(between(random, 200, 1200))
  const killed = performance.now()
  cluster.note(`soak: SIGKILL node ${node}`)
  await cluster.nodes.signal(node, 'SIGKILL')
  await wait(between(random, 0, 1200))
  const twice = random.below(4) === 0
  if (twice) {
    cluster.nodes.start(node)
    await wait(between(random, 20, 600))
    cluster.note(`soak: SIGKILL node ${node} during its recovery`)
    await cluster.nodes.signal(node, 'SIGKILL')
  }
  const started = performance.now()
  cluster.note(`soak: restart node ${node}`)
  await cluster.restart(node)
  return {
    kind: 'kill',
    node,
    twice,
    downMs: Math.round(started - killed),
    recoveryMs: Math.round(performance.now() - started),
  }
}

/** `asleep` and `awake` are told at the moment of the signals. */
export async function stopRound(
  cluster: SoakCluster,
  random: Prng,
  asleep: () => void,
  waking: () => void,
): Promise<Round> {
  await wait(between(random, 500, 1500))
  const node = await cluster.leaderOfMost()
  cluster.note(`soak: SIGSTOP node ${node}`)
  asleep()
  await cluster.nodes.signal(node, 'SIGSTOP')
  await wait(SLEEP_MS)
  waking()
  cluster.note(`soak: SIGCONT node ${node}`)
  await cluster.nodes.signal(node, 'SIGCONT')
  const woken = performance.now()
  await cluster.nodes.ready([node], 30_000)
  await cluster.caughtUp(node)
  const recoveryMs = Math.round(performance.now() - woken)
  await wait(AFTER_SLEEP_MS)
  return { kind: 'stop', node, twice: false, downMs: SLEEP_MS, recoveryMs }
}
