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
  const deletes = policies.includes('delete')
  return {
    maxMessageBytes: Number(text('max.message.bytes')),
    appendTime: text('message.timestamp.type') === 'LogAppendTime',
    compacted: policies.includes('compact'),
    deletes,
    retentionMs: deletes ? limit('retention.ms') : Number.POSITIVE_INFINITY,
    retentionBytes: deletes ? limit('retention.bytes') : Number.POSITIVE_INFINITY,
    segmentBytes: configs['segment.bytes'] === undefined ? null : Number(configs['segment.bytes']),
    segmentMs: Number(text('segment.ms')),
    segmentJitterMs: Number(text('segment.jitter.ms')),
  }
}
