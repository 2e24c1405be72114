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
  /** It was damaged on purpose, and this is the right way to say so. */
  readonly mayRefuse?: (error: Error) => boolean
  /**
   * It stopped for good before the others went on, perhaps while it led: what only its journal holds, behind its checkpoint,
   * may have been replaced since, and nobody will tell it.
   */
  readonly leftBehind?: boolean
}

/** `done` after all have been read; `violated` at the first difference. */
export function compareDisks(
  disks: readonly DiskToRead[],
  options: {
    readonly directory: string
    readonly quorumOf: (shard: number) => number
    /** False for a shard whose topic was deleted: its files are gone, or about to be. */
    readonly exists: (shard: number) => boolean
  },
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
  for (const { node, disk, mayRefuse = () => false, leftBehind = false } of disks) {
    const over = (): void => {
      if (--missing === 0) finish()
    }
    const network = { listen() {}, connect() {} }
    const platform = { clock, disk, network, random: new SeededRandom(`reader ${node}`) }
    const fatal = (error: Error): void => violated(new Violation(PROPERTY, `node ${node}: ${error.message}`))
    // The cluster's hash is in the identity; a reader that is no member has none to compare.
    Storage.open(
      { directory: options.directory, nodeId: node, clusterHash: '' },
      { platform, trace: () => {}, fatal },
      (error, storage) => {
        if (error !== null && mayRefuse(error)) return over()
        if (error !== null || storage === undefined)
          return violated(new Violation(PROPERTY, `the disk of node ${node} cannot be opened: ${error?.message}`))
        const shards = [...history.shards]
        const next = (): void => {
          const shard = shards.pop()
          if (shard === undefined) return over()
          const recovered = storage.recovered.get(shard)
          if (recovered === undefined) return next()
          const { index = 0, crc = 0 } = recovered.checkpoint ?? {}
          readAll(storage, shard, index, recovered.entries, (failure, entries) => {
            if (failure !== null && mayRefuse(failure)) return next()
            if (failure !== null)
              return violated(new Violation(PROPERTY, `node ${node}, shard ${shard}: ${failure.message}`))
            entriesRead += entries.length
            // Who was away when a topic was deleted hears of that alone, not of what had replaced the end of its log before.
            const mayDiffer = leftBehind || !options.exists(shard)
            const through = mayDiffer ? Math.min(index, history.committedIndex(shard)) : history.committedIndex(shard)
            const different = compare(history, shard, entries, through) ?? compareAnchor(history, shard, index, crc)
            if (different !== null)
              return violated(new Violation(PROPERTY, `node ${node}, shard ${shard}: ${different}`))
            const whole = compare(history, shard, entries, history.committedIndex(shard)) === null
            if (whole && (entries.at(-1)?.index ?? index) >= history.committedIndex(shard))
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
      if (held.length >= options.quorumOf(shard) || !options.exists(shard)) continue
      const what = `shard ${shard}, committed up to ${history.committedIndex(shard)}: whole on the disks of ${held.join(', ') || 'nobody'}`
      return violated(new Violation(PROPERTY, what))
    }
    collaborators.done(entriesRead)
  }
}

/** The log from where it starts: the shard log's part, then what only the journal has. */
function readAll(
  storage: Storage,
  shard: number,
  checkpointIndex: number,
  tail: readonly Entry[],
  done: (failure: Error | null, entries: Entry[]) => void,
): void {
  const log = storage.openShardLog(shard)
  const entries: Entry[] = []
  const more = (): void => {
    const last = entries.at(-1)?.index ?? log.firstIndex - 1
    if (last >= checkpointIndex)
      return done(null, [...entries.filter(({ index }) => index <= checkpointIndex), ...tail])
    log.readFromIndex(last + 1, READ_BYTES, (error, read) => {
      if (error !== null) return done(error, entries)
      if (read.length === 0)
        return done(new Error(`its log ends at ${last}, below its checkpoint at ${checkpointIndex}`), entries)
      entries.push(...read)
      more()
    })
  }
  more()
}

/** Above what was committed, and what is asked for, there may be anything. */
function compare(history: OneHistory, shard: number, entries: readonly Entry[], through: number): string | null {
  let index = (entries[0]?.index ?? 1) - 1
  for (const entry of entries) {
    if (++index > through) break
    if (entry.index !== index) return `index ${entry.index} where ${index} belongs`
    const { crc } = history.entryAt(shard, index)!
    if (entry.crc !== crc)
      return `index ${index} is ${entry.crc.toString(16)} (term ${entry.term}), and ${crc.toString(16)} was committed`
  }
  return null
}

/** What a checkpoint stands for: the entry at its index, which is no longer there if the log was cut or came as a snapshot. */
function compareAnchor(history: OneHistory, shard: number, index: number, crc: number): string | null {
  const committed = index === 0 ? undefined : history.entryAt(shard, index)
  if (committed === undefined || committed.crc === crc) return null
  return `its checkpoint stands at ${crc.toString(16)} (index ${index}), and ${committed.crc.toString(16)} was committed`
}
