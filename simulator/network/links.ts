/** Directed links that several causes may hold cut at once: a direction is open again when the last of them ends. */
import type { MemoryNetwork } from '../../src/platform/memory/index.ts'

export class Links {
  readonly #network: MemoryNetwork
  readonly #held = new Map<string, number>()

  constructor(network: MemoryNetwork) {
    this.#network = network
  }

  cut(from: string, to: string): void {
    const key = `${from}>${to}`
    this.#held.set(key, (this.#held.get(key) ?? 0) + 1)
    this.#network.cut(from, to)
  }

  mend(from: string, to: string): void {
    const key = `${from}>${to}`
    const left = (this.#held.get(key) ?? 1) - 1
    this.#held.set(key, left)
    if (left === 0) this.#network.heal(from, to)
  }

  /** Only what lies between two of these. */
  healAmong(hosts: ReadonlySet<string>): void {
    for (const key of [...this.#held.keys()]) {
      const [from, to] = key.split('>') as [string, string]
      if (!hosts.has(from) || !hosts.has(to)) continue
      this.#held.delete(key)
      this.#network.heal(from, to)
    }
  }

  healAll(): void {
    this.#held.clear()
    this.#network.heal()
  }
}
