/** Why a partition's log starts where it does, and what keeps it from starting higher, in a line for people. */
import { CutReason, type LowWaterMark } from '../replication/index.ts'
import type { FloorWait } from './compaction.ts'
import type { PartitionSettings } from './partition-settings.ts'

/** What the last look at a partition's files has found. */
export interface StoredLog {
  readonly bytes: number
  /** Of the youngest record in the oldest file; −1 when none has a time; infinite when it cannot be read. */
  readonly oldestMs: number
  /** What keeps compaction from going on; null: nothing, or the partition is not compacted. */
  readonly floorWaits: FloorWait | null
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

/** One reason why a log starts no higher. */
export interface Hold {
  /** One of a few, for programs: the name of a setting where there is one. */
  readonly kind: HoldKind
  /** For people. */
  readonly text: string
}

export type HoldKind =
  | 'pin'
  | 'follower'
  | 'snapshot'
  | 'compaction'
  | FloorWait['for']
  | 'retention.ms'
  | 'retention.bytes'
  /** Nothing ever goes. */
  | 'unlimited'

/** What holds any log, whatever its machine. */
export function holdsOn({ heldBy: pin, floorWaitsFor: waits, untilSnapshot }: LowWaterMark): Hold[] {
  if (pin !== null) return [{ kind: 'pin', text: `held by ${pin.name} at entry ${pin.index}` }]
  if (waits !== null)
    return [{ kind: 'follower', text: `compaction waits for ${waits.name}, which lacks entry ${waits.index}` }]
  if (untilSnapshot === null) return []
  const { grownBytes, enoughBytes } = untilSnapshot
  const grown = `the log has grown by ${size(grownBytes)} of ${size(enoughBytes)} since the last one`
  return [{ kind: 'snapshot', text: `snapshot: ${grown}` }]
}

/** One line of them all; null: nothing holds it, or another node decides that. */
export function heldBy(holds: readonly Hold[]): string | null {
  return holds.length === 0 ? null : holds.map(({ text }) => text).join('; ')
}

function compactedBy(settings: PartitionSettings, stored: StoredLog | null, wallMs: number): Hold {
  if (stored === null || stored.bytes === 0) return { kind: 'compaction', text: 'compaction' }
  const waits = stored.floorWaits
  return waits === null
    ? { kind: 'compaction', text: 'compaction is under way' }
    : { kind: waits.for, text: `compaction: ${waitedFor(waits, settings, wallMs)}` }
}

function waitedFor(waits: FloorWait, settings: PartitionSettings, wallMs: number): string {
  switch (waits.for) {
    case 'segment-in-use':
      return 'what is not compacted is in the file in use'
    case 'min.compaction.lag.ms': {
      const age = duration(Math.max(0, wallMs - waits.youngestMs))
      return `the youngest record of the next file is ${age} old, min.compaction.lag.ms is ${duration(settings.minCompactionLagMs)}`
    }
    case 'pin':
      return 'it was held when it was looked at last'
    case 'min.cleanable.dirty.ratio': {
      const dirty = Math.floor(100 * waits.dirty)
      const begins = Math.round(100 * settings.minDirtyRatio)
      return `${dirty} % of the files not in use is not compacted, at ${begins} % it begins`
    }
  }
}

/** What holds a partition whose log is held by nobody. */
export function retainedBy(settings: PartitionSettings, stored: StoredLog | null, wallMs: number): Hold[] {
  const { retentionMs, retentionBytes } = settings
  const holds: Hold[] = settings.compacted ? [compactedBy(settings, stored, wallMs)] : []
  if (retentionMs !== Number.POSITIVE_INFINITY) {
    const known = stored !== null && stored.oldestMs >= 0 && Number.isFinite(stored.oldestMs)
    const age = known ? `: the oldest file’s youngest record is ${aged(wallMs - stored.oldestMs)}` : ''
    holds.push({ kind: 'retention.ms', text: `retention.ms ${duration(retentionMs)}${age}` })
  }
  if (retentionBytes !== Number.POSITIVE_INFINITY) {
    const share =
      stored === null || retentionBytes === 0 ? '' : `${Math.round((100 * stored.bytes) / retentionBytes)} % of `
    holds.push({ kind: 'retention.bytes', text: `retention.bytes: ${share}${size(retentionBytes)}` })
  }
  return holds.length === 0 ? [{ kind: 'unlimited', text: 'everything is kept' }] : holds
}

const DURATIONS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const
const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

function aged(ms: number): string {
  return ms >= 0 ? `${duration(ms)} old` : `dated ${duration(-ms)} ahead`
}

function duration(ms: number): string {
  for (const [unit, length] of DURATIONS) if (ms >= length) return `${Math.floor(ms / length)} ${unit}`
  return `${Math.floor(ms)} ms`
}

function size(bytes: number): string {
  let unit = 0
  let amount = bytes
  for (; amount >= 1024 && unit + 1 < SIZES.length; unit++) amount /= 1024
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${SIZES[unit]}`
}
