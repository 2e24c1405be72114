/**
 * A whole cluster in one thread on virtual time: real nodes, each on a platform of its own that can be taken away.
 *
 *      clock ─► event ─► one node's turn ─► its disk, the network ─► events to come
 *                            │
 *                            └─► what it tells (NodeEvent) ─► hash, timeline, checkers
 *
 * Events run back to back in plain function calls. Only where a node starts or stops (the one place where the product uses
 * promises) the loop steps out between two events and lets all of them settle, as the real event loop does after each
 * callback. While events run, real time and real randomness are set to throw: whatever reaches for them would make a seed mean
 * two things.
 *
 * The same seed gives the same sequence of events, byte for byte; `hash` is what two runs compare.
 */
import { type LogLine, type NodeError, TidemarkNode, type TraceFile } from '../src/node.ts'
import type { NodeEvent } from '../src/observability/index.ts'
import type { Clock, Disk, Network } from '../src/platform/index.ts'
import { MemoryDisk, MemoryNetwork, type SectorLoss } from '../src/platform/memory/index.ts'
import type { ShardSpec } from '../src/replication/index.ts'
import { must, Prng } from '../src/stdx/index.ts'
import { DiskTroubles, type Outcome } from './disk/troubles.ts'
import { EventLoop } from './event-loop.ts'
import type { KafkaClient } from './kafka-client.ts'
import type { SimulatedMachine } from './machine.ts'
import { diskClock, MachineClock } from './machine-clock.ts'
import { Delays, STEADY_NETWORK } from './network/delays.ts'
import { Taps } from './network/taps.ts'
import { DATA, KAFKA_PORT, optionsOf, PEER_PORT, tuningOf } from './node-settings.ts'
import type { Checker, ClientEvent, Truth } from './observer.ts'
import { ReplicaSets } from './replica-sets.ts'
import { Gate, revocable } from './revocable-platform.ts'
import type { Scenario } from './scenario/scenario.ts'
import { Buggify, SeededRandom } from './seeded-random.ts'
import { ShadowDisk } from './shadow-disk.ts'
import { Trace } from './trace.ts'
import { Violation } from './violation.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Puts something between a node and its disk or network; see mutants.ts. */
export interface Interference {
  readonly disk?: (node: number, disk: Disk, clock: Clock) => Disk
  /** Below the shadow, which then believes what it sees. */
  readonly diskBelow?: (node: number, disk: Disk, clock: Clock) => Disk
  readonly network?: (node: number, network: Network) => Network
  /** Between a workload and what it is told. */
  readonly client?: (name: string, client: KafkaClient) => KafkaClient
}

export { DATA, PEER_PORT } from './node-settings.ts'

const TIMELINE_MAX = 3000

export class World implements Truth {
  readonly scenario: Scenario
  readonly clock = new VirtualClock()
  readonly network: MemoryNetwork
  readonly delays: Delays
  readonly taps = new Taps({ peerPort: PEER_PORT })
  readonly buggify: Buggify
  readonly replicaSets: ReplicaSets
  readonly machines: SimulatedMachine[]
  readonly nodes: readonly number[]
  readonly checkers: Checker[] = []
  violation: Violation | null = null
  readonly timeline: string[] = []
  readonly #trace = new Trace()
  readonly #loop = new EventLoop(this.clock, {
    isOver: () => this.violation !== null,
    hasPromises: () => this.#asyncWork > 0,
    violated: (violation) => this.fail(violation),
  })
  readonly #interference: Interference
  readonly #diskPrng: Prng
  readonly #crashRandom: SeededRandom
  readonly #sectors: SectorLoss | undefined
  /** Starts and stops under way: promises are pending. */
  #asyncWork = 0
  /** Last known leader by shard. */
  readonly leaders = new Map<number, number>()
  crashes = 0
  /** Machines that nobody starts. */
  readonly held = new Set<number>()
  /** What nodes have told, by layer and type: a branch that was never taken was never tested. */
  readonly reached = new Map<string, number>()
  /** Faults that wait for a moment. */
  readonly listeners = new Set<(node: number, event: NodeEvent['event']) => void>()
  /** Shards whose removal is committed. */
  readonly #removed = new Set<number>()
  /** Shards of the workloads' own, for the process that `gate` belongs to. */
  ownShards: (node: number, gate: Gate) => readonly ShardSpec[] = () => []
  readonly #starts = new Map<string, () => void>()
  #closed = false

  constructor(scenario: Scenario, interference: Interference = {}) {
    const { seed, networkUs, network } = scenario
    this.scenario = scenario
    this.#interference = interference
    this.delays = new Delays(seed, networkUs, network ?? STEADY_NETWORK, () => this.clock.now())
    this.buggify = new Buggify(seed, scenario.buggify ?? { activePermille: 0, firePermille: 0 })
    this.#diskPrng = new Prng(`${seed}/disk`)
    this.#crashRandom = new SeededRandom(`${seed}/crash`)
    if (scenario.sectors !== undefined)
      this.#sectors = { ...scenario.sectors, random: new SeededRandom(`${seed}/sectors`) }
    this.network = new MemoryNetwork(
      {
        latencyMs: (from, to, bytes) => this.delays.travelMs(from, to, bytes),
        connectTimeoutMs: 2000,
        scribble: true,
      },
      { clock: this.clock, random: new SeededRandom(`${seed}/pieces`) },
    )
    this.nodes = Array.from({ length: scenario.nodes }, (_, i) => i + 1)
    this.machines = this.nodes.map((id) => ({
      id,
      host: `node-${id}`,
      shadow: new ShadowDisk(
        (shard, term, vote) => {
          if (!this.#removed.has(shard)) this.#check((checker) => checker.vote?.(id, shard, term, vote))
        },
        (entry) => {
          if (!this.#removed.has(entry.shard)) this.#check((checker) => checker.durable?.(id, entry))
        },
        (checkpoint) => this.#check((checker) => checker.checkpointed?.(id, checkpoint)),
      ),
      disk: new MemoryDisk(
        {},
        {
          clock: diskClock(
            this.clock,
            () => (between(this.#diskPrng, scenario.diskUs) * this.machine(id).diskFactor) / 1000,
          ),
        },
      ),
      clock: new MachineClock(this.clock),
      gate: new Gate(),
      node: null,
      state: 'down',
      process: 0,
      diskFactor: 1,
      troubles: new DiskTroubles(DATA),
    }))
    this.replicaSets = new ReplicaSets(scenario, this.machines)
    for (const machine of this.machines) machine.disk.condition = machine.troubles
  }

  // ── what checkers may ask ─────────────────────────────────────────────────────────────────────────────────────────────

  now(): number {
    return this.clock.now()
  }

  quorumOf(shard: number): number {
    return this.replicaSets.quorumOf(shard)
  }

  durableEntry(node: number, shard: number, index: number) {
    return this.machine(node).shadow.entryAt(shard, index)
  }

  replacedEntry(node: number, shard: number, index: number) {
    return this.machine(node).shadow.replacedAt(shard, index)
  }

  durableLastIndex(node: number, shard: number): number {
    return this.machine(node).shadow.lastIndex(shard)
  }

  machine(id: number): SimulatedMachine {
    return must(this.machines[id - 1], `machine ${id}`)
  }

  /** The network as this machine sees it, or the host of all clients. */
  networkOf(host: string): Network {
    return this.taps.host(host, this.network.host(host))
  }

  get events(): number {
    return this.#loop.events
  }

  get bootstrap() {
    return this.machines.map(({ host }) => ({ host, port: KAFKA_PORT }))
  }

  get traceHash(): string {
    return this.#trace.digest
  }

  // ── machines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  startNode(id: number): void {
    const machine = this.machine(id)
    if (machine.state !== 'down' || this.#closed || this.held.has(id)) return
    const { host, shadow } = machine
    const { seed } = this.scenario
    const gate = new Gate()
    machine.gate = gate
    machine.state = 'starting'
    machine.process++
    machine.troubles.started()
    gate.onError = (error) => this.#nodeFailed(id, gate, error)
    this.note(id, machine.process === 1 ? 'starts' : `starts again (process ${machine.process})`)
    this.#check((checker) => checker.started?.(id))
    const clockOfDisk = diskClock(
      this.clock,
      () => (between(this.#diskPrng, this.scenario.diskUs) * machine.diskFactor) / 1000,
    )
    let watched = shadow.watch(this.#interference.diskBelow?.(id, machine.disk, clockOfDisk) ?? machine.disk)
    let network = this.networkOf(host)
    for (const checker of this.checkers) {
      watched = checker.watchDisk?.(id, watched) ?? watched
      network = checker.watchNetwork?.(id, network) ?? network
    }
    const platform = revocable(gate, {
      clock: machine.clock,
      disk: this.#interference.disk?.(id, watched, clockOfDisk) ?? watched,
      network: this.#interference.network?.(id, network) ?? network,
      random: new SeededRandom(`${seed}/node ${id}/process ${machine.process}`, {
        chancePermille: (site) => this.buggify.permille(site),
        fired: (site) => this.buggify.fired(site),
      }),
    })
    const started = TidemarkNode.start(optionsOf(id, this.nodes, this.scenario), {
      platform,
      log: (line: LogLine) => {
        if (gate.isOpen) this.note(id, line.message)
      },
      terminated: (error) => this.#terminated(id, gate, error),
      dashboardDirectory: '/',
      version: 'simulated',
      memoryBytes: () => 0,
      traceFile: { note: (observed: NodeEvent) => this.#observe(id, gate, observed) } as TraceFile,
      withHttp: false,
      ownShards: this.ownShards(id, gate),
      tuning: tuningOf(this.scenario),
    })
    this.#starts.get(`${id}/${machine.process}`)?.()
    const over = this.#pending(gate)
    started.then(
      (node) => {
        over()
        if (gate.isClosed) return
        machine.node = node
        machine.state = 'up'
      },
      (error: Error) => {
        over()
        this.#nodeFailed(id, gate, error)
      },
    )
  }

  /** Called when the so-manieth process of a machine has begun. */
  onStart(id: number, process: number, begun: () => void): void {
    this.#starts.set(`${id}/${process}`, begun)
  }

  /** Promises are pending until the answer is called, or until their process dies: then they never settle. */
  #pending(gate: Gate): () => void {
    let counted = true
    this.#asyncWork++
    const over = (): void => {
      if (counted) this.#asyncWork--
      counted = false
    }
    gate.onClosed = over
    return over
  }

  /** The process ends; with `power` its machine does. `silent`: nobody is told that its connections are gone. */
  crash(id: number, options: { readonly power: boolean; readonly silent?: boolean }): void {
    const machine = this.machine(id)
    if (machine.state === 'down') return
    this.crashes++
    // What a disk only pretended to have synced is lost with the power: beyond what one machine may do to the others.
    const power = options.power && machine.troubles.mayLosePower
    this.note(id, power ? 'LOSES POWER' : 'IS KILLED')
    this.#end(machine)
    this.taps.crash(machine.host)
    this.network.crash(machine.host, { silent: options.silent === true })
    machine.disk = power
      ? machine.disk.powerLoss(this.#crashRandom, this.#sectors)
      : machine.disk.kill(this.#crashRandom)
    machine.shadow.crashed()
  }

  /** The machine, which is down, has an empty disk from now on. */
  wipe(id: number): void {
    const machine = this.machine(id)
    machine.disk = machine.disk.replacedBy(null)
    machine.shadow.replaced()
    this.#check((checker) => checker.wiped?.(id))
  }

  /** All machines lose power, and none starts again: only their disks are left. */
  close(): void {
    this.#closed = true
    for (const { id } of this.machines) this.crash(id, { power: true })
  }

  /** Asks it to stop, as an operator would. `done(false)`: it crashed before it had. */
  stopNode(id: number, done: (stopped: boolean) => void): void {
    const machine = this.machine(id)
    const { node, gate } = machine
    if (machine.state !== 'up' || node === null) return done(false)
    machine.state = 'stopping'
    this.note(id, 'is asked to stop')
    const over = this.#pending(gate)
    gate.onClosed = () => {
      over()
      done(false)
    }
    node.stop().then(
      () => {
        over()
        if (gate.isClosed) return
        gate.onClosed = () => {}
        this.note(id, 'has stopped')
        this.#end(machine)
        this.taps.crash(machine.host)
        this.network.crash(machine.host)
        machine.disk = machine.disk.kill(this.#crashRandom)
        machine.shadow.crashed()
        done(true)
      },
      (error: Error) => {
        over()
        this.#nodeFailed(id, gate, error)
      },
    )
  }

  #end(machine: SimulatedMachine): void {
    const { gate } = machine
    gate.close()
    gate.onClosed()
    gate.onClosed = () => {}
    machine.node = null
    machine.state = 'down'
  }

  #terminated(id: number, gate: Gate, error: NodeError): void {
    if (gate.isClosed) return
    this.note(id, `stops itself: ${error.message}`)
    this.#gaveUp(id, gate, error, 'stopped')
  }

  /** It may, if something ails its disk that excuses this very error. */
  #gaveUp(id: number, gate: Gate, error: Error, outcome: Outcome): void {
    const machine = this.machine(id)
    const because = machine.troubles.excuse(error, outcome)
    if (because === null)
      return this.fail(new Violation('nodes stay up', `node ${id}: ${error.stack ?? error.message}`))
    this.note(id, `may do that: ${because.fault}`)
    // Its process is gone before the next thing happens to it.
    this.clock.after(0, () => {
      if (machine.gate === gate && !gate.isClosed) machine.troubles.onStopped(because)
    })
  }

  #nodeFailed(id: number, gate: Gate, error: Error): void {
    if (gate.isClosed) return
    if (error instanceof Violation) return this.fail(error)
    this.note(id, `gives up: ${error.message}`)
    this.#gaveUp(id, gate, error, this.machine(id).state === 'starting' ? 'refused' : 'stopped')
  }

  // ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #observe(node: number, gate: Gate, observed: NodeEvent): void {
    // A process that crashed in the middle of a function is not there to tell.
    if (gate.isClosed) return
    this.#trace.note(this.clock.now(), node, observed.event)
    const { event } = observed
    const branch = event.type === 'recovery-done' ? `${event.type}: ${event.ending}` : event.type
    this.reached.set(branch, (this.reached.get(branch) ?? 0) + 1)
    if (event.type === 'topic-removed') for (const shard of event.shards) this.#removed.add(shard)
    if (event.type === 'standing-changed' && event.role === 'leader') this.leaders.set(event.shard, node)
    if (event.type === 'log-truncated')
      this.note(
        node,
        `shard ${event.shard} loses what is above index ${event.fromIndex - 1} (term ${event.term}, it ended at ${event.lastIndex})`,
      )
    // Whoever has not heard of the removal, or has forgotten it in a crash, may still do anything to it: nobody counts on it.
    if ('shard' in event && this.#removed.has(event.shard)) return
    this.#check((checker) => checker.node?.(node, observed))
    for (const listener of [...this.listeners]) listener(node, event)
  }

  client(event: ClientEvent): void {
    this.#trace.note(this.clock.now(), 0, event)
    if (event.type === 'produce-failed')
      this.note(0, `${event.client} ${event.topic}/${event.partition}: ${event.reason}`)
    this.#check((checker) => checker.client?.(event))
  }

  #check(tell: (checker: Checker) => void): void {
    if (this.violation !== null) return
    try {
      for (const checker of this.checkers) tell(checker)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.fail(error)
    }
  }

  fail(violation: Violation): void {
    if (this.violation !== null) return
    this.violation = violation
    this.note(0, `VIOLATION of "${violation.property}": ${violation.message}`)
  }

  /** A line for people; node 0 is nobody's. */
  note(node: number, text: string): void {
    const at = (this.clock.now() / 1000).toFixed(6).padStart(11)
    this.timeline.push(`${at}  ${node === 0 ? '      ' : `node ${node}`}  ${text}`)
    if (this.timeline.length > TIMELINE_MAX) this.timeline.splice(0, TIMELINE_MAX / 2)
  }

  /** Lets time pass until `done` says so or the moment comes. False: the moment came. */
  runUntil(untilMs: number, done?: () => boolean): Promise<boolean> {
    return this.#loop.runUntil(untilMs, done)
  }
}

function between(prng: Prng, [low, high]: readonly [number, number]): number {
  return low + prng.below(high - low + 1)
}
