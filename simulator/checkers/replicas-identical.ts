/**
 * At the end the disks are read by themselves: every node is gone, and each data directory is opened as a start would open it.
 * What the replicas of a shard hold must be byte for byte one log, whole up to everything that was ever committed.
 */
import type { Clock, Disk } from '../../src/platform/index.ts'
import { type Entry, Storage } from '../../src/storage/index.ts'
import { SeededRandom } from '../seeded-random.ts'
import { Violation } from '../violation.ts'
import type { OneHistory } from './one-history.ts'

const PROPERTY = 'disks hold the committed history'
const READ_BYTES = 1 << 20

export interface DiskToRead {
  readonly node: number
  readonly disk: Disk
}

/** `done` after all have been read; `violated` at the first difference. */
export function compareDisks(
  disks: readonly DiskToRead[],
  options: { readonly directory: string; readonly quorumOf: (shard: number) => number },
  collaborators: {
    readonly clock: Clock
    readonly history: OneHistory
    readonly violated: (violation: Violation) => void
    readonly done: (entries: number) => void
  },
): void {
  const { history, violated, clock } = collaborators
  /** By shard: which nodes hold all that was committed. */
  const holders = new Map<number, number[]>()
  let entriesRead = 0
  let missing = disks.length
  for (const { node, disk } of disks) {
    const network = { listen() {}, connect() {} }
    const platform = { clock, disk, network, random: new SeededRandom(`reader ${node}`) }
    const fatal = (error: Error): void => violated(new Violation(PROPERTY, `node ${node}: ${error.message}`))
    // The cluster's hash is in the identity; a reader that is no member has none to compare.
    Storage.open(
      { directory: options.directory, nodeId: node, clusterHash: '' },
      { platform, trace: () => {}, fatal },
      (error, storage) => {
        if (error !== null || storage === undefined)
          return violated(new Violation(PROPERTY, `the disk of node ${node} cannot be opened: ${error?.message}`))
        const shards = [...history.shards]
        const next = (): void => {
          const shard = shards.pop()
          if (shard === undefined) {
            if (--missing === 0) finish()
            return
          }
          const recovered = storage.recovered.get(shard)
          if (recovered === undefined) return next()
          readAll(storage, shard, recovered.checkpoint?.index ?? 0, recovered.entries, (failure, entries) => {
            if (failure !== null) return violated(new Violation(PROPERTY, `node ${node}, shard ${shard}: ${failure}`))
            entriesRead += entries.length
            const different = compare(history, shard, entries)
            if (different !== null)
              return violated(new Violation(PROPERTY, `node ${node}, shard ${shard}: ${different}`))
            if (entries.length >= history.committedIndex(shard))
              holders.set(shard, [...(holders.get(shard) ?? []), node])
            next()
          })
        }
        next()
      },
    )
  }
  const finish = (): void => {
    for (const shard of history.shards) {
      const held = holders.get(shard) ?? []
      if (held.length >= options.quorumOf(shard)) continue
      const what = `shard ${shard}, committed up to ${history.committedIndex(shard)}: whole on the disks of ${held.join(', ') || 'nobody'}`
      return violated(new Violation(PROPERTY, what))
    }
    collaborators.done(entriesRead)
  }
}

/** The whole log: the shard log's part, then what only the journal has. */
function readAll(
  storage: Storage,
  shard: number,
  checkpointIndex: number,
  tail: readonly Entry[],
  done: (failure: string | null, entries: Entry[]) => void,
): void {
  const log = storage.openShardLog(shard)
  const entries: Entry[] = []
  const more = (): void => {
    if (entries.length >= checkpointIndex) return done(null, [...entries.slice(0, checkpointIndex), ...tail])
    log.readFromIndex(entries.length + 1, READ_BYTES, (error, read) => {
      if (error !== null) return done(error.message, entries)
      if (read.length === 0)
        return done(`its log ends at ${entries.length}, below its checkpoint at ${checkpointIndex}`, entries)
      entries.push(...read)
      more()
    })
  }
  more()
}

/** Above what was committed there may be anything. */
function compare(history: OneHistory, shard: number, entries: readonly Entry[]): string | null {
  const last = Math.min(entries.length, history.committedIndex(shard))
  for (let index = 1; index <= last; index++) {
    const entry = entries[index - 1]!
    if (entry.index !== index) return `index ${entry.index} where ${index} belongs`
    const { crc } = history.entryAt(shard, index)!
    if (entry.crc !== crc)
      return `index ${index} is ${entry.crc.toString(16)} (term ${entry.term}), and ${crc.toString(16)} was committed`
  }
  return null
}
