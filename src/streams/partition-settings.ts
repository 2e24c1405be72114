/** What a topic's configuration means for each of its partitions, as numbers. */
import { TOPIC_SETTINGS } from '../cluster/index.ts'

export interface PartitionSettings {
  /** `max.message.bytes`: of one whole batch. */
  readonly maxMessageBytes: number
  /** `message.timestamp.type` is LogAppendTime. */
  readonly appendTime: boolean
  /** `cleanup.policy` contains compact: every record needs a key. */
  readonly compacted: boolean
  /** `cleanup.policy` contains delete. */
  readonly deletes: boolean
  /** `retention.ms`; infinite: records are kept for ever. */
  readonly retentionMs: number
  /** `retention.bytes`; infinite: as many as there are. */
  readonly retentionBytes: number
  /** `segment.bytes`; null: as the node was started. */
  readonly segmentBytes: number | null
  /** `segment.ms` and `segment.jitter.ms`. */
  readonly segmentMs: number
  readonly segmentJitterMs: number
  /** `min.cleanable.dirty.ratio`. */
  readonly minDirtyRatio: number
  /** `min.compaction.lag.ms` and `max.compaction.lag.ms`. */
  readonly minCompactionLagMs: number
  readonly maxCompactionLagMs: number
  /** `delete.retention.ms`: the grace of tombstones. */
  readonly deleteRetentionMs: number
}

export const PARTITION_SETTINGS_DEFAULTS: PartitionSettings = partitionSettings({})

/** `configs`: a topic's own, validated when they were written. */
export function partitionSettings(configs: Readonly<Record<string, string>>): PartitionSettings {
  const text = (name: string): string => configs[name] ?? TOPIC_SETTINGS[name]!.defaultValue
  /** −1 means no limit. */
  const limit = (name: string): number => (Number(text(name)) === -1 ? Number.POSITIVE_INFINITY : Number(text(name)))
  const policies = text('cleanup.policy')
    .split(',')
    .map((policy) => policy.trim())
  const compacted = policies.includes('compact')
  const deletes = policies.includes('delete')
  return {
    maxMessageBytes: Number(text('max.message.bytes')),
    appendTime: text('message.timestamp.type') === 'LogAppendTime',
    compacted,
    deletes,
    retentionMs: deletes ? limit('retention.ms') : Number.POSITIVE_INFINITY,
    retentionBytes: deletes ? limit('retention.bytes') : Number.POSITIVE_INFINITY,
    segmentBytes: configs['segment.bytes'] === undefined ? null : Number(configs['segment.bytes']),
    // A segment in use is not compacted, so it must not stay in use for longer than that may wait.
    segmentMs: Math.min(
      Number(text('segment.ms')),
      compacted ? Number(text('max.compaction.lag.ms')) : Number.MAX_VALUE,
    ),
    segmentJitterMs: Number(text('segment.jitter.ms')),
    minDirtyRatio: Number(text('min.cleanable.dirty.ratio')),
    minCompactionLagMs: Number(text('min.compaction.lag.ms')),
    maxCompactionLagMs: Number(text('max.compaction.lag.ms')),
    deleteRetentionMs: Number(text('delete.retention.ms')),
  }
}
