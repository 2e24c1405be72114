/**
 * What one seed stands for: a cluster, its clients, and everything that will happen to them, as plain data.
 *
 * The list of faults is part of it, which makes a failing run something that can be written down, cut down, and run again.
 */
import type { ClockFault } from '../faults/clocks.ts'
import type { DirectedFault } from '../faults/directed.ts'
import type { DiskFault } from '../faults/disk.ts'
import type { NetworkFault } from '../faults/network.ts'
import type { ProcessFault } from '../faults/process.ts'
import type { StreamFault } from '../faults/streams.ts'
import type { NetworkOptions } from '../network/delays.ts'
import type { BuggifyOptions } from '../seeded-random.ts'
import type {
  AdministratorScenario,
  CompactedScenario,
  GroupScenario,
  ProducerScenario,
  RegistersScenario,
  RestorerScenario,
  ShrinkingScenario,
} from './clients.ts'

/** A node by its id, or whoever leads the first partition at that moment. */
export type Target = number | 'leader'

export type Fault = ProcessFault | NetworkFault | StreamFault | DiskFault | ClockFault | DirectedFault

export type FaultKind = Fault['kind']

/** Knobs of the product, drawn small so that what is rare in production happens all the time. */
export interface Tuning {
  readonly heartbeatIntervalMs: number
  readonly electionTimeoutMs: number
  readonly appendBytesMax: number
  readonly inFlightBytesMax: number
  readonly catchUpBytes: number
  readonly peerQueueBytesMax?: number
  readonly snapshotEveryBytes: number
  readonly snapshotKeepEntries: number
  /** Of a snapshot, in one message. */
  readonly snapshotChunkBytes?: number
}

/** What somebody who is not of the core is like while the core must do without it. */
export type Outsider = 'as-it-is' | 'down' | 'cut-off' | 'paused'

export interface Core {
  /** The nodes in the order in which they are wanted for the core. */
  readonly order: readonly number[]
  /** By node. */
  readonly outsiders: readonly Outsider[]
}

export interface Scenario {
  readonly seed: number
  readonly nodes: number
  readonly replication: number
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
  readonly producers: readonly ProducerScenario[]
  readonly consumers: readonly {
    readonly name: string
    readonly fetchBytes: number
    readonly rewindPermille: number
    /** In 1000 fetches, how many give way to another question. */
    readonly probePermille?: number
  }[]
  readonly groups?: readonly GroupScenario[]
  readonly administrators?: readonly AdministratorScenario[]
  readonly registers?: RegistersScenario
  readonly restorers?: readonly RestorerScenario[]
  readonly shrinking?: ShrinkingScenario
  readonly compacted?: CompactedScenario
  /** Faults happen until then; the clients go on, all heals, and what must be true in the end is checked. */
  readonly durationMs: number
  readonly networkUs: readonly [number, number]
  /** How the network is beyond its distances; a steady one when absent. */
  readonly network?: NetworkOptions
  /** Rare paths inside the product; none when absent. */
  readonly buggify?: BuggifyOptions
  readonly diskUs: readonly [number, number]
  /** What a power loss does to sectors that were being written, beside keeping or dropping them; nothing when absent. */
  readonly sectors?: { readonly tornPermille: number; readonly garbledPermille: number }
  readonly journalSegmentBytes: number
  readonly shardSegmentBytes: number
  readonly shardLogFlushBytes: number
  /** What all logs of a node have to write, from which on they do; as much as suits a large one when absent. */
  readonly shardLogsBufferBytesMax?: number
  readonly tailCacheBytes: number
  /** What a node keeps of its disk for what must always be written; as much as suits a large one when absent. */
  readonly diskReserveBytes?: number
  /** Where the product's own timings and sizes are others than its defaults. */
  readonly tuning?: Tuning
  /** How the cluster heals: a core of it first. */
  readonly core?: Core
  readonly faults: readonly Fault[]
  /** More may be broken than the cluster must survive: it may be unavailable, and never wrong. */
  readonly beyond?: boolean
}

export type Profile = 'all' | 'crash' | 'disk' | 'network' | 'pause' | 'clock' | 'calm' | 'beyond'
