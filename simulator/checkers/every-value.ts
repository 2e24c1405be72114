/**
 * E5, and I9 below the nodes: an independent reader of the raw files finds every acknowledged value, where it was acknowledged to
 * be, on a quorum of disks. And it finds nothing else: what is committed was sent by a client, once per producer and sequence
 * number (T23), at dense offsets and rising stamps.
 *
 * Which of the entries with one index is the committed one is known from the shadow disks, not from the directory that is read.
 */
import type { Disk } from '../../src/platform/index.ts'
import type { Checker, ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import type { OneHistory } from './one-history.ts'
import { type RawEntry, type RawLogs, rawRecords, readRawLogs } from './raw-log.ts'

const DATA_ENTRY = 3

export interface RawDisk {
  readonly node: number
  readonly disk: Disk
  /** It was damaged on purpose: what it lacks is nobody's fault. */
  readonly damaged: boolean
}

export interface EveryValueOptions {
  readonly directory: string
  readonly quorumOf: (shard: number) => number
  /** Shards of the topics that clients write to. */
  readonly placeOf: (shard: number) => string | null
  readonly wasSent: (place: string, value: string) => boolean
}

export class EveryValue implements Checker {
  readonly property = 'every acknowledged value is in the raw files of a quorum'
  /** By place: offset ► value. */
  readonly #acknowledged = new Map<string, Map<number, string>>()
  found = 0

  client(event: ClientEvent): void {
    if (event.type !== 'acknowledged') return
    const place = `${event.topic}/${event.partition}`
    let values = this.#acknowledged.get(place)
    if (values === undefined) {
      values = new Map()
      this.#acknowledged.set(place, values)
    }
    for (const [i, value] of event.values.entries()) values.set(event.baseOffset + i, value)
  }

  /** Reads all disks; `done` with what is wrong, or null. */
  finish(
    disks: readonly RawDisk[],
    history: OneHistory,
    options: EveryValueOptions,
    done: (violation: Violation | null) => void,
  ): void {
    const read: { readonly raw: RawDisk; readonly logs: RawLogs }[] = []
    for (const raw of disks) {
      readRawLogs(raw.disk, options.directory, (logs) => {
        read.push({ raw, logs })
        if (read.length < disks.length) return
        read.sort((a, b) => a.raw.node - b.raw.node)
        try {
          for (const shard of history.shards) this.#shard(shard, read, history, options)
          done(null)
        } catch (error) {
          if (!(error instanceof Violation)) throw error
          done(error)
        }
      })
    }
  }

  #shard(
    shard: number,
    read: readonly { readonly raw: RawDisk; readonly logs: RawLogs }[],
    history: OneHistory,
    { quorumOf, placeOf, wasSent }: EveryValueOptions,
  ): void {
    const place = placeOf(shard)
    if (place === null) return
    const due = this.#acknowledged.get(place) ?? new Map<number, string>()
    const damaged = read.filter(({ raw }) => raw.damaged).length
    const quorum = Math.max(1, quorumOf(shard) - damaged)
    const sequences = new Set<string>()
    const wrong = (what: string): Violation => new Violation(this.property, `shard ${shard} (${place}): ${what}`)
    let offset = 0
    let stamp = 0
    let seen = 0
    for (let index = 1; index <= history.committedIndex(shard); index++) {
      const { crc } = history.entryAt(shard, index)!
      let entry: RawEntry | null = null
      let holders = 0
      for (const { logs } of read) {
        const held = logs
          .get(shard)
          ?.get(index)
          ?.find((each) => each.crc === crc)
        if (held === undefined) continue
        entry = held
        holders++
      }
      if (entry === null || holders < quorum)
        throw wrong(`the committed entry ${index} is in the files of ${holders} nodes, ${quorum} are needed`)
      if (entry.firstOffset !== offset)
        throw wrong(`entry ${index} begins at offset ${entry.firstOffset}, not at ${offset}`)
      if (entry.stamp <= stamp) throw wrong(`entry ${index} has the stamp ${entry.stamp}, after ${stamp}`)
      offset += entry.recordCount
      stamp = entry.stamp
      if (entry.kind !== DATA_ENTRY) continue
      const defect = rawRecords(entry.payload, (record) => {
        const value = record.value?.toString() ?? ''
        if (!wasSent(place, value)) throw wrong(`offset ${record.offset} holds what nobody sent: ${value.slice(0, 40)}`)
        const expected = due.get(record.offset)
        if (expected !== undefined && expected !== value)
          throw wrong(`offset ${record.offset} holds ${value.slice(0, 40)}; acknowledged was ${expected.slice(0, 40)}`)
        if (expected !== undefined) seen++
        if (record.producerId < 0) return
        const key = `${record.producerId}/${record.producerEpoch}/${record.sequence}`
        if (sequences.has(key)) throw wrong(`offset ${record.offset} repeats sequence ${key} of its producer`)
        sequences.add(key)
      })
      if (defect !== null) throw wrong(`entry ${index} holds ${defect}`)
    }
    this.found += seen
    if (seen !== due.size) throw wrong(`${due.size} values were acknowledged, ${seen} are there`)
  }
}
