/**
 * How long bytes travel: what a network with loss, congestion and distance looks like to a transport.
 *
 * A TCP stream never shows a lost packet. It shows a *stall*: the segment is sent again after a retransmission timeout of 200 ms
 * or so, doubled each time it is lost again, and everything behind it waits (head-of-line blocking). So loss is modelled where
 * it is felt (F1, F2):
 *
 *     travel = distance of the link · jitter            most parcels: fractions of milliseconds
 *            + 200 · (1 + 2 + 4 + …) ms                 one in a few hundred on a lossy link, once per loss in a row
 *            + seconds                                   one in very many: a route that flaps, a switch that reboots
 *            + bytes / bandwidth, behind what is on the link already
 *
 * Each directed link has a distance of its own, which is not the one of the way back. The jitter is exponential, drawn from bits
 * alone (a run of heads doubles nothing but adds one half-life), since floating-point powers differ between engines.
 */
import { Prng } from '../../src/stdx/index.ts'

export interface NetworkOptions {
  /** A link is so many hundredths longer than another, at most. */
  readonly skewPercent: number
  /** Exponential delays instead of uniform ones. */
  readonly exponential: boolean
  /** In 100,000 parcels, how many take seconds. */
  readonly rarePer100k: number
}

export const STEADY_NETWORK: NetworkOptions = { skewPercent: 0, exponential: false, rarePer100k: 0 }

const RETRANSMISSION_MS = 200
const LOSSES_IN_A_ROW_MAX = 5
const RARE_MS = [1000, 5000] as const

class Link {
  /** In hundredths. */
  readonly skew: number
  lossPermille = 0
  /** Bytes per millisecond, 0 for no limit. */
  bandwidth = 0
  /** When the link has carried what it was given. */
  busyUntilMs = 0

  constructor(skew: number) {
    this.skew = skew
  }
}

export class Delays {
  readonly #prng: Prng
  readonly #skews: Prng
  readonly #options: NetworkOptions
  readonly #rangeUs: readonly [number, number]
  readonly #now: () => number
  readonly #links = new Map<string, Link>()
  /** Factors by host; 1 when absent. */
  readonly factors = new Map<string, number>()

  constructor(seed: number, rangeUs: readonly [number, number], options: NetworkOptions, now: () => number) {
    this.#prng = new Prng(`${seed}/network`)
    this.#skews = new Prng(`${seed}/network skew`)
    this.#rangeUs = rangeUs
    this.#options = options
    this.#now = now
  }

  /** Of a parcel of so many bytes that leaves now. */
  travelMs(from: string, to: string, bytes: number): number {
    const link = this.#link(from, to)
    const factor = (this.factors.get(from) ?? 1) * (this.factors.get(to) ?? 1)
    let ms = (this.#drawUs() * link.skew * factor) / 100_000
    if (link.lossPermille > 0) ms += this.#retransmissionsMs(link.lossPermille)
    const { rarePer100k } = this.#options
    if (rarePer100k > 0 && this.#prng.below(100_000) < rarePer100k) ms += between(this.#prng, RARE_MS)
    if (link.bandwidth === 0) return ms
    const now = this.#now()
    link.busyUntilMs = Math.max(now, link.busyUntilMs) + bytes / link.bandwidth
    return ms + link.busyUntilMs - now
  }

  lose(from: string, to: string, permille: number): void {
    this.#link(from, to).lossPermille = permille
  }

  narrow(from: string, to: string, bytesPerMs: number): void {
    const link = this.#link(from, to)
    link.bandwidth = bytesPerMs
    link.busyUntilMs = 0
  }

  heal(): void {
    this.factors.clear()
    for (const link of this.#links.values()) {
      link.lossPermille = 0
      link.bandwidth = 0
    }
  }

  #link(from: string, to: string): Link {
    const key = `${from}>${to}`
    let link = this.#links.get(key)
    if (link === undefined) {
      link = new Link(100 + (this.#options.skewPercent === 0 ? 0 : this.#skews.below(this.#options.skewPercent + 1)))
      this.#links.set(key, link)
    }
    return link
  }

  #drawUs(): number {
    const [low, high] = this.#rangeUs
    if (!this.#options.exponential) return between(this.#prng, this.#rangeUs)
    // Half of all wait less than one half-life, a quarter between one and two, and so on.
    const halfLife = Math.max(1, (high - low) >> 2)
    const heads = Math.clz32(this.#prng.uint32() | 1)
    return low + heads * halfLife + this.#prng.below(halfLife)
  }

  #retransmissionsMs(lossPermille: number): number {
    let ms = 0
    for (let lost = 0; lost < LOSSES_IN_A_ROW_MAX && this.#prng.below(1000) < lossPermille; lost++)
      ms += RETRANSMISSION_MS << lost
    return ms
  }
}

function between(prng: Prng, [low, high]: readonly [number, number]): number {
  return low + prng.below(high - low + 1)
}
