/**
 * The shard logs of all replicas, side by side, byte for byte, after all nodes have stopped cleanly.
 *
 * A clean stop takes a checkpoint, which says where each shard's log ends; up to there every byte of the segments must decode,
 * follow its predecessor, and be the same on all nodes, index by index, up to the smallest end. (A node that went first has not
 * heard of the last leadership entries; it may end a little earlier, though never before the last record.)
 */
import fs from 'node:fs'
import path from 'node:path'
import { decodeCheckpoint } from '../../src/storage/checkpoint-format.ts'
import { decodeEntry, type Entry, nextOffsetAfter } from '../../src/storage/index.ts'
import { checkpointFile, segmentNumberIn, shardDirectory } from '../../src/storage/layout.ts'
import { decodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES } from '../../src/storage/segment-format.ts'

export interface Comparison {
  readonly shards: number
  readonly entries: number
  readonly bytes: number
  /** By shard: the offset after the last record that all replicas hold. */
  readonly offsets: ReadonlyMap<number, number>
  readonly problems: readonly string[]
}

interface End {
  readonly lastIndex: number
  /** First index and length of the segment in use. */
  readonly firstIndex: number
  readonly bytes: number
}

export function compareShardLogs(directories: readonly string[]): Comparison {
  const problems: string[] = []
  const ends = directories.map(readEnds)
  const shards = [...new Set(ends.flatMap((each) => [...each.keys()]))].sort((a, b) => a - b)
  const offsets = new Map<number, number>()
  let entries = 0
  let bytes = 0
  for (const shard of shards) {
    try {
      const logs = directories.flatMap((directory, i) => {
        const end = ends[i]!.get(shard)
        return end === undefined ? [] : [{ directory, entries: readShard(directory, shard, end) }]
      })
      const [first, ...others] = logs
      let previous: Entry | null = null
      for (;;) {
        const entry = first!.entries.next().value as Entry | undefined
        const same = others.map((log) => ({
          directory: log.directory,
          entry: log.entries.next().value as Entry | undefined,
        }))
        if (entry === undefined || same.some((other) => other.entry === undefined)) break
        if (previous !== null && (entry.index !== previous.index + 1 || entry.previousCrc !== previous.crc))
          throw new Error(`entry ${entry.index} does not follow entry ${previous.index}`)
        for (const other of same) {
          if (other.entry!.bytes.equals(entry.bytes)) continue
          throw new Error(
            `entry ${entry.index} of term ${entry.term} in ${path.basename(first!.directory)} is entry ${other.entry!.index} of term ${other.entry!.term} in ${path.basename(other.directory)}`,
          )
        }
        previous = entry
        entries++
        bytes += entry.bytes.length
      }
      offsets.set(shard, previous === null ? 0 : nextOffsetAfter(previous))
    } catch (error) {
      problems.push(`shard ${shard}: ${(error as Error).message}`)
    }
  }
  return { shards: shards.length, entries, bytes, offsets, problems }
}

function readEnds(directory: string): Map<number, End> {
  const ends = new Map<number, End>()
  const file = checkpointFile(directory)
  const checkpoint = decodeCheckpoint(fs.readFileSync(file), file)
  if (checkpoint instanceof Error) throw checkpoint
  for (const [shard, { log }] of checkpoint.shards) if (log !== null) ends.set(shard, log)
  return ends
}

function* readShard(directory: string, shard: number, end: End): Generator<Entry> {
  const folder = shardDirectory(directory, shard)
  const names = fs
    .readdirSync(folder)
    .filter((name) => segmentNumberIn(name) !== null)
    .sort()
  for (const name of names) {
    const firstIndex = segmentNumberIn(name)!
    if (firstIndex > end.firstIndex) break
    let bytes = fs.readFileSync(path.join(folder, name))
    if (firstIndex === end.firstIndex) {
      if (bytes.length < end.bytes)
        throw new Error(
          `${name} in ${path.basename(directory)} has ${bytes.length} bytes, the checkpoint says ${end.bytes}`,
        )
      bytes = bytes.subarray(0, end.bytes)
    }
    const header = decodeShardSegmentHeader(bytes)
    if (typeof header === 'string') throw new Error(`${name} in ${path.basename(directory)}: bad header (${header})`)
    for (let at = SHARD_SEGMENT_HEADER_BYTES; at < bytes.length; ) {
      const entry = decodeEntry(bytes, at)
      if (typeof entry === 'string')
        throw new Error(`${name} in ${path.basename(directory)} at byte ${at}: bad entry (${entry})`)
      yield entry
      at += entry.bytes.length
    }
  }
}
