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
import { createHash } from 'node:crypto'
import { type LogLine, type NodeError, TidemarkNode, type TraceFile } from '../src/node.ts'
import type { NodeEvent } from '../src/observability/index.ts'
import type { Clock, Disk, Network, Timer } from '../src/platform/index.ts'
import { MemoryDisk, MemoryNetwork } from '../src/platform/memory/index.ts'
import { must, Prng } from '../src/stdx/index.ts'
import type { Checker, ClientEvent, Truth } from './observer.ts'
import { Gate, revocable } from './revocable-platform.ts'
import type { Scenario } from './scenario.ts'
import { SeededRandom } from './seeded-random.ts'
import { ShadowDisk } from './shadow-disk.ts'
import { withoutRealTime } from './traps.ts'
import { Violation } from './violation.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Puts something between a node and its disk or network; see mutants.ts. */
export interface Interference {
  readonly disk?: (node: number, disk: Disk, clock: Clock) => Disk
  /** Below the shadow, which then believes what it sees. */
  readonly diskBelow?: (node: number, disk: Disk, clock: Clock) => Disk
  readonly network?: (node: number, network: Network) => Network
}

export const DATA = '/tidemark'
const KAFKA_PORT = 9092
const PEER_PORT = 7400
/** Events between two looks at the real event loop, when no promise is pending. */
const BATCH_EVENTS = 5000
const TIMELINE_MAX = 3000
/** How often, in virtual time, a condition is looked at. */
const LOOK_EVERY_MS = 50
const never = (): boolean => false

/** One computer: what survives its processes. */
export interface SimulatedMachine {
  readonly id: number
  readonly host: string
  readonly shadow: ShadowDisk
  disk: MemoryDisk
  gate: Gate
  node: TidemarkNode | null
  state: 'down' | 'starting' | 'up' | 'stopping'
  /** The so-manieth process. */
  process: number
  wallOffsetMs: number
  diskFactor: number
  networkFactor: number
  /** Why it stopped itself, when it was made to. */
  expectsToStop: boolean
  onStopped: (() => void) | null
}

export class World implements Truth {
  readonly scenario: Scenario
  readonly clock = new VirtualClock()
  readonly network: MemoryNetwork
  readonly machines: SimulatedMachine[]
  readonly nodes: readonly number[]
  readonly checkers: Checker[] = []
  violation: Violation | null = null
  events = 0
  readonly timeline: string[] = []
  readonly #hash = createHash('sha256')
  readonly #interference: Interference
  readonly #networkPrng: Prng
  readonly #diskPrng: Prng
  readonly #crashRandom: SeededRandom
  /** Starts and stops under way: promises are pending. */
  #asyncWork = 0
  /** Last known leader by shard. */
  readonly leaders = new Map<number, number>()
  crashes = 0
  #closed = false

  constructor(scenario: Scenario, interference: Interference = {}) {
    const { seed, networkUs } = scenario
    this.scenario = scenario
    this.#interference = interference
    this.#networkPrng = new Prng(`${seed}/network`)
    this.#diskPrng = new Prng(`${seed}/disk`)
    this.#crashRandom = new SeededRandom(`${seed}/crash`)
    this.network = new MemoryNetwork(
      {
        latencyMs: (from, to) =>
          (between(this.#networkPrng, networkUs) * this.#networkFactor(from) * this.#networkFactor(to)) / 1000,
        connectTimeoutMs: 2000,
        scribble: true,
      },
      { clock: this.clock, random: new SeededRandom(`${seed}/pieces`) },
    )
    this.nodes = Array.from({ length: scenario.nodes }, (_, i) => i + 1)
    this.machines = this.nodes.map((id) => ({
      id,
      host: `node-${id}`,
      shadow: new ShadowDisk((shard, term, vote) => this.#check((checker) => checker.vote?.(id, shard, term, vote))),
      disk: new MemoryDisk({}, { clock: this.#diskClock(id) }),
      gate: new Gate(),
      node: null,
      state: 'down',
      process: 0,
      wallOffsetMs: 0,
      diskFactor: 1,
      networkFactor: 1,
      expectsToStop: false,
      onStopped: null,
    }))
  }

  // ── what checkers may ask ─────────────────────────────────────────────────────────────────────────────────────────────

  now(): number {
    return this.clock.now()
  }

  quorumOf(shard: number): number {
    const voters = shard === 1 ? this.nodes.length : this.scenario.replication
    return Math.floor(voters / 2) + 1
  }

  durableEntry(node: number, shard: number, index: number) {
    return this.machine(node).shadow.entryAt(shard, index)
  }

  durableLastIndex(node: number, shard: number): number {
    return this.machine(node).shadow.lastIndex(shard)
  }

  machine(id: number): SimulatedMachine {
    return must(this.machines[id - 1], `machine ${id}`)
  }

  get bootstrap() {
    return this.machines.map(({ host }) => ({ host, port: KAFKA_PORT }))
  }

  get traceHash(): string {
    return this.#hash.copy().digest('hex')
  }

  // ── machines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  startNode(id: number): void {
    const machine = this.machine(id)
    if (machine.state !== 'down' || this.#closed) return
    const { host, shadow } = machine
    const { seed, journalSegmentBytes, shardSegmentBytes, shardLogFlushBytes, tailCacheBytes } = this.scenario
    const gate = new Gate()
    machine.gate = gate
    machine.state = 'starting'
    machine.process++
    machine.expectsToStop = false
    gate.onError = (error) => this.#nodeFailed(id, gate, error)
    this.note(id, machine.process === 1 ? 'starts' : `starts again (process ${machine.process})`)
    this.#check((checker) => checker.started?.(id))
    const diskClock = this.#diskClock(id)
    const watched = shadow.watch(this.#interference.diskBelow?.(id, machine.disk, diskClock) ?? machine.disk)
    const platform = revocable(gate, {
      clock: this.#wallClock(machine),
      disk: this.#interference.disk?.(id, watched, diskClock) ?? watched,
      network: this.#interference.network?.(id, this.network.host(host)) ?? this.network.host(host),
      random: new SeededRandom(`${seed}/node ${id}/process ${machine.process}`),
    })
    const members =
      this.nodes.length === 1
        ? []
        : this.nodes.map((each) => ({ id: each, peer: { host: `node-${each}`, port: PEER_PORT } }))
    const started = TidemarkNode.start(
      {
        id,
        data: DATA,
        kafka: { host, port: KAFKA_PORT },
        http: { host, port: 9644 },
        peer: { host, port: PEER_PORT },
        cluster: members,
        advertiseKafka: null,
        advertisePeer: null,
        rack: null,
        allowInsecure: true,
        defaultPartitions: 1,
        groupInitialRebalanceDelayMs: 0,
      },
      {
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
        tuning: { host: { tailCacheBytes }, storage: { journalSegmentBytes, shardSegmentBytes, shardLogFlushBytes } },
      },
    )
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
    this.note(id, options.power ? 'LOSES POWER' : 'IS KILLED')
    this.#end(machine)
    this.network.crash(machine.host, { silent: options.silent === true })
    machine.disk = options.power ? machine.disk.powerLoss(this.#crashRandom) : machine.disk.kill(this.#crashRandom)
    machine.shadow.crashed()
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
    const machine = this.machine(id)
    this.note(id, `stops itself: ${error.message}`)
    if (!machine.expectsToStop) return this.fail(new Violation('nodes stay up', `node ${id}: ${error.message}`))
    // Its process is gone before the next thing happens to it.
    this.clock.after(0, () => {
      if (machine.gate === gate && !gate.isClosed) machine.onStopped?.()
    })
  }

  #nodeFailed(id: number, gate: Gate, error: Error): void {
    if (gate.isClosed) return
    if (error instanceof Violation) return this.fail(error)
    const machine = this.machine(id)
    if (machine.expectsToStop) {
      this.note(id, `fails as it must: ${error.message}`)
      machine.onStopped?.()
      return
    }
    this.fail(new Violation('nodes stay up', `node ${id}: ${error.stack ?? error.message}`))
  }

  // ── clocks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What a disk asks for at the end of the turn takes as long as the disk does. */
  #diskClock(id: number): Clock {
    const { clock } = this
    const { diskUs } = this.scenario
    return {
      now: () => clock.now(),
      wall: () => clock.wall(),
      after: (delayMs, callback) => clock.after(delayMs, callback),
      every: (intervalMs, callback) => clock.every(intervalMs, callback),
      endOfTurn: (callback) => {
        clock.after((between(this.#diskPrng, diskUs) * this.machine(id).diskFactor) / 1000, callback)
      },
    }
  }

  #wallClock(machine: SimulatedMachine): Clock {
    const { clock } = this
    return {
      now: () => clock.now(),
      wall: () => clock.wall() + machine.wallOffsetMs,
      after: (delayMs, callback): Timer => clock.after(delayMs, callback),
      every: (intervalMs, callback): Timer => clock.every(intervalMs, callback),
      endOfTurn: (callback) => clock.endOfTurn(callback),
    }
  }

  #networkFactor(host: string): number {
    const id = Number(host.slice('node-'.length))
    return Number.isInteger(id) ? (this.machines[id - 1]?.networkFactor ?? 1) : 1
  }

  // ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #observe(node: number, gate: Gate, observed: NodeEvent): void {
    // A process that crashed in the middle of a function is not there to tell.
    if (gate.isClosed) return
    this.#hash.update(`${this.clock.now()} ${node} ${JSON.stringify(observed.event)}\n`)
    const { event } = observed
    if (event.type === 'standing-changed' && event.role === 'leader') this.leaders.set(event.shard, node)
    if (event.type === 'log-truncated')
      this.note(
        node,
        `shard ${event.shard} loses what is above index ${event.fromIndex - 1} (term ${event.term}, it ended at ${event.lastIndex})`,
      )
    this.#check((checker) => checker.node?.(node, observed))
  }

  client(event: ClientEvent): void {
    const hashed = event.type === 'fetched' ? { ...event, records: event.records.length } : event
    this.#hash.update(`${this.clock.now()} ${JSON.stringify(hashed)}\n`)
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
  async runUntil(untilMs: number, done: () => boolean = never): Promise<boolean> {
    for (;;) {
      if (this.violation !== null || done()) return true
      if (this.clock.now() >= untilMs) return false
      if (this.#asyncWork > 0) await settled()
      const batchUntilMs = done === never ? untilMs : Math.min(untilMs, this.clock.now() + LOOK_EVERY_MS)
      withoutRealTime(() => this.#runBatch(batchUntilMs, this.#asyncWork > 0 ? 1 : BATCH_EVENTS))
    }
  }

  #runBatch(untilMs: number, events: number): void {
    for (let i = 0; i < events; i++) {
      const next = this.clock.nextMs
      if (next === null || next > untilMs) {
        this.clock.advance(Math.max(0, untilMs - this.clock.now()))
        return
      }
      this.events++
      this.clock.step()
      if (this.violation !== null || this.#asyncWork > 0) return
    }
  }
}

/** All promises that can go on have gone on when the real loop's next turn comes. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function between(prng: Prng, [low, high]: readonly [number, number]): number {
  return low + prng.below(high - low + 1)
}
