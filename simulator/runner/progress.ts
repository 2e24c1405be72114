/** How far a campaign is, while it runs: one line that moves on a terminal, a line every ten seconds elsewhere. */
import { count, duration } from '../../src/cli/print.ts'
import type { Tally } from './tally.ts'

const TERMINAL_MS = 200
const LOG_MS = 10_000

export class Progress {
  readonly #tally: Tally
  readonly #startedAt = performance.now()
  readonly #terminal = process.stdout.isTTY === true
  #printedAt = performance.now()

  constructor(tally: Tally) {
    this.#tally = tally
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  /** Something was added. `asked`: seeds in all, null while nobody knows. */
  moved(asked: number | null): void {
    const now = performance.now()
    if (now - this.#printedAt < (this.#terminal ? TERMINAL_MS : LOG_MS)) return
    this.#printedAt = now
    const line = progressLine(this.#tally, this.seconds, asked)
    if (this.#terminal) process.stdout.write(`\r${line.slice(0, (process.stdout.columns ?? 120) - 1)}\u001b[K`)
    else process.stdout.write(`${line}\n`)
  }

  /** Before anything else is printed. */
  clear(): void {
    if (this.#terminal) process.stdout.write('\r\u001b[K')
  }
}

export function progressLine(tally: Tally, seconds: number, asked: number | null): string {
  const { ran, simulatedMs, faults, elections, acknowledged, messages, milliseconds, failures } = tally
  const rate = ran / Math.max(seconds, 0.001)
  const left = asked === null || ran === 0 ? '' : `, ${duration(((asked - ran) / rate) * 1000)} to go`
  const perSecond = Math.round((messages / Math.max(milliseconds, 1)) * 1000)
  return `${count(ran)}${asked === null ? '' : `/${count(asked)}`} seeds (${rate.toFixed(2)}/s${left}), ${count(Math.round(simulatedMs / 1000))} simulated s, ${count(faults)} faults, ${count(elections)} elections, ${count(acknowledged)} acknowledged, ${count(perSecond)} messages/s, ${failures.length} violations`
}
