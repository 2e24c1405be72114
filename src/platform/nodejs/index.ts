/** The real outside world. Nothing else in `src/` may touch files, sockets, timers, clocks or randomness. */
import type { Platform } from '../platform.ts'
import { NodeClock } from './clock.ts'
import { NodeDisk } from './disk.ts'
import { NodeNetwork, type NodeNetworkOptions } from './network.ts'
import { NodeRandom } from './random.ts'
import { Turn } from './turn.ts'

export type { NodeNetworkOptions } from './network.ts'

export interface NodePlatformOptions {
  readonly network?: NodeNetworkOptions
}

/** Clock, disk, network and random of this process. The clock and the network share one notion of a turn's end. */
export function nodePlatform(options: NodePlatformOptions = {}): Platform {
  const turn = new Turn()
  return {
    clock: new NodeClock(turn),
    disk: new NodeDisk(),
    network: new NodeNetwork(options.network ?? {}, turn),
    random: new NodeRandom(),
  }
}
