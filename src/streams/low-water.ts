/** Why a partition's log starts where it does, and what keeps it from starting higher, in a line for people. */
import { CutReason, type LowWaterMark } from '../replication/index.ts'
import type { PartitionSettings } from './partition-settings.ts'

/** What the last look at a partition's files has found. */
export interface StoredLog {
  readonly bytes: number
  /** Of those, what compaction has left. */
  readonly cleanedBytes: number
  /** Of the youngest record in the oldest file; −1 when none has a time. */
  readonly oldestMs: number
}

const REASONS: Readonly<Record<CutReason, string>> = {
  [CutReason.snapshot]: 'snapshot',
  [CutReason.retentionTime]: 'retention.ms',
  [CutReason.retentionBytes]: 'retention.bytes',
  [CutReason.request]: 'request',
  [CutReason.compaction]: 'compaction',
}

/** What moved the start last, since this node was started; null: nothing. */
export function movedBy({ moved }: LowWaterMark): string | null {
  if (moved === null) return null
  return moved.reason === null ? 'a newer version' : REASONS[moved.reason]
}

export function heldBy({ heldBy: pin, floorWaitsFor: waits }: LowWaterMark): string | null {
  if (pin !== null) return `held by ${pin.name} at entry ${pin.index}`
  return waits === null ? null : `compaction waits for ${waits.name}, which lacks entry ${waits.index}`
}

/** What is compacted and what is not yet, for whom it may concern. */
function compactedBy({ minDirtyRatio }: PartitionSettings, stored: StoredLog | null): string {
  if (stored === null || stored.bytes === 0) return 'compaction'
  const dirty = Math.round((100 * (stored.bytes - stored.cleanedBytes)) / stored.bytes)
  return `compaction: ${dirty} % not compacted, at ${Math.round(100 * minDirtyRatio)} % it begins`
}

export function retainedBy(settings: PartitionSettings, stored: StoredLog | null, wallMs: number): string {
  const { retentionMs, retentionBytes } = settings
  const parts: string[] = settings.compacted ? [compactedBy(settings, stored)] : []
  if (retentionMs !== Number.POSITIVE_INFINITY) {
    const known = stored !== null && stored.oldestMs >= 0
    const age = known ? `: the oldest file’s youngest record is ${duration(wallMs - stored.oldestMs)} old` : ''
    parts.push(`retention.ms ${duration(retentionMs)}${age}`)
  }
  if (retentionBytes !== Number.POSITIVE_INFINITY) {
    const share =
      stored === null || retentionBytes === 0 ? '' : `${Math.round((100 * stored.bytes) / retentionBytes)} % of `
    parts.push(`retention.bytes: ${share}${size(retentionBytes)}`)
  }
  return parts.length === 0 ? 'everything is kept' : parts.join('; ')
}

const DURATIONS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const
const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

function duration(ms: number): string {
  for (const [unit, length] of DURATIONS) if (Math.abs(ms) >= length) return `${Math.floor(ms / length)} ${unit}`
  return `${Math.floor(ms)} ms`
}

function size(bytes: number): string {
  let unit = 0
  let amount = bytes
  for (; amount >= 1024 && unit + 1 < SIZES.length; unit++) amount /= 1024
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${SIZES[unit]}`
}
