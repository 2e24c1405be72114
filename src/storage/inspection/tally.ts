/** Counts what goes by: per file, and per shard in the journal and in the shard logs. */
import { type Entry, EntryKind, nextOffsetAfter } from '../entry.ts'
import { batchesOf } from './batches.ts'
import type { DamageItem, EndItem, FileKind, LogItem } from './items.ts'

/** Lowest and highest; null while nothing was seen. */
export type Range = readonly [number, number] | null

export interface ShardTally {
  readonly shard: number
  readonly where: FileKind
  entries: number
  records: number
  bytes: number
  index: Range
  offset: Range
  timestamp: Range
}

export interface FileTally {
  readonly path: string
  readonly kind: FileKind
  readonly bytes: number
  blocks: number
  entries: number
  records: number
  entryBytes: number
  /** Of the header, the blocks and the entries: what the file was made for. */
  usedBytes: number
  /** Batches by codec. */
  readonly codecs: Map<string, number>
  damages: number
  firstDamage: DamageItem | null
  end: EndItem | null
  notes: string[]
}

export class Tally {
  readonly shards = new Map<string, ShardTally>()
  files = 0
  gone = 0
  damages = 0
  #file: FileTally | null = null
  readonly #done: (file: FileTally) => void

  /** `done` is handed each file when the next one begins, and the last one by `finish`. */
  constructor(done: (file: FileTally) => void) {
    this.#done = done
  }

  take(item: LogItem): void {
    const file = this.#file
    switch (item.type) {
      case 'file':
        this.finish()
        this.#begin(item.path, item.kind, item.bytes)
        break
      case 'gone':
        this.gone++
        break
      case 'missing':
      case 'unreadable':
        this.damages++
        break
      case 'block':
        file!.blocks++
        break
      case 'entry':
        this.#entry(file!, item.entry)
        break
      case 'damage':
        this.damages++
        file!.damages++
        file!.firstDamage ??= item
        break
      case 'end':
        file!.end = item
        file!.usedBytes = item.position
        break
      case 'note':
        file!.notes.push(item.text)
    }
  }

  finish(): void {
    if (this.#file !== null) this.#done(this.#file)
    this.#file = null
  }

  #begin(path: string, kind: FileKind, bytes: number): void {
    this.files++
    const counts = { blocks: 0, entries: 0, records: 0, entryBytes: 0, usedBytes: 0, damages: 0 }
    this.#file = { path, kind, bytes, ...counts, codecs: new Map(), firstDamage: null, end: null, notes: [] }
  }

  #entry(file: FileTally, entry: Entry): void {
    file.entries++
    file.records += entry.recordCount
    file.entryBytes += entry.bytes.length
    const key = `${file.kind} ${entry.shard}`
    let shard = this.shards.get(key)
    if (shard === undefined) {
      const { shard: number } = entry
      shard = {
        shard: number,
        where: file.kind,
        entries: 0,
        records: 0,
        bytes: 0,
        index: null,
        offset: null,
        timestamp: null,
      }
      this.shards.set(key, shard)
    }
    shard.entries++
    shard.records += entry.recordCount
    shard.bytes += entry.bytes.length
    if (entry.kind !== EntryKind.hardState) shard.index = widen(shard.index, entry.index, entry.index)
    if (entry.recordCount > 0) shard.offset = widen(shard.offset, entry.firstOffset, nextOffsetAfter(entry) - 1)
    for (const { codec, baseTimestamp, maxTimestamp } of batchesOf(entry)) {
      file.codecs.set(codec, (file.codecs.get(codec) ?? 0) + 1)
      if (maxTimestamp >= 0)
        shard.timestamp = widen(shard.timestamp, Math.min(baseTimestamp, maxTimestamp), maxTimestamp)
    }
  }
}

function widen(range: Range, low: number, high: number): Range {
  return range === null ? [low, high] : [Math.min(range[0], low), Math.max(range[1], high)]
}
