/** The progress of a backup: one line that is rewritten on a terminal, a line every few seconds elsewhere; on standard error. */

import type { CutMeanwhile, Progress } from '../backup/index.ts'
import type { Clock } from '../platform/index.ts'
import { colors } from './colors.ts'
import { tell } from './output.ts'
import { bytes, count, jsonLine } from './print.ts'

const TERMINAL_EVERY_MS = 100
const LINE_EVERY_MS = 5000

export class BackupProgress {
  readonly #what: string
  readonly #json: boolean
  readonly #clock: Clock
  readonly #terminal = process.stderr.isTTY === true
  #shownAt: number
  #partitions = 0
  #done = 0
  #lineOpen = false
  records = 0
  bytes = 0
  checked = 0
  readonly cut: CutMeanwhile[] = []

  constructor(what: string, json: boolean, clock: Clock) {
    this.#what = what
    this.#json = json
    this.#clock = clock
    this.#shownAt = clock.now()
  }

  readonly take = (event: Progress): void => {
    switch (event.type) {
      case 'begun':
        this.#partitions = event.partitions
        break
      case 'moved':
        this.records += event.records
        this.bytes += event.bytes
        break
      case 'checked':
        this.checked += event.bytes
        break
      case 'partition-done':
        this.#done++
        break
      case 'cut': {
        const { topic, partition, from, to, text } = event
        this.cut.push({ topic, partition, from, to })
        this.#say('warning', text)
        return
      }
      default:
        this.#say(event.type, event.text)
        return
    }
    const now = this.#clock.now()
    if (now - this.#shownAt < (this.#terminal ? TERMINAL_EVERY_MS : LINE_EVERY_MS)) return
    this.#shownAt = now
    this.#show()
  }

  end(): void {
    if (this.#lineOpen) tell('\n')
    this.#lineOpen = false
  }

  #say(kind: 'note' | 'warning', text: string): void {
    if (this.#json) {
      tell(`${jsonLine({ event: kind, text })}\n`)
      return
    }
    this.end()
    tell(`${kind === 'warning' ? colors.yellow(kind) : colors.dim(kind)}: ${text}\n`)
  }

  #show(): void {
    const facts = {
      partitions: this.#partitions,
      done: this.#done,
      records: this.records,
      bytes: this.bytes,
      checked: this.checked,
    }
    if (this.#json) {
      tell(`${jsonLine({ event: 'progress', ...facts })}\n`)
      return
    }
    const parts = [
      `${String(facts.done).padStart(String(facts.partitions).length)}/${facts.partitions} partitions`,
      `${count(facts.records).padStart(11)} records`,
      bytes(facts.bytes).padStart(7),
    ]
    if (facts.checked > 0) parts.push(`${bytes(facts.checked).padStart(7)} checked`)
    const text = `${colors.cyan(this.#what)}  ${parts.join('  ')}`
    tell(this.#terminal ? `\r\x1b[2K${text}` : `${text}\n`)
    this.#lineOpen = this.#terminal
  }
}
