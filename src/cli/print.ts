/** Aligned tables for people, lines of JSON for scripts. Colours only where standard output is a terminal (or FORCE_COLOR says so). */
import { colors } from './colors.ts'

export interface Column<T> {
  readonly title: string
  readonly value: (row: T) => string
  readonly right?: boolean
  readonly colour?: (text: string, row: T) => string
}

export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)))
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((cell) => cell[i]!.length)))
  const pad = (text: string, i: number): string =>
    columns[i]!.right === true ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)
  const lines = [columns.map((column, i) => colors.dim(pad(column.title, i))).join('  ')]
  for (const [r, cell] of cells.entries()) {
    lines.push(
      cell.map((text, i) => (columns[i]!.colour ?? ((padded: string) => padded))(pad(text, i), rows[r]!)).join('  '),
    )
  }
  return lines.map((line) => line.trimEnd()).join('\n')
}

/** What JSON may hold as it is, and a terminal obeys (U+007F to U+009F) or a reader of lines takes for an end. */
const UNESCAPED = /[\u007f-\u009f\u2028\u2029]/g

/** One line for scripts, which a person may look at as well: every control character is escaped. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    UNESCAPED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

export function bytes(n: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let value = n
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`
}

export function count(n: number): string {
  return n.toLocaleString('en-US')
}

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}
