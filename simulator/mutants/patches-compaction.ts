/** Compaction broken: what stays is not what has to. */
import { AWAY_IN_TURN } from './attacks.ts'
import type { Attack } from './mutant.ts'
import type { PatchMutant } from './patch.ts'

/** Files of a few entries that are written at once, and no patience: a cleaning every second or so. */
const CONFIGS = {
  'cleanup.policy': 'compact',
  'segment.bytes': '600',
  'min.cleanable.dirty.ratio': '0',
  'delete.retention.ms': '5000',
}

function compactedBy(configs: Readonly<Record<string, string>>, intervalMs = 60): Attack {
  return {
    options: {
      shardLogFlushBytes: 1 << 10,
      compacted: { name: 'compacted', configs: { ...CONFIGS, ...configs }, intervalMs },
    },
  }
}

const ALWAYS_COMPACTED = compactedBy({})
/** Most of what is cleaned is cut a little later. */
const ALSO_CUT = compactedBy({ 'cleanup.policy': 'compact,delete', 'retention.bytes': '2000' })
/** Often nothing new was written when somebody looks. */
const RARELY_WRITTEN = compactedBy({}, 800)
const BEHIND_THE_FLOOR: Attack = { options: { ...ALWAYS_COMPACTED.options, ...AWAY_IN_TURN } }

export const COMPACTION_PATCHES: readonly PatchMutant[] = [
  {
    name: 'compaction-drops-the-latest',
    trap: 'T16',
    breaks: 'a record is taken for replaced by itself',
    attack: ALWAYS_COMPACTED,
    edits: [
      {
        file: 'storage/cleaning',
        find: 'latest !== undefined && latest > offset',
        replace: 'latest !== undefined && latest >= offset',
      },
    ],
  },
  {
    name: 'compaction-drops-tombstones-at-once',
    trap: 'T16',
    breaks: 'a tombstone goes without its grace',
    attack: ALWAYS_COMPACTED,
    edits: [
      {
        file: 'streams/compaction',
        find: 'if (wallMs - sinceMs >= deleteRetentionMs && floorOffset <= shownBelow)',
        replace: 'if (wallMs - sinceMs >= 0)',
      },
      { file: 'storage/log-cleaner', find: 'this.shownFor(graceMs)', replace: 'this.shownFor(0)' },
    ],
  },
  {
    name: 'compaction-forgets-what-was-cleaned',
    trap: 'T16',
    breaks: 'a cleaning begins at the floor, and what was cleaned before is gone',
    attack: ALWAYS_COMPACTED,
    edits: [
      {
        file: 'storage/cleaning',
        find: 'for (let next = this.#source.firstOffset;;)',
        replace: 'for (let next = Math.max(this.#source.firstOffset, this.#source.cleaner.view.floorOffset);;)',
      },
    ],
  },
  {
    name: 'compaction-names-files-before-they-are-synced',
    trap: 'T7',
    breaks: 'a checkpoint names cleaned segments that a power loss may take',
    attack: ALWAYS_COMPACTED,
    edits: [
      {
        file: 'storage/cleaned-writer',
        find: 'yield* this.#inTurn(() => call((done) => file.datasync(done)));',
        replace: '',
      },
      {
        file: 'storage/cleaned-writer',
        find: 'yield* this.#inTurn((disk) => call((done) => disk.syncDirectory(directory, done)));',
        replace: '',
      },
    ],
  },
  {
    name: 'placed-at-the-floor-without-what-lies-below',
    trap: 'T16',
    breaks: 'a follower is placed at the floor without what compaction has left below it',
    attack: BEHIND_THE_FLOOR,
    edits: [{ file: 'replication/host', find: 'if (startOffset === offset)', replace: 'if (startOffset <= offset)' }],
  },
  {
    name: 'compaction-cut-takes-a-segment-more',
    trap: 'T16',
    breaks: 'a cut lets the cleaned segment go in which the log starts now',
    attack: ALSO_CUT,
    edits: [
      {
        file: 'storage/cleaned-part',
        find: 'findIndex(({ nextOffset }) => nextOffset > startOffset)',
        replace: 'findIndex(({ firstOffset }) => firstOffset > startOffset)',
      },
    ],
  },
  {
    name: 'compaction-last-floor-knows-no-grace',
    trap: 'T16',
    breaks: 'where nothing new comes, tombstones go at once',
    attack: RARELY_WRITTEN,
    edits: [
      {
        file: 'streams/compaction',
        find: 'const compaction = this.draft(this.#floor, deleteRetentionMs, wallMs, shownBelow);',
        replace: 'const compaction = this.draft(this.#floor, 0, wallMs, Number.MAX_SAFE_INTEGER);',
      },
      // A replica's own patience would hide it.
      { file: 'storage/log-cleaner', find: 'this.shownFor(graceMs)', replace: 'this.shownFor(0)' },
    ],
  },
]
