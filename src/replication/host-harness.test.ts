/**
 * Three hosts in virtual time, each with its own disk in memory and the real storage layer on it. The wire is the smallest
 * thing that keeps `Wire`'s promise: messages arrive in order a turn later, or the link is down and both sides are told.
 */
import { SeededRandom } from '../../simulator/seeded-random.ts'
import { VirtualClock } from '../../simulator/virtual-clock.ts'
import { type Disk, type DiskFile, diskThrough, type Platform } from '../platform/index.ts'
import { MemoryDisk, MemoryNetwork } from '../platform/memory/index.ts'
import { assert, must } from '../stdx/index.ts'
import { Storage, type StorageOptions } from '../storage/index.ts'
import type { Disks } from './disks.ts'
import type { RaftEvent } from './events.ts'
import { ReplicationHost } from './host.ts'
import type { HostEvent } from './host-events.ts'
import { HOST_DEFAULTS, type HostOptions, type LogOffsets } from './host-options.ts'
import { TestMachine } from './keyed-harness.test.ts'
import { LamportClock } from './lamport.ts'
import type { Message, NodeId } from './messages.ts'
import type { Replica } from './replica.ts'
import type { Shard, StateMachine } from './state-machine.ts'

export const SHARD = 16

export class TestHost {
  readonly id: NodeId
  readonly host: ReplicationHost
  readonly storage: Storage
  readonly machines = new Map<number, TestMachine>()
  holdsAppends = false
  readonly #world: HostWorld

  constructor(world: HostWorld, id: NodeId, storage: Storage, platform: Platform) {
    this.id = id
    this.#world = world
    this.storage = storage
    this.host = new ReplicationHost(
      { self: id, ...HOST_DEFAULTS, ...world.options },
      {
        platform,
        storage,
        wire: {
          send: (to, message) => world.send(id, to, message),
          isUp: (node) => world.isUp(id, node),
          queuedBytes: (node) => world.queuedBytes.get(node) ?? 0,
        },
        contact: {
          alive: (node) => world.isUp(id, node),
          answeredAt: (node) => (world.isUp(id, node) ? world.clock.now() : Number.NEGATIVE_INFINITY),
        },
        disks: world.disksAt(id),
        lamport: new LamportClock(storage.highestStamp),
        trace: (event) => {
          world.events.push({ node: id, event })
          if (event.type === 'leader-stepped-down') world.steppedDown.push([id, event.reason])
        },
        standingChanged: () => {},
        endOfTurn: () => {},
        holdAppends: (hold) => {
          this.holdsAppends = hold
        },
        fatal: (error) => {
          throw error
        },
      },
    )
  }

  open(shard: number, voters: readonly NodeId[], origin: LogOffsets = { baseOffset: 0, startOffset: 0 }): Replica {
    return this.host.open({
      shard,
      voters,
      learners: [],
      origin,
      machine: (handle) => {
        if (this.#world.machine !== null) return this.#world.machine(this.id, handle)
        const machine = new TestMachine(handle)
        if (this.#world.holdsRecords) Object.defineProperty(machine, 'cutBySnapshot', { value: false })
        this.machines.set(shard, machine)
        return machine
      },
    })
  }

  get replica(): Replica {
    return must(this.host.replica(SHARD), 'the shard')
  }

  get machine(): TestMachine {
    return must(this.machines.get(SHARD), 'the machine')
  }
}

export class HostWorld {
  readonly clock = new VirtualClock()
  readonly options: Partial<HostOptions>
  /** Instead of a `TestMachine`. */
  machine: ((node: NodeId, shard: Shard) => StateMachine) | null = null
  readonly events: { readonly node: NodeId; readonly event: RaftEvent | HostEvent }[] = []
  readonly #disks = new Map<NodeId, MemoryDisk>()
  readonly #random = new SeededRandom('hosts')
  readonly #nodes = new Map<NodeId, TestHost>()
  /** Links that are down, as `a-b` with the smaller id first. */
  readonly #down = new Set<string>()
  /** Counts of what was sent, by message type. */
  readonly sent = new Map<string, number>()
  /** Messages that are lost on their way. */
  lost: (from: NodeId, to: NodeId, message: Message) => boolean = () => false
  /** What the system has not taken of what was sent to them. */
  readonly queuedBytes = new Map<NodeId, number>()
  /** Disks whose syncs do not return for as long as the test says so. */
  readonly stuck = new Set<NodeId>()
  #stuckSyncs: (() => void)[] = []
  /** What all nodes know of each other's disks. */
  readonly lowDisks = new Set<NodeId>()
  readonly stuckDisks = new Set<NodeId>()
  readonly unheardDisks = new Set<NodeId>()
  /** Machines whose log is the data itself. */
  holdsRecords = false
  readonly steppedDown: [NodeId, string][] = []
  /** Of nodes that are started from now on. */
  storageOptions: Partial<StorageOptions> = {}

  constructor(options: Partial<HostOptions> = {}) {
    this.options = options
  }

  disksAt(self: NodeId): Disks {
    const { lowDisks, stuckDisks, unheardDisks } = this
    return {
      get allWell() {
        return lowDisks.size + stuckDisks.size + unheardDisks.size === 0
      },
      get low() {
        return lowDisks.has(self) ? `node ${self} is low` : null
      },
      get stuck() {
        return stuckDisks.has(self)
      },
      isLow: (node) => lowDisks.has(node),
      mayBeLow: (node) => lowDisks.has(node) || unheardDisks.has(node),
      isWell: (node) => !lowDisks.has(node) && !stuckDisks.has(node),
    }
  }

  /** These disks are low from now on, and no others. */
  low(...nodes: NodeId[]): void {
    this.lowDisks.clear()
    for (const node of nodes) this.lowDisks.add(node)
    for (const { host } of this.nodes) host.disksChanged()
  }

  node(id: NodeId): TestHost {
    return must(this.#nodes.get(id), `node ${id}`)
  }

  get nodes(): TestHost[] {
    return [...this.#nodes.values()]
  }

  /** Starts these nodes, with `SHARD` on all of them where `voters` says so. */
  start(ids: readonly NodeId[], voters: readonly NodeId[] | null = null, origin?: LogOffsets): void {
    for (const id of ids) this.#start(id)
    for (const id of ids) if (voters !== null) this.node(id).open(SHARD, voters, origin)
    for (const id of ids) for (const peer of this.#nodes.keys()) if (peer !== id) this.#announce(id, peer, true)
  }

  #start(id: NodeId): void {
    const disk = this.#disks.get(id) ?? new MemoryDisk({ powerLoss: true }, { clock: this.clock })
    this.#disks.set(id, disk)
    const network = new MemoryNetwork({}, { clock: this.clock }).host(`node-${id}`)
    const platform: Platform = {
      clock: this.clock,
      disk: this.#sticky(id, disk),
      network,
      random: new SeededRandom(`node ${id}`),
    }
    let storage: Storage | null = null
    Storage.open(
      {
        directory: '/data',
        nodeId: id,
        clusterHash: '',
        hasPeers: true,
        journalSegmentBytes: 1 << 20,
        shardSegmentBytes: 1 << 20,
        shardLogFlushBytes: 4 << 10,
        ...this.storageOptions,
      },
      {
        platform,
        trace: () => {},
        fatal: (error) => {
          throw error
        },
      },
      (error, opened) => {
        if (error !== null) throw error
        storage = must(opened, 'storage')
      },
    )
    this.until(() => storage !== null, `node ${id} opens its disk`)
    this.#nodes.set(id, new TestHost(this, id, storage!, platform))
  }

  /** The disk, with syncs that can be held. */
  #sticky(id: NodeId, disk: Disk): Disk {
    const held = (file: DiskFile): DiskFile => {
      const wrapped = Object.create(file) as DiskFile
      for (const name of ['write', 'read', 'truncate', 'size', 'close'] as const) {
        Object.defineProperty(wrapped, name, { value: (file[name] as (...rest: unknown[]) => void).bind(file) })
      }
      wrapped.datasync = (done) => {
        if (this.stuck.has(id)) this.#stuckSyncs.push(() => file.datasync(done))
        else file.datasync(done)
      }
      return wrapped
    }
    return diskThrough(disk, {
      open: (path, mode, done) =>
        disk.open(path, mode, (error, file) => (error === null ? done(null, held(must(file, 'file'))) : done(error))),
    })
  }

  /** What lies on the node's disk. */
  disk(id: NodeId): MemoryDisk {
    return must(this.#disks.get(id), `the disk of node ${id}`)
  }

  unstick(id: NodeId): void {
    this.stuck.delete(id)
    for (const sync of this.#stuckSyncs.splice(0)) sync()
  }

  /** Power fails: of what was not synced anything may be left. `start` brings the node back on that disk. */
  crash(id: NodeId): void {
    this.node(id).host.stop()
    this.#nodes.delete(id)
    this.#disks.set(id, this.#disks.get(id)!.powerLoss(this.#random))
    for (const peer of this.#nodes.keys()) this.#announce(peer, id, false)
  }

  cut(a: NodeId, b: NodeId): void {
    this.#down.add(link(a, b))
    this.#announce(a, b, false)
    this.#announce(b, a, false)
  }

  heal(a: NodeId, b: NodeId): void {
    this.#down.delete(link(a, b))
    this.#announce(a, b, true)
    this.#announce(b, a, true)
  }

  #announce(at: NodeId, peer: NodeId, up: boolean): void {
    const node = this.#nodes.get(at)
    if (node === undefined || (up && !this.isUp(at, peer))) return
    if (up) {
      node.host.peerUp(peer)
      this.#nodes.get(peer)?.host.peerUp(at)
    } else node.host.peerDown(peer)
  }

  isUp(from: NodeId, to: NodeId): boolean {
    return this.#nodes.has(from) && this.#nodes.has(to) && !this.#down.has(link(from, to))
  }

  send(from: NodeId, to: NodeId, message: Message): void {
    this.sent.set(message.type, (this.sent.get(message.type) ?? 0) + 1)
    if (!this.isUp(from, to) || this.lost(from, to, message)) return
    const receiver = this.node(to)
    this.clock.endOfTurn(() => {
      if (this.isUp(from, to) && this.#nodes.get(to) === receiver) receiver.host.message(from, message)
    })
  }

  /** Contact tables age even when nothing happens. */
  #beat(): void {
    for (const node of this.nodes) node.host.contactTick()
  }

  until(condition: () => boolean, what: string, limitMs = 20_000): void {
    const deadline = this.clock.now() + limitMs
    while (!condition()) {
      const next = this.clock.nextMs
      assert(next !== null && next <= deadline, () => `never happened: ${what}`)
      this.clock.step()
    }
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.clock.advance(Math.min(100, left))
      this.#beat()
    }
  }

  get leader(): TestHost | null {
    return this.nodes.find(({ host }) => host.replica(SHARD)?.standing.settled === true) ?? null
  }

  electLeader(not: NodeId | null = null): TestHost {
    this.until(() => this.leader !== null && this.leader.id !== not, 'a leader')
    return this.leader!
  }

  /** Puts one key through the leader and waits for the answer. */
  put(key: string, value: string): void {
    let answered = false
    this.electLeader().machine.put({ [key]: value }, (outcome) => {
      assert(outcome === null, () => `put of ${key}: ${outcome}`)
      answered = true
    })
    this.until(() => answered, `put of ${key}`)
  }

  untilSame(ids: readonly NodeId[] = this.nodes.map(({ id }) => id)): void {
    const state = (id: NodeId): string => JSON.stringify(Object.entries(this.node(id).machine.map).sort())
    this.until(
      () =>
        ids.every(
          (id) =>
            state(id) === state(ids[0]!) && this.node(id).replica.commitIndex === this.node(ids[0]!).replica.lastIndex,
        ),
      'the same state everywhere',
    )
  }
}

function link(a: NodeId, b: NodeId): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}
