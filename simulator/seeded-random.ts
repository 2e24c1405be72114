/**
 * Randomness from a seed. Each use draws from a generator of its own, so that one more byte here does not change which rare
 * thing happens there.
 *
 * *Buggify* (FoundationDB): the product asks `chance('site')` where something rare but harmless could happen: a small batch, an
 * early timeout, an answer that comes late. In production the answer is always no. Here a site is active in a quarter of all
 * seeds, and fires a share of the times it is asked: runs that are odd in a few places, each in others, reach further than
 * runs that are odd everywhere, in which nothing lives long enough to be interesting.
 */
import type { Random } from '../src/platform/index.ts'
import { Prng } from '../src/stdx/index.ts'

export interface BuggifyOptions {
  /** In 1000 seeds, in how many a site is active. */
  readonly activePermille: number
  /** In 1000 questions at an active site, how often the answer is yes. */
  readonly firePermille: number
}

/** Which sites are active in one run, and how often each has fired. */
export class Buggify {
  readonly #seed: number
  readonly #options: BuggifyOptions
  #over = false
  /** How often each site that was asked has fired; zero for one that did not. */
  readonly hits = new Map<string, number>()

  constructor(seed: number, options: BuggifyOptions) {
    this.#seed = seed
    this.#options = options
  }

  /** In 1000 questions at this site, how often yes. Depends on the seed and the name alone. */
  permille(site: string): number {
    if (!this.hits.has(site)) this.hits.set(site, 0)
    const { activePermille, firePermille } = this.#options
    return new Prng(`${this.#seed}/buggify/${site}`).below(1000) < activePermille ? firePermille : 0
  }

  /** Is it to happen? Counts it. */
  fired(site: string): boolean {
    if (this.#over) return false
    this.hits.set(site, (this.hits.get(site) ?? 0) + 1)
    return true
  }

  /** From here on no site fires: what must come true in the end is asked of the product as it is. */
  stop(): void {
    this.#over = true
  }
}

export interface SeededRandomOptions {
  /** How often `chance` says yes at a site, in 1000; asked once per site. Never when absent. */
  readonly chancePermille?: (site: string) => number
  /** `chance` is about to say yes: may it? */
  readonly fired?: (site: string) => boolean
}

interface Site {
  readonly permille: number
  readonly prng: Prng
}

export class SeededRandom implements Random {
  readonly #seed: number | string
  readonly #numbers: Prng
  readonly #bytes: Prng
  readonly #sites = new Map<string, Site>()
  readonly #options: SeededRandomOptions

  constructor(seed: number | string, options: SeededRandomOptions = {}) {
    this.#seed = seed
    this.#numbers = new Prng(`${seed}/numbers`)
    this.#bytes = new Prng(`${seed}/bytes`)
    this.#options = options
  }

  below(bound: number): number {
    return this.#numbers.below(bound)
  }

  bytes(length: number): Buffer {
    return this.#bytes.bytes(length)
  }

  chance(name: string): boolean {
    let site = this.#sites.get(name)
    if (site === undefined) {
      const permille = this.#options.chancePermille?.(name) ?? 0
      site = { permille, prng: new Prng(`${this.#seed}/chance/${name}`) }
      this.#sites.set(name, site)
    }
    if (site.permille === 0 || site.prng.below(1000) >= site.permille) return false
    return this.#options.fired?.(name) ?? true
  }
}
