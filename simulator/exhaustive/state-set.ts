/**
 * Remembers states by 63 bits each, eight bytes and some free room: open addressing in two flat arrays, nothing else.
 *
 * Two states with the same bits would be taken for one, and what lies behind the second would not be seen. The chance that
 * this happens anywhere among n states is about n² / 2^64: for ten million one in 180,000, for a hundred million one in 1,800.
 */
const SLOTS_MIN = 1 << 16
const LOAD_MAX = 0.6

export class StateSet {
  #high: Uint32Array
  #low: Uint32Array
  #mask: number
  size = 0

  constructor() {
    this.#high = new Uint32Array(SLOTS_MIN)
    this.#low = new Uint32Array(SLOTS_MIN)
    this.#mask = SLOTS_MIN - 1
  }

  get bytes(): number {
    return this.#high.byteLength + this.#low.byteLength
  }

  /** False if it was there. */
  add(state: Int32Array): boolean {
    let high = 0x9e3779b9
    let low = 0x243f6a88
    for (let i = 0; i < state.length; i++) {
      const word = state[i]!
      high = Math.imul(high ^ word, 0x85ebca6b)
      high = (high << 13) | (high >>> 19)
      low = Math.imul(low + word, 0xc2b2ae35)
      low ^= low >>> 15
      low = Math.imul(low ^ (high >>> 7), 0x27d4eb2f)
    }
    high = mixed(high ^ state.length)
    low = mixed(low ^ high)
    // Both zero marks a free slot.
    return this.#put(high >>> 0, (low | 1) >>> 0)
  }

  #put(high: number, low: number): boolean {
    if (this.size > this.#mask * LOAD_MAX) this.#grow()
    let at = (low >>> 1) & this.#mask
    for (; this.#low[at] !== 0; at = (at + 1) & this.#mask) {
      if (this.#low[at] === low && this.#high[at] === high) return false
    }
    this.#high[at] = high
    this.#low[at] = low
    this.size++
    return true
  }

  #grow(): void {
    const [high, low] = [this.#high, this.#low]
    this.#mask = low.length * 2 - 1
    this.#high = new Uint32Array(this.#mask + 1)
    this.#low = new Uint32Array(this.#mask + 1)
    for (let i = 0; i < low.length; i++) {
      if (low[i] === 0) continue
      let at = (low[i]! >>> 1) & this.#mask
      while (this.#low[at] !== 0) at = (at + 1) & this.#mask
      this.#high[at] = high[i]!
      this.#low[at] = low[i]!
    }
  }
}

function mixed(word: number): number {
  let h = word
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
