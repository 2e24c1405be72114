/** `tidemark log dump --json`: one line per piece, with the names of docs/formats. */
import { batchesOf, type Entry, hex32, type LogItem, recordsOf } from '../storage/index.ts'
import { type DumpOptions, fits, type Line } from './log-dump.ts'
import { asJson, detailsOf, entryKindName } from './log-text.ts'
import { jsonLine } from './print.ts'

export function jsonDump(options: DumpOptions, line: Line): { take(item: LogItem): boolean } {
  let file = ''
  let printed = 0
  const print = (fields: object): boolean => line(jsonLine({ file, ...fields }))
  const counted = (fields: object): boolean => print(fields) && ++printed < options.limit
  return {
    take(item) {
      switch (item.type) {
        case 'file': {
          file = item.path
          const { type, kind, bytes } = item
          return print({ type, kind, bytes })
        }
        case 'entry': {
          const { entry, type, position, sequence } = item
          if (!fits(options, entry.shard, entry.index)) return true
          const fields = { type, position, sequence, ...entryFields(entry) }
          return counted(options.records ? { ...fields, batches: batches(entry) } : fields)
        }
        case 'block':
          return print({ ...item, crc: hex32(item.crc) })
        case 'shard': {
          const { configuration, state: machine, ...state } = item.stored.state
          if (!fits(options, state.shard, null)) return true
          const { position, bytes, stored } = item
          const { log, journalAfter } = stored
          const sizes = { configuration: asJson(configuration), stateBytes: machine.length }
          return counted({
            type: 'shard',
            position,
            bytes,
            ...state,
            crc: hex32(state.crc),
            ...sizes,
            log,
            journalAfter,
          })
        }
        case 'removed':
          return !fits(options, item.shard, null) || counted(item)
        case 'point':
          return !fits(options, null, item.index) || counted(item)
        case 'gone':
          return line(jsonLine({ file: item.path, type: item.type }))
        case 'missing':
          return line(jsonLine({ file: item.path, type: item.type, after: item.after }))
        case 'unreadable':
          return line(jsonLine({ file: item.path, type: item.type, found: item.found, after: item.after }))
        default:
          return print(item)
      }
    },
  }
}

function entryFields(entry: Entry): object {
  const { shard, term, index, stamp, firstOffset, recordCount, previousCrc, crc, bytes } = entry
  const details = detailsOf(entry)
  return {
    kind: entryKindName(entry.kind),
    shard,
    term,
    index,
    stamp,
    firstOffset,
    recordCount,
    bytes: bytes.length,
    crc: hex32(crc),
    previousCrc: hex32(previousCrc),
    ...(details === '' ? {} : { details }),
  }
}

function batches(entry: Entry): object[] {
  return [...batchesOf(entry)].map((summary) => {
    const { batch: _, defect, ...fields } = summary
    const records: object[] = []
    const unreadable = recordsOf(summary, (record) => {
      const headers = record.headers().map(({ key, value }) => ({ key, value: asJson(value) }))
      const { offset, timestamp } = record
      records.push({ offset, timestamp, key: asJson(record.key), value: asJson(record.value), headers })
      return true
    })
    return {
      ...fields,
      ...(defect === null ? {} : { defect }),
      ...(unreadable === null ? {} : { unreadable }),
      records: records,
    }
  })
}
