/**
 * One partition, as far as it is read: its batches go into segments, in order.
 *
 * A segment is left when it is large enough, has as many records as its footer can say, or when offsets are missing after it.
 */
import type { Disk } from '../platform/index.ts'
import { baseOffsetOf, hollowBatches, lastOffsetOf, recordCountOf } from '../records/index.ts'
import type { TopicInCluster } from './cluster-client.ts'
import { BackupError } from './errors.ts'
import type { ManifestSegment } from './manifest.ts'
import type { Progress } from './progress.ts'
import { SegmentWriter } from './segment-file.ts'
import { SEGMENT_RECORDS_MAX } from './segment-format.ts'

export interface SegmentPlace {
  readonly disk: Disk
  /** Of the segments. */
  readonly folder: string
  readonly segmentBytes: number
  readonly nextNumber: () => number
  readonly progress: (event: Progress) => void
}

export class PartitionReading {
  readonly topic: TopicInCluster
  readonly partition: number
  readonly segments: ManifestSegment[]
  readonly #with: SegmentPlace
  startOffset: number
  next = 0
  /** In this run something of it was copied. */
  hasBegun = false
  #writer: SegmentWriter | null = null

  constructor(
    topic: TopicInCluster,
    partition: number,
    startOffset: number,
    segments: ManifestSegment[],
    place: SegmentPlace,
  ) {
    this.topic = topic
    this.partition = partition
    this.startOffset = startOffset
    this.segments = segments
    this.#with = place
  }

  /** For people. */
  get place(): string {
    return `topic ${this.topic.name}, partition ${this.partition}`
  }

  get #atStart(): boolean {
    return this.next === this.startOffset && this.#writer === null
  }

  /** Takes what lies below `mark`. `end`: what comes next does not. */
  async keep(fetched: readonly Buffer[], mark: number): Promise<'more' | 'end'> {
    const { topic, partition } = this
    const batches = withoutHoles(
      fetched.filter((batch) => lastOffsetOf(batch, 0) >= this.next),
      this.next,
    )
    const room = SEGMENT_RECORDS_MAX - (this.#writer?.records ?? 0)
    let [next, records, count, isFull] = [this.next, 0, 0, false]
    for (const batch of batches) {
      if (lastOffsetOf(batch, 0) >= mark) break
      isFull = records + recordCountOf(batch, 0) > room
      if (isFull) break
      const base = baseOffsetOf(batch, 0)
      // Only the first of all may begin before what was asked for: where the log starts inside a batch.
      if (base < next && (count > 0 || !this.#atStart))
        throw new BackupError(
          { code: 'BATCH_UNUSABLE', topic: topic.name, partition, offset: next },
          `${this.place}: asked for offset ${next}, the node served a batch with ${base}`,
        )
      next = lastOffsetOf(batch, 0) + 1
      records += recordCountOf(batch, 0)
      count++
    }
    if (count === 0 && isFull) {
      await this.seal()
      return this.keep(fetched, mark)
    }
    if (count === 0) return batches.length > 0 ? 'end' : 'more'
    const kept = batches.slice(0, count)
    if (this.#writer === null) {
      const number = this.#with.nextNumber()
      const previousCrc = this.segments.at(-1)?.crc ?? 0
      const header = { partition, topicId: topic.id, number, baseOffset: baseOffsetOf(kept[0]!, 0), previousCrc }
      this.#writer = await SegmentWriter.create(this.#with.disk, this.#with.folder, header)
    }
    await this.#writer.append(kept)
    this.next = next
    this.hasBegun = true
    const bytes = kept.reduce((sum, batch) => sum + batch.length, 0)
    this.#with.progress({ type: 'moved', topic: topic.name, partition, records, bytes })
    if (isFull || this.#writer.bytes >= this.#with.segmentBytes) await this.seal()
    return count < batches.length && !isFull ? 'end' : 'more'
  }

  async seal(): Promise<void> {
    if (this.#writer === null) return
    this.segments.push(await this.#writer.seal())
    this.#writer = null
  }

  async abandon(): Promise<void> {
    await this.#writer?.abandon()
    this.#writer = null
  }
}

/** What compaction has taken out is said in so many words: in a backup, offsets are dense. */
function withoutHoles(batches: readonly Buffer[], from: number): readonly Buffer[] {
  let next = from
  return batches.flatMap((batch) => {
    const filled = [...hollowBatches(next, batch), batch]
    next = lastOffsetOf(batch, 0) + 1
    return filled
  })
}
