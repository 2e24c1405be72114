/**
 * A small seeded generator (sfc32): the same seed gives the same numbers on every machine and every Node.js version.
 * Integers only on purpose: floating-point powers differ between engine versions, and a trace must not.
 *
 * Each concern draws from a generator of its own, seeded from (seed, name), so that one more draw here does not shift
 * every other random decision of a run.
 */
import { assert } from './assert.ts'

export class Prng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number | string) {
    let h = 0x811c9dc5
    for (const byte of Buffer.from(String(seed))) h = Math.imul(h ^ byte, 0x01000193)
    this.#a = h | 0
    this.#b = Math.imul(h, 0x9e3779b1) | 0
    this.#c = ~h | 0
    for (let i = 0; i < 16; i++) this.uint32()
  }

  /** An independent generator for one concern. */
  derive(name: string): Prng {
    return new Prng(`${this.uint32()}/${name}`)
  }

  uint32(): number {
    const t = (this.#a + this.#b + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t
    return t >>> 0
  }

  /** Uniform in [0, bound), without modulo bias. */
  below(bound: number): number {
    assert(Number.isInteger(bound) && bound > 0 && bound <= 0x1_0000_0000, () => `no uniform draw below ${bound}`)
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound)
    for (;;) {
      const draw = this.uint32()
      if (draw < limit) return draw % bound
    }
  }

  bytes(length: number): Buffer {
    const out = Buffer.allocUnsafe(length)
    for (let i = 0; i < length; i++) out[i] = this.uint32() & 0xff
    return out
  }
}
