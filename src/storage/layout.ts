/**
 * Where things lie in a data directory:
 *
 *     identity                                  who this disk is
 *     checkpoint                                every shard's state at an index
 *     terms                                     a bound of every term that a shard was in here; where the journal's segment in
 *                                               service begins
 *     identity.copy, checkpoint.copy, terms.copy   the same once more, should a sector rot
 *     journal/00000000000000000007.log          segments, by number
 *     shards/16/00000000000000000001.log        a shard's entries, by the first index
 *     shards/16/00000000000000000001.index      beside a sealed one
 *     shards/16/…001-00000000000000000004.cleaned  what compaction has left, by the first index and the cleaning's number
 *     shards/16/…001-00000000000000000004.sparse   its index
 *     quarantine/16-…, quarantine/terms-…       what was found damaged or not understood; never deleted
 *
 * Numbers only: no name that a user chose ever becomes part of a path.
 */
import { join } from 'node:path'

export const journalDirectory = (directory: string): string => join(directory, 'journal')
export const shardsDirectory = (directory: string): string => join(directory, 'shards')
export const quarantineDirectory = (directory: string): string => join(directory, 'quarantine')
export const identityFile = (directory: string): string => join(directory, 'identity')
export const checkpointFile = (directory: string): string => join(directory, 'checkpoint')
export const termsFile = (directory: string): string => join(directory, 'terms')
export const copyOf = (file: string): string => `${file}.copy`
/** What is fetched from another replica, until it is whole. */
export const repairFile = (segmentFile: string): string => `${segmentFile}.repair`
/** Of a shard's folder: left behind by a crash. */
export const isUnfinished = (name: string): boolean => name.endsWith('.repair') || name.endsWith('.tmp')
export const shardDirectory = (directory: string, shard: number): string => join(shardsDirectory(directory), `${shard}`)

export const journalSegmentFile = (directory: string, number: number): string =>
  join(journalDirectory(directory), `${digits(number)}.log`)
export const shardSegmentFile = (shardDirectory: string, firstIndex: number): string =>
  join(shardDirectory, `${digits(firstIndex)}.log`)
export const shardIndexFile = (shardDirectory: string, firstIndex: number): string =>
  join(shardDirectory, `${digits(firstIndex)}.index`)
export const cleanedSegmentFile = (shardDirectory: string, firstIndex: number, generation: number): string =>
  join(shardDirectory, `${digits(firstIndex)}-${digits(generation)}.cleaned`)
export const cleanedIndexFile = (shardDirectory: string, firstIndex: number, generation: number): string =>
  join(shardDirectory, `${digits(firstIndex)}-${digits(generation)}.sparse`)

/** Twenty digits sort as text the way the numbers sort. */
function digits(number: number): string {
  return number.toString().padStart(20, '0')
}

/** The number in a segment's name, or null for any other name. */
export function segmentNumberIn(name: string): number | null {
  if (!/^\d{20}\.log$/.test(name)) return null
  const number = Number(name.slice(0, 20))
  return Number.isSafeInteger(number) ? number : null
}

/** The name is of a cleaned segment or of the index beside one. */
export function isOfCleanedSegment(name: string): boolean {
  return /^\d{20}-\d{20}\.(cleaned|sparse)$/.test(name)
}

export function shardIdIn(name: string): number | null {
  if (!/^[1-9]\d{0,9}$/.test(name)) return null
  const shard = Number(name)
  return shard <= 0xffff_ffff ? shard : null
}
