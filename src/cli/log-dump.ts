/**
 * `tidemark log dump` for people. The widths are fixed, because the first lines are printed before the last ones are read.
 *
 * With filters a file appears only once something in it fits, so that one entry of a large directory is a few lines.
 */

import {
  batchesOf,
  type DamageItem,
  type EndItem,
  type Entry,
  type EntryItem,
  hex32,
  type LogItem,
  recordsOf,
} from '../storage/index.ts'
import { colors } from './colors.ts'
import { byteRange, detailsOf, entryKindName, KIND_NAMES, shown, time } from './log-text.ts'
import { bytes } from './print.ts'

export interface DumpOptions {
  readonly records: boolean
  readonly shard: number | null
  readonly from: number
  readonly to: number
  /** Entries; points of an index and shards of a checkpoint count as such. */
  readonly limit: number
}

/** Takes what was printed; false when no more is wanted. */
export type Line = (text: string) => boolean

/** Title and width; negative: to the left. */
const ENTRY_COLUMNS: readonly [string, number][] = [
  ['position', 11],
  ['kind', -13],
  ['shard', 6],
  ['term', 5],
  ['index', 9],
  ['stamp', 9],
  ['offset', 10],
  ['records', 7],
  ['bytes', 9],
  ['crc', -8],
]
const POINT_COLUMNS: readonly [string, number][] = [
  ['index', 11],
  ['offset', 11],
  ['position', 12],
  ['newest before', -24],
]
const SHARD_COLUMNS: readonly [string, number][] = [
  ['position', 11],
  ['shard', 6],
  ['term', 5],
  ['vote', 5],
  ['index', 9],
  ['of term', 7],
  ['stamp', 9],
  ['offset', 10],
  ['start', 9],
  ['log on disk', -36],
  ['state', 9],
]

type FileLine = Extract<LogItem, { type: 'file' }>
type BlockLine = Extract<LogItem, { type: 'block' }>

export class Dump {
  readonly #options: DumpOptions
  readonly #line: Line
  readonly #filtered: boolean
  /** Printed once something of the file is. */
  #title: string[] = []
  #columns: string | null = null
  #block: BlockLine | null = null
  #printed = 0
  #files = 0
  #quiet = false

  constructor(options: DumpOptions, line: Line) {
    this.#options = options
    this.#line = line
    this.#filtered = options.shard !== null || options.from > 0 || options.to !== Number.POSITIVE_INFINITY
  }

  take(item: LogItem): boolean {
    switch (item.type) {
      case 'file':
        return this.#file(item)
      case 'header':
        return this.#header(item.fields)
      case 'block':
        this.#block = item
        return this.#filtered || this.#printBlock()
      case 'entry':
        return !fits(this.#options, item.entry.shard, item.entry.index) || this.#entry(item)
      case 'point': {
        if (!fits(this.#options, null, item.index)) return true
        const { index, firstOffset, position, maxTimestampBefore } = item
        return this.#counted(row(POINT_COLUMNS, [index, firstOffset, position, time(maxTimestampBefore)]))
      }
      case 'shard':
        return !fits(this.#options, item.stored.state.shard, null) || this.#counted(shardRow(item))
      case 'removed':
        if (!fits(this.#options, item.shard, null)) return true
        return this.#counted(
          `shard ${item.shard} is removed; the journal may hold entries of it up to block ${item.through}`,
        )
      case 'damage':
        return this.#print(...damageLines(item))
      case 'end':
        return this.#quietly() || this.#print(endLine(item))
      case 'note':
        return this.#quietly() || this.#print(colors.dim(item.text))
      case 'missing':
        return this.#line(colors.red(`${item.path} is missing: ${item.after}`))
      case 'unreadable':
        return this.#line(colors.red(`${item.path} cannot be looked at: ${item.found}; ${item.after}`))
      case 'gone':
        return this.#line(colors.dim(`${item.path} is gone: the node needs it no more`))
    }
  }

  #quietly(): boolean {
    return this.#filtered && this.#quiet
  }

  #file({ path, kind, bytes: size }: FileLine): boolean {
    const columns =
      kind === 'journal' || kind === 'shard-log'
        ? ENTRY_COLUMNS
        : kind === 'checkpoint'
          ? SHARD_COLUMNS
          : kind === 'shard-index'
            ? POINT_COLUMNS
            : []
    this.#title = [`${this.#files++ > 0 ? '\n' : ''}${colors.bold(path)}  ${KIND_NAMES[kind]}, ${bytes(size)}`]
    this.#columns =
      columns.length === 0
        ? null
        : row(
            columns,
            columns.map(([title]) => title),
          )
    this.#block = null
    this.#quiet = true
    return true
  }

  #header(fields: Readonly<Record<string, string | number | null>>): boolean {
    const words = Object.entries(fields).map(
      ([name, value]) => `${name} ${value === null || value === '' ? 'none' : shown(Buffer.from(String(value)))}`,
    )
    this.#title.push(colors.dim(words.join(', ')))
    return true
  }

  #entry({ position, entry }: EntryItem): boolean {
    if (this.#filtered && !this.#printBlock()) return false
    const { shard, term, index, stamp, firstOffset, recordCount, crc } = entry
    const cells = [
      position,
      entryKindName(entry.kind),
      shard,
      term,
      index,
      stamp,
      firstOffset,
      recordCount,
      entry.bytes.length,
      hex32(crc),
    ]
    const details = detailsOf(entry)
    if (!this.#print(`${row(ENTRY_COLUMNS, cells)}${details === '' ? '' : `  ${details}`}`)) return false
    if (this.#options.records && !this.#records(entry)) return false
    return this.#more()
  }

  #records(entry: Entry): boolean {
    for (const batch of batchesOf(entry)) {
      const { baseOffset, records, codec, bytes: size, producerId, producerEpoch, baseSequence } = batch
      const producer = producerId < 0 ? '' : `, producer ${producerId}/${producerEpoch} from sequence ${baseSequence}`
      const indent = ' '.repeat(13)
      const packed = codec === 'none' ? '' : `, ${codec}`
      if (
        !this.#print(
          colors.dim(`${indent}batch at ${baseOffset}, records ${records}, bytes ${size}${packed}${producer}`),
        )
      )
        return false
      if (batch.defect !== null && !this.#print(colors.red(`${indent}damaged: ${batch.defect}`))) return false
      let heard = true
      const failure = recordsOf(batch, (record) => {
        const headers = headersOf(() =>
          record.headers().map(({ key, value }) => `${shown(Buffer.from(key))}=${shown(value)}`),
        )
        const key = record.key === null ? colors.dim('null') : colors.cyan(shown(record.key))
        const value = record.value === null ? colors.dim('null') : shown(record.value)
        heard = this.#print(
          `${indent}${String(record.offset).padStart(9)}  ${colors.dim(time(record.timestamp))}  ${key} → ${value}${headers}`,
        )
        return heard
      })
      if (failure !== null && !this.#print(colors.red(`${indent}unreadable: ${failure}`))) return false
      if (!heard) return false
    }
    return true
  }

  #counted(text: string): boolean {
    return this.#print(text) && this.#more()
  }

  #more(): boolean {
    this.#printed++
    if (this.#printed < this.#options.limit) return true
    this.#print(colors.dim(`… stopped at --limit ${this.#options.limit}`))
    return false
  }

  #printBlock(): boolean {
    const block = this.#block
    this.#block = null
    if (block === null) return true
    const { position, sequence, entryCount, bodyBytes, crc } = block
    const entries = `${entryCount} ${entryCount === 1 ? 'entry' : 'entries'}`
    const left = `${String(position).padStart(11)}  block ${sequence}, ${entries}`
    return this.#print(colors.blue(`${left.padEnd(80)}  ${String(bodyBytes).padStart(9)}  ${hex32(crc)}`))
  }

  #print(...lines: string[]): boolean {
    const title = this.#columns === null ? this.#title : [...this.#title, colors.dim(this.#columns)]
    this.#title = []
    this.#columns = null
    this.#quiet = false
    let heard = true
    for (const line of title) heard = this.#line(line) && heard
    for (const line of lines) heard = this.#line(line) && heard
    return heard
  }
}

export function fits({ shard, from, to }: DumpOptions, ofShard: number | null, index: number | null): boolean {
  if (shard !== null && ofShard !== null && shard !== ofShard) return false
  return index === null || (index >= from && index <= to)
}

function headersOf(read: () => string[]): string {
  const headers = read()
  return headers.length === 0 ? '' : colors.dim(`  {${headers.join(', ')}}`)
}

function row(columns: readonly [string, number][], cells: readonly (string | number)[]): string {
  const padded = columns.map(([, width], i) => {
    const text = String(cells[i])
    return width < 0 ? text.padEnd(-width) : text.padStart(width)
  })
  return padded.join('  ').trimEnd()
}

function shardRow({ position, stored }: Extract<LogItem, { type: 'shard' }>): string {
  const { state, log } = stored
  const { shard, term, vote, index, entryTerm, stamp, nextOffset, startIndex } = state
  const onDisk = log === null ? 'nothing' : `${log.firstIndex}.log to entry ${log.lastIndex}, ${bytes(log.bytes)}`
  const cells = [
    position,
    shard,
    term,
    vote === 0 ? '-' : vote,
    index,
    entryTerm,
    stamp,
    nextOffset,
    startIndex,
    onDisk,
    bytes(state.state.length),
  ]
  const text = row(SHARD_COLUMNS, cells)
  const replaced = stored.journalAfter === 0 ? '' : `  journal counts after block ${stored.journalAfter}`
  return `${text}${state.configuration.length === 0 ? '' : `  ${shown(state.configuration)}`}${replaced}`
}

export function damageLines({ from, to, expected, found, after }: DamageItem): string[] {
  return [
    colors.red(`${'DAMAGED'.padStart(11)}  ${byteRange(from, to)}`),
    `${'expected'.padStart(11)}  ${expected}`,
    `${'found'.padStart(11)}  ${found}`,
    `${'after it'.padStart(11)}  ${after}`,
  ]
}

function endLine({ position, label, explanation, restBytes }: EndItem): string {
  const rest = restBytes === 0 ? '' : ` (${bytes(restBytes)} left)`
  return `${String(position).padStart(11)}  ${colors.green(label)}: ${explanation}${rest}`
}
