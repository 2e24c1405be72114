/** One simulated computer: what survives its processes, and the process that runs on it at the moment. */
import type { TidemarkNode } from '../src/node.ts'
import type { MemoryDisk } from '../src/platform/memory/index.ts'
import type { DiskTroubles } from './disk/troubles.ts'
import type { MachineClock } from './machine-clock.ts'
import type { Gate } from './revocable-platform.ts'
import type { ShadowDisk } from './shadow-disk.ts'

export interface SimulatedMachine {
  readonly id: number
  readonly host: string
  readonly shadow: ShadowDisk
  readonly clock: MachineClock
  disk: MemoryDisk
  gate: Gate
  node: TidemarkNode | null
  state: 'down' | 'starting' | 'up' | 'stopping'
  /** The so-manieth process. */
  process: number
  diskFactor: number
  /** What ails its disk, and with which errors a node on it may give up. */
  readonly troubles: DiskTroubles
}
