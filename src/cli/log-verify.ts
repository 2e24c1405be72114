/** `tidemark log verify`: one line per file, every damaged place, and an exit code for scripts. */

import { type DamageItem, type FileTally, type LogItem, Tally } from '../storage/index.ts'
import { colors } from './colors.ts'
import { damageLines, type Line } from './log-dump.ts'
import { KIND_NAMES } from './log-text.ts'
import { count, jsonLine } from './print.ts'

export class Verification {
  readonly #json: boolean
  readonly #line: Line
  readonly #tally: Tally
  #damages: DamageItem[] = []
  #damagedFiles = 0
  #heard = true

  constructor(json: boolean, line: Line) {
    this.#json = json
    this.#line = line
    this.#tally = new Tally((file) => this.#print(file))
  }

  take(item: LogItem): boolean {
    this.#tally.take(item)
    if (item.type === 'damage') this.#damages.push(item)
    if (item.type === 'missing') this.#absent('MISSING', item.path, { missing: true, after: item.after })
    if (item.type === 'unreadable')
      this.#absent('UNREADABLE', item.path, { unreadable: true, found: item.found, after: item.after })
    return this.#heard
  }

  finish(): number {
    this.#tally.finish()
    const { files, gone } = this.#tally
    if (!this.#json) {
      const verdict =
        this.#damagedFiles === 0
          ? colors.green('nothing is damaged')
          : colors.red(`${this.#damagedFiles} damaged or missing`)
      const left = gone === 0 ? '' : `, ${gone} gone while they were read`
      this.#line(`${files} ${files === 1 ? 'file' : 'files'}${left}: ${verdict}`)
    }
    return this.#damagedFiles === 0 ? 0 : 1
  }

  #absent(verdict: string, path: string, what: { found?: string; after: string } & Record<string, unknown>): void {
    this.#tally.finish()
    this.#damagedFiles++
    const words = [what.found, what.after].filter((text) => text !== undefined).join('; ')
    this.#heard = this.#line(
      this.#json
        ? jsonLine({ file: path, ok: false, ...what })
        : `${colors.red(verdict)}  ${path}  ${colors.dim(words)}`,
    )
  }

  #print(file: FileTally): void {
    const { path, kind, bytes, blocks, entries, records, end, notes } = file
    const damages = this.#damages
    this.#damages = []
    if (damages.length > 0) this.#damagedFiles++
    if (this.#json) {
      const places = damages.map(({ type: _, ...place }) => place)
      const fields = { file: path, kind, bytes, ok: damages.length === 0, blocks, entries, records, notes }
      const { label = null, explanation = null, position = null } = end ?? {}
      this.#heard = this.#line(jsonLine({ ...fields, damage: places, end: { position, label, explanation } }))
      return
    }
    const verdict = damages.length === 0 ? colors.green('ok     ') : colors.red('DAMAGED')
    const held = [
      several(blocks, 'block', 'blocks'),
      several(entries, 'entry', 'entries'),
      several(records, 'record', 'records'),
    ]
    const words = held.filter((text) => text !== '').join(', ')
    this.#heard = this.#line(
      `${verdict}  ${path}  ${colors.dim(`${KIND_NAMES[kind]}${words === '' ? '' : `, ${words}`}`)}`,
    )
    for (const damage of damages) for (const line of damageLines(damage)) this.#line(line)
    // Where a journal ends, and anything unusual, is worth a line.
    if (end !== null && end.label !== 'end of the file')
      this.#line(colors.dim(`${' '.repeat(9)}${end.label}: ${end.explanation}`))
    for (const note of notes) this.#line(colors.dim(`${' '.repeat(9)}${note}`))
  }
}

function several(n: number, one: string, many: string): string {
  return n === 0 ? '' : `${count(n)} ${n === 1 ? one : many}`
}
