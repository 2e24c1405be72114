/**
 * What a restore will do, decided and checked before anything is changed: which topics, and of each partition which offsets.
 *
 *     segments    │ 0 ······ 400 │ 400 ······ 900 │ 900 ··· 1000 │
 *                        ▲ the batch that holds the log's start      ▲ the backup's end, or, with a time,
 *                       base                                        end   the first batch with a later record
 */
import type { Disk } from '../platform/index.ts'
import { baseOffsetOf, lastOffsetOf, maxTimestampOf, recordCountOf } from '../records/index.ts'
import { BackupError } from './errors.ts'
import type { BackupFolder } from './folder.ts'
import type { Manifest, ManifestPartition, ManifestSegment, ManifestTopic } from './manifest.ts'
import { readSegment, verifySegment } from './segment-file.ts'

export interface PartitionPlan {
  readonly baseOffset: number
  readonly startOffset: number
  readonly endOffset: number
  readonly segments: readonly ManifestSegment[]
}

export interface TopicPlan {
  readonly topic: ManifestTopic
  readonly partitions: readonly PartitionPlan[]
}

/** Those that were named, or all that the cluster still had when it was backed up last. */
export function pickFrom(manifest: Manifest, names: readonly string[] | null): ManifestTopic[] {
  if (names === null) return manifest.topics.filter(({ gone }) => !gone)
  return [...new Set(names)].map((name) => {
    const found = manifest.topics.filter((topic) => topic.name === name)
    const latest = found.find(({ gone }) => !gone) ?? found.sort((a, b) => b.takenAtMs - a.takenAtMs)[0]
    if (latest === undefined)
      throw new BackupError({ code: 'TOPIC_UNKNOWN', topic: name }, `topic ${name} is not in this backup`)
    return latest
  })
}

/** Reads every segment that is needed, as a whole. */
export async function verifyTopics(
  disk: Disk,
  folder: BackupFolder,
  topics: readonly ManifestTopic[],
  checked: (bytes: number) => void,
): Promise<void> {
  await folder.match(topics)
  for (const { partitions } of topics) {
    for (const { segments } of partitions) {
      for (const segment of segments) {
        await verifySegment(disk, folder.segments, segment)
        checked(segment.bytes)
      }
    }
  }
}

export async function planTopic(
  disk: Disk,
  folder: BackupFolder,
  topic: ManifestTopic,
  untilMs: number | null,
): Promise<TopicPlan> {
  const partitions: PartitionPlan[] = []
  for (const [index, partition] of topic.partitions.entries())
    partitions.push(await planPartition(disk, folder, { topic: topic.name, index, partition }, untilMs))
  return { topic, partitions }
}

async function planPartition(
  disk: Disk,
  folder: BackupFolder,
  {
    topic,
    index,
    partition,
  }: { readonly topic: string; readonly index: number; readonly partition: ManifestPartition },
  untilMs: number | null,
): Promise<PartitionPlan> {
  const { startOffset, nextOffset } = partition
  const segments = partition.segments.filter((segment) => segment.nextOffset > startOffset)
  let baseOffset = nextOffset
  let end = segments[0]?.baseOffset ?? nextOffset
  for (const [i, segment] of segments.entries()) {
    if (segment.baseOffset !== end)
      throw new BackupError(
        { code: 'OFFSETS_MISSING', topic, partition: index, offset: end },
        `topic ${topic}, partition ${index}: offsets ${end} to ${segment.baseOffset - 1} are not in the backup`,
      )
    // A batch that compaction has emptied keeps the time of records that are gone: this may look later than it is.
    const late = untilMs !== null && segment.maxTimestamp > untilMs
    if (i > 0 && !late) {
      end = segment.nextOffset
      continue
    }
    for await (const batch of readSegment(disk, folder.segments, segment)) {
      if (late && recordCountOf(batch, 0) > 0 && maxTimestampOf(batch, 0) > untilMs!) break
      if (lastOffsetOf(batch, 0) >= startOffset) baseOffset = Math.min(baseOffset, baseOffsetOf(batch, 0))
      end = lastOffsetOf(batch, 0) + 1
    }
    if (end < segment.nextOffset) break
  }
  // Nothing of it is left: an empty log that goes on where this one would.
  if (end <= startOffset) return { baseOffset: startOffset, startOffset, endOffset: startOffset, segments: [] }
  const needed = segments.filter((segment) => segment.baseOffset < end)
  return { baseOffset, startOffset, endOffset: end, segments: needed }
}

/** A time before everything would restore nothing but empty logs: hardly what was meant. */
export async function refuseEmptied(
  disk: Disk,
  folder: BackupFolder,
  plans: readonly TopicPlan[],
  untilMs: number,
): Promise<void> {
  for (const { partitions } of plans)
    for (const partition of partitions) if (await hasRecords(disk, folder, partition)) return
  let earliestMs = Number.POSITIVE_INFINITY
  for (const { topic } of plans)
    for (const partition of topic.partitions)
      earliestMs = Math.min(earliestMs, await firstTimeOf(disk, folder, partition))
  if (earliestMs === Number.POSITIVE_INFINITY) return
  const [until, earliest] = [untilMs, earliestMs].map((ms) => new Date(ms).toISOString())
  throw new BackupError(
    { code: 'UNTIL_TOO_EARLY', untilMs, earliestMs },
    `--until ${until} is before everything in the backup: the first records are there with ${earliest} or later. Nothing was changed.`,
  )
}

async function hasRecords(disk: Disk, folder: BackupFolder, plan: PartitionPlan): Promise<boolean> {
  for await (const batch of batchesOf(disk, folder, plan)) if (recordCountOf(batch, 0) > 0) return true
  return false
}

/** The least time with which a record of the partition is restored; infinite: it has no records. */
async function firstTimeOf(
  disk: Disk,
  folder: BackupFolder,
  { startOffset, segments }: ManifestPartition,
): Promise<number> {
  let time = Number.NEGATIVE_INFINITY
  for (const segment of segments) {
    if (segment.nextOffset <= startOffset) continue
    for await (const batch of readSegment(disk, folder.segments, segment)) {
      if (recordCountOf(batch, 0) === 0) continue
      time = Math.max(time, maxTimestampOf(batch, 0))
      if (lastOffsetOf(batch, 0) >= startOffset) return time
    }
  }
  return Number.POSITIVE_INFINITY
}

/** The batches of the plan, from the one at `from` on. */
export async function* batchesOf(
  disk: Disk,
  folder: BackupFolder,
  plan: PartitionPlan,
  from = plan.baseOffset,
): AsyncGenerator<Buffer> {
  for (const segment of plan.segments) {
    if (segment.nextOffset <= from) continue
    for await (const batch of readSegment(disk, folder.segments, segment)) {
      if (lastOffsetOf(batch, 0) >= plan.endOffset) return
      if (baseOffsetOf(batch, 0) >= from) yield batch
    }
  }
}
