/**
 * Every way in which three nodes can hear each other, and whether they find a leader who stays.
 *
 * Six directions, each open or cut: 64 graphs. Each is tried on a cluster that has no leader (all lose power and start again
 * under the graph) and on one that has one already and wakes up under the graph (a *stale* leader, where it can reach nobody).
 * The outage at Cloudflare in November 2020 was the first one drawn here: two of three nodes had lost each other and both heard the
 * third, through which they deposed each other again and again.
 *
 *      A ⇄ B ⇄ C     the interesting ones: B reaches a quorum both ways, A and C do not hear of each other but through B.
 *      A    →  C     Whoever leads must stay, and whoever cannot hear the leader must not be able to depose it.
 *
 * **Reaching both ways.** Nodes talk over streams: a connection needs both directions to come about, and one that has lost a
 * direction carries nothing for long, for what is not acknowledged stops, and a beat that is not answered ends the session. So
 * two nodes reach each other if both directions are open; a single open one is worth as much as none (but for what is in the
 * buffers when the other is cut, and for a node that goes on hearing beats of a leader that does not hear it).
 *
 * **Demanded.** Some node reaches a quorum both ways: within ten election timeouts every shard has a leader that acknowledges a
 * write, and during ten more no other leader appears. A leader who reaches a quorum when the graph begins is not deposed by anybody
 * (stickiness), and whoever does not leads nothing in the end (check-quorum). No node does: nothing is acknowledged. In the end all
 * heals, all must be well, and those who come back depose nobody (pre-vote).
 *
 * **Held back.** Of five nodes one may be the only one to reach a quorum, and hear through one-way links less than those whom it
 * needs: they hold entries that it lacks, will not vote for it (§5.4.1), and cannot win themselves. No leader is possible then, and
 * the election restriction that keeps us from one is what keeps every promise. (Ng, Haridi, Carbone: "Omni-Paxos", EuroSys 2023,
 * call it constrained election.) It is looked up on the disks whether a graph is such a case, and counted. Of three nodes whoever is
 * needed reaches a quorum as well, so there it cannot happen.
 *
 * One handing-back of leadership to the node that placement prefers (`cluster/leader-balance.ts`) is an order and not a failure, and
 * is over before the ten quiet timeouts begin, or else is counted like any other change.
 */
import { METADATA_SHARD } from '../../src/cluster/index.ts'
import { must, Prng } from '../../src/stdx/index.ts'
import { Acknowledged } from '../checkers/acknowledged.ts'
import { ElectionSafety } from '../checkers/election-safety.ts'
import { Marks } from '../checkers/marks.ts'
import { OneHistory } from '../checkers/one-history.ts'
import { OneVote } from '../checkers/one-vote.ts'
import { Convergence } from '../convergence.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { Violation } from '../violation.ts'
import { World } from '../world.ts'
import { Leaderships } from './leaderships.ts'
import { WriteProbe } from './write-probe.ts'

export type Before = 'no leader' | 'stale leader'

export interface GraphCase {
  readonly nodes: number
  readonly before: Before
  /** Directions that are open, `from>to`. */
  readonly open: ReadonlySet<string>
}

export interface GraphResult {
  readonly graph: GraphCase
  /** Nodes that reach a quorum both ways, themselves counted. */
  readonly hubs: readonly number[]
  readonly violation: Violation | null
  /** From the graph's beginning to the last of: every shard has a leader, and a write was acknowledged; null if never. */
  readonly servedAfterMs: number | null
  /** Elections under the graph. */
  readonly elections: number
  /** Nodes that took themselves for leader of the partition at the end of it. */
  readonly leaders: readonly number[]
  /** Nobody could be elected, for a reason that is Raft's own; see above. */
  readonly heldBack: boolean
  readonly timeline: readonly string[]
  readonly hash: string
}

export interface GraphOptions {
  /** The 128 cases of three nodes, or so many drawn ones of five. */
  readonly nodes?: 3 | 5
  /** How many are drawn (five nodes), from this seed. */
  readonly samples?: number
  readonly seed?: number
  /** These cases alone, by their numbers in the table. */
  readonly only?: readonly number[]
}

export const ELECTION_TIMEOUT_MS = 1000
const TIMEOUTS = 10
const FORMING_MS = 20_000
const HEALING_MS = 30_000
const SAMPLES = 300

export async function runGraphs(
  options: GraphOptions = {},
  report: (result: GraphResult, number: number) => void = () => {},
): Promise<GraphResult[]> {
  const results: GraphResult[] = []
  for (const [number, graph] of casesOf(options).entries()) {
    if (options.only !== undefined && !options.only.includes(number)) continue
    const result = await new GraphRun(graph, options.seed ?? number + 1).run()
    results.push(result)
    report(result, number)
  }
  return results
}

export function casesOf({ nodes = 3, samples = SAMPLES, seed = 1 }: GraphOptions): GraphCase[] {
  const directions = directionsOf(nodes)
  const cases: GraphCase[] = []
  if (nodes === 3) {
    for (const before of ['no leader', 'stale leader'] as const)
      for (let bits = 0; bits < 1 << directions.length; bits++)
        cases.push({ nodes, before, open: new Set(directions.filter((_, i) => (bits & (1 << i)) !== 0)) })
    return cases
  }
  const prng = new Prng(`${seed}/graphs`)
  for (let i = 0; i < samples; i++) {
    // From hardly connected to hardly cut: a fair coin would mostly draw graphs in which everybody is reached.
    const openPermille = 200 + prng.below(700)
    const open = new Set(directions.filter(() => prng.below(1000) < openPermille))
    cases.push({ nodes, before: i % 2 === 0 ? 'no leader' : 'stale leader', open })
  }
  return cases
}

function directionsOf(nodes: number): string[] {
  const directions: string[] = []
  for (let a = 1; a <= nodes; a++) for (let b = a + 1; b <= nodes; b++) directions.push(`${a}>${b}`, `${b}>${a}`)
  return directions
}

/** Nodes that reach a quorum both ways. */
export function hubsOf(graph: GraphCase): number[] {
  const all = Array.from({ length: graph.nodes }, (_, i) => i + 1)
  return all.filter((node) => reachedBy(graph, node).length + 1 > graph.nodes / 2)
}

/** The others that a node reaches both ways. */
function reachedBy({ nodes, open }: GraphCase, node: number): number[] {
  const all = Array.from({ length: nodes }, (_, i) => i + 1)
  return all.filter((other) => open.has(`${node}>${other}`) && open.has(`${other}>${node}`))
}

/** `1⇄2 1→3 2 3`: every pair, and how it is connected. */
export function drawn({ nodes, open }: GraphCase): string {
  const pairs: string[] = []
  for (let a = 1; a <= nodes; a++) {
    for (let b = a + 1; b <= nodes; b++) {
      const [there, back] = [open.has(`${a}>${b}`), open.has(`${b}>${a}`)]
      pairs.push(`${a}${there ? (back ? '⇄' : '→') : back ? '←' : ' '}${b}`)
    }
  }
  return pairs.join('  ')
}

function scenarioOf({ nodes }: GraphCase, seed: number): Scenario {
  return {
    seed,
    nodes,
    replication: nodes,
    topics: [{ name: 'graph', partitions: 1 }],
    producers: [],
    consumers: [],
    durationMs: 0,
    networkUs: [300, 900],
    diskUs: [200, 600],
    journalSegmentBytes: 1 << 20,
    shardSegmentBytes: 1 << 20,
    shardLogFlushBytes: 16 << 10,
    tailCacheBytes: 1 << 20,
    faults: [],
  }
}

interface Leadership {
  readonly shard: number
  readonly node: number
  readonly term: number
}

class GraphRun {
  readonly #graph: GraphCase
  readonly #hubs: readonly number[]
  readonly #world: World
  readonly #leaderships = new Leaderships()
  readonly #elections = new ElectionSafety()
  readonly #probe: WriteProbe
  /** Leaders who reach a quorum, by shard: they must stay. */
  #mustStay: readonly Leadership[] = []

  constructor(graph: GraphCase, seed: number) {
    this.#graph = graph
    this.#hubs = hubsOf(graph)
    const world = new World(scenarioOf(graph, seed))
    this.#world = world
    const history = new OneHistory(world)
    world.checkers.push(
      this.#elections,
      history,
      new OneVote(),
      new Marks(world),
      new Acknowledged(world),
      this.#leaderships,
    )
    this.#probe = new WriteProbe(world)
  }

  async run(): Promise<GraphResult> {
    const world = this.#world
    let servedAfterMs: number | null = null
    let elections = 0
    let leaders: readonly number[] = []
    let heldBack = false
    if (await this.#forms()) {
      const startedAt = world.now()
      const electionsBefore = this.#elections.elections
      this.#impose()
      if (this.#graph.before === 'stale leader') this.#mustStay = this.#leadersHeard()
      servedAfterMs = await this.#underTheGraph(startedAt)
      elections = this.#elections.elections - electionsBefore
      leaders = this.#leaderships.of(this.#probe.shard)
      heldBack = this.#hubs.length > 0 && servedAfterMs === null
      this.#nobodyElseLeads()
      this.#mustStay = this.#leadersHeard()
      await this.#heals()
    }
    const { violation, timeline, traceHash: hash } = world
    return {
      graph: this.#graph,
      hubs: this.#hubs,
      violation,
      servedAfterMs,
      elections,
      leaders,
      heldBack,
      timeline,
      hash,
    }
  }

  async #forms(): Promise<boolean> {
    const world = this.#world
    for (const node of world.nodes) world.startNode(node)
    this.#probe.start()
    if (!(await world.runUntil(world.now() + FORMING_MS, () => this.#probe.acknowledged > 0)))
      this.#fail('the cluster forms', `no write in ${FORMING_MS} ms without any fault`)
    return world.violation === null
  }

  #impose(): void {
    const world = this.#world
    world.note(0, `the graph is ${drawn(this.#graph)}`)
    if (this.#graph.before === 'no leader') for (const node of world.nodes) world.crash(node, { power: true })
    for (const direction of directionsOf(this.#graph.nodes)) {
      const [from, to] = direction.split('>')
      if (!this.#graph.open.has(direction)) world.network.cut(`node-${from}`, `node-${to}`)
    }
    if (this.#graph.before === 'no leader') for (const node of world.nodes) world.startNode(node)
    this.#probe.forget()
  }

  async #underTheGraph(startedAt: number): Promise<number | null> {
    const world = this.#world
    const window = TIMEOUTS * ELECTION_TIMEOUT_MS
    if (this.#hubs.length === 0) {
      await world.runUntil(startedAt + 2 * window)
      if (this.#probe.acknowledged > 0)
        this.#fail('nothing is acknowledged without a quorum', 'a write was, and no node reaches a quorum both ways')
      return null
    }
    if (!(await world.runUntil(startedAt + window, () => this.#missing() === null))) {
      if (this.#isHeldBack()) return null
      this.#fail('a leader appears', `${this.#missing()}, ${TIMEOUTS} election timeouts after the graph began`)
      return null
    }
    const servedAfterMs = world.now() - startedAt
    await world.runUntil(startedAt + window)
    const elections = this.#elections.elections
    const terms = this.#leaderships.terms()
    this.#probe.forget()
    await world.runUntil(startedAt + 2 * window)
    if (world.violation !== null) return servedAfterMs
    this.#stay('under the graph')
    if (this.#elections.elections !== elections)
      this.#fail('a leader stays', `${this.#elections.elections - elections} elections in the second ten timeouts`)
    else if (this.#leaderships.terms() !== terms)
      this.#fail('a leader stays', `terms were ${terms}, and are ${this.#leaderships.terms()} ten timeouts later`)
    else if (this.#missing() !== null) this.#fail('a leader stays', must(this.#missing(), 'what is missing'))
    return servedAfterMs
  }

  /** What a cluster that serves lacks here. */
  #missing(): string | null {
    for (const shard of this.#shards)
      if (this.#leaderships.of(shard).every((node) => !this.#hubs.includes(node)))
        return `nobody who reaches a quorum leads shard ${shard}`
    return this.#probe.acknowledged > 0 ? null : 'no write is acknowledged'
  }

  get #shards(): readonly number[] {
    return [METADATA_SHARD, this.#probe.shard]
  }

  #leadersHeard(): Leadership[] {
    return this.#shards.flatMap((shard) =>
      this.#leaderships
        .of(shard)
        .filter((node) => this.#hubs.includes(node))
        .map((node) => ({ shard, node, term: must(this.#leaderships.termOf(shard, node), 'the term of a leader') })),
    )
  }

  #stay(when: string): void {
    for (const { shard, node, term } of this.#mustStay) {
      if (this.#leaderships.handedBack.has(shard) || this.#leaderships.termOf(shard, node) === term) continue
      const now = this.#leaderships.terms()
      this.#fail(
        'a leader whom a quorum hears stays',
        `node ${node} led shard ${shard} in term ${term}; ${when}: ${now}`,
      )
    }
  }

  #nobodyElseLeads(): void {
    for (const shard of this.#shards)
      for (const node of this.#leaderships.of(shard))
        if (!this.#hubs.includes(node))
          this.#fail('a leader without a quorum gives up', `node ${node} reaches no quorum and leads shard ${shard}`)
  }

  /** A shard without a leader has no hub whose log is good enough for a quorum of those that it reaches. */
  #isHeldBack(): boolean {
    const { machines } = this.#world
    return this.#shards.some((shard) => {
      if (this.#leaderships.of(shard).some((node) => this.#hubs.includes(node))) return false
      const ends = machines.map(({ id, shadow }) => {
        const index = this.#world.durableLastIndex(id, shard)
        return { index, term: shadow.entryAt(shard, index)?.term ?? 0 }
      })
      return this.#hubs.every((hub) => {
        const own = must(ends[hub - 1], 'the end of a log')
        const wouldVote = [hub, ...reachedBy(this.#graph, hub)].filter((node) => {
          const { term, index } = must(ends[node - 1], 'the end of a log')
          return term < own.term || (term === own.term && index <= own.index)
        })
        return wouldVote.length <= this.#graph.nodes / 2
      })
    })
  }

  async #heals(): Promise<void> {
    const world = this.#world
    if (world.violation !== null) return
    world.note(0, 'all heals')
    world.network.heal()
    this.#probe.stop()
    const convergence = new Convergence(world.machines, world.replicaSets)
    const wrong = (): string | null => convergence.wrong(world.nodes)
    if (!(await world.runUntil(world.now() + HEALING_MS, () => wrong() === null)))
      this.#fail('all is well again after the faults', `${wrong()}, ${HEALING_MS} ms after the graph ended`)
    else this.#stay('after the healing')
  }

  #fail(property: string, what: string): void {
    this.#world.fail(new Violation(property, what))
  }
}
