import type { Clock } from './clock.ts'
import type { Disk } from './disk.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'

/** The outside world of one node, handed in through the constructor. There is no other way out. */
export interface Platform {
  readonly clock: Clock
  readonly disk: Disk
  readonly network: Network
  readonly random: Random
}
