/**
 * Randomness from a seed. Each use draws from a generator of its own, so that one more byte here does not change which rare
 * thing happens there.
 */
import type { Random } from '../src/platform/index.ts'
import { Prng } from '../src/stdx/index.ts'

export interface SeededRandomOptions {
  /** How often `chance` says yes at a site, in 1000; never when absent. */
  readonly chancePermille?: (site: string) => number
}

export class SeededRandom implements Random {
  readonly #seed: number | string
  readonly #numbers: Prng
  readonly #bytes: Prng
  readonly #sites = new Map<string, Prng>()
  readonly #chancePermille: (site: string) => number

  constructor(seed: number | string, options: SeededRandomOptions = {}) {
    this.#seed = seed
    this.#numbers = new Prng(`${seed}/numbers`)
    this.#bytes = new Prng(`${seed}/bytes`)
    this.#chancePermille = options.chancePermille ?? (() => 0)
  }

  below(bound: number): number {
    return this.#numbers.below(bound)
  }

  bytes(length: number): Buffer {
    return this.#bytes.bytes(length)
  }

  chance(site: string): boolean {
    let prng = this.#sites.get(site)
    if (prng === undefined) {
      prng = new Prng(`${this.#seed}/chance/${site}`)
      this.#sites.set(site, prng)
    }
    return prng.below(1000) < this.#chancePermille(site)
  }
}
