/** `tidemark log stats`: what a directory is made of, per file, per shard and in all. */
import { type FileTally, type LogItem, type Range, type ShardTally, Tally } from '../storage/index.ts'
import type { Line } from './log-dump.ts'
import { KIND_NAMES, time } from './log-text.ts'
import { bytes, count, jsonLine, table } from './print.ts'

type Row = Omit<FileTally, 'end' | 'firstDamage' | 'notes'>

export class Stats {
  readonly #json: boolean
  readonly #line: Line
  readonly #tally: Tally
  readonly #files: Row[] = []

  constructor(json: boolean, line: Line) {
    this.#json = json
    this.#line = line
    this.#tally = new Tally((file) => this.#files.push(file))
  }

  take(item: LogItem): boolean {
    this.#tally.take(item)
    return true
  }

  finish(): number {
    this.#tally.finish()
    const shards = [...this.#tally.shards.values()].sort((a, b) => a.shard - b.shard || (a.where < b.where ? -1 : 1))
    const totals = totalsOf(this.#files)
    if (this.#json) {
      for (const file of this.#files) this.#line(jsonLine({ type: 'file', ...jsonRow(file) }))
      for (const shard of shards)
        this.#line(jsonLine({ type: 'shard', ...shard, bytesPerEntry: each(shard.bytes, shard.entries) }))
      for (const { path: _, ...total } of totals.map(jsonRow)) this.#line(jsonLine({ type: 'total', ...total }))
      return 0
    }
    this.#line(filesTable([...this.#files, ...totals]))
    if (shards.length > 0) this.#line(`\n${shardsTable(shards)}`)
    const { damages } = this.#tally
    if (damages > 0) this.#line(`\n${count(damages)} damaged places: tidemark log verify names them`)
    return 0
  }
}

/** One row per kind that there is more than one file of. */
function totalsOf(files: readonly Row[]): Row[] {
  const totals: Row[] = []
  for (const kind of ['journal', 'shard-log', 'shard-index'] as const) {
    const rows = files.filter((file) => file.kind === kind)
    if (rows.length < 2) continue
    const codecs = new Map<string, number>()
    for (const row of rows) for (const [codec, n] of row.codecs) codecs.set(codec, (codecs.get(codec) ?? 0) + n)
    const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0)
    totals.push({
      path: `all of ${rows.length}`,
      kind,
      bytes: sum((row) => row.bytes),
      blocks: sum((row) => row.blocks),
      entries: sum((row) => row.entries),
      records: sum((row) => row.records),
      entryBytes: sum((row) => row.entryBytes),
      usedBytes: sum((row) => row.usedBytes),
      damages: sum((row) => row.damages),
      codecs,
    })
  }
  return totals
}

function filesTable(rows: readonly Row[]): string {
  return table(rows, [
    { title: 'file', value: ({ path }) => path },
    { title: 'kind', value: ({ kind }) => KIND_NAMES[kind] },
    { title: 'size', value: (row) => bytes(row.bytes), right: true },
    {
      title: 'filled',
      value: (row) => (row.bytes === 0 ? '-' : `${((row.usedBytes * 100) / row.bytes).toFixed(1)} %`),
      right: true,
    },
    { title: 'blocks', value: (row) => (row.kind === 'journal' ? count(row.blocks) : '-'), right: true },
    { title: 'entries', value: (row) => (holdsEntries(row) ? count(row.entries) : '-'), right: true },
    { title: 'records', value: (row) => (holdsEntries(row) ? count(row.records) : '-'), right: true },
    {
      title: 'B/entry',
      value: (row) => (row.entries === 0 ? '-' : count(each(row.entryBytes, row.entries)!)),
      right: true,
    },
    {
      title: 'batches',
      value: (row) =>
        [...row.codecs].map(([codec, n]) => `${count(n)} ${codec === 'none' ? 'plain' : codec}`).join(', ') || '-',
    },
  ])
}

function holdsEntries({ kind }: Row): boolean {
  return kind === 'journal' || kind === 'shard-log'
}

function shardsTable(shards: readonly ShardTally[]): string {
  return table(shards, [
    { title: 'shard', value: ({ shard }) => String(shard), right: true },
    { title: 'in', value: ({ where }) => KIND_NAMES[where] },
    { title: 'entries', value: (row) => count(row.entries), right: true },
    { title: 'records', value: (row) => count(row.records), right: true },
    { title: 'bytes', value: (row) => bytes(row.bytes), right: true },
    { title: 'B/entry', value: (row) => count(each(row.bytes, row.entries) ?? 0), right: true },
    { title: 'index', value: ({ index }) => range(index, String), right: true },
    { title: 'offset', value: ({ offset }) => range(offset, String), right: true },
    { title: 'timestamps', value: ({ timestamp }) => range(timestamp, time) },
  ])
}

function range(values: Range, word: (value: number) => string): string {
  if (values === null) return '-'
  return values[0] === values[1] ? word(values[0]) : `${word(values[0])}–${word(values[1])}`
}

function each(total: number, parts: number): number | null {
  return parts === 0 ? null : Math.round(total / parts)
}

function jsonRow({
  path,
  kind,
  bytes: size,
  blocks,
  entries,
  records,
  entryBytes,
  usedBytes,
  codecs,
  damages,
}: Row): Record<string, unknown> & { path: string } {
  const fill = size === 0 ? null : usedBytes / size
  const bytesPerEntry = each(entryBytes, entries)
  return {
    path,
    kind,
    bytes: size,
    usedBytes,
    fill,
    blocks,
    entries,
    records,
    entryBytes,
    bytesPerEntry,
    batches: Object.fromEntries(codecs),
    damages,
  }
}
