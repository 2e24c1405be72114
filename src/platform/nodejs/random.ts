/** Randomness from the operating system: nobody can guess a cluster id, an incarnation or a session nonce. */
import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '../random.ts'

export class NodeRandom implements Random {
  below(bound: number): number {
    return randomInt(bound)
  }

  bytes(length: number): Buffer {
    return randomBytes(length)
  }

  chance(_site: string): boolean {
    return false
  }
}
