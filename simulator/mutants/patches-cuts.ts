/** Retention and deletions broken: logs that start where they should not. */
import type { Attack } from './mutant.ts'
import type { PatchMutant } from './patch.ts'

/** Files of a few entries, limits that are reached every few seconds, and somebody who deletes all the time. */
const ALWAYS_CUT: Attack = {
  options: {
    shrinking: {
      name: 'shrinking',
      configs: { 'segment.bytes': '600', 'segment.ms': '5000', 'retention.bytes': '4000', 'retention.ms': '-1' },
      byItself: true,
      intervalMs: 80,
      deleteEveryMs: 400,
    },
  },
}

export const CUT_PATCHES: readonly PatchMutant[] = [
  {
    name: 'retention-beyond-its-limit',
    trap: 'T16',
    breaks: 'a log is cut for its size until less is left than is to be kept',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'streams/retention',
        find: 'total - segments[gone].bytes >= limits.retentionBytes',
        replace: 'total >= limits.retentionBytes',
      },
    ],
  },
  {
    name: 'start-goes-back',
    trap: 'T16',
    breaks: 'a cut below where the log starts is carried out: what was gone is there again',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'streams/record-deletions',
        find: 'if (offset <= shard.startOffset) return done(KafkaError.NONE, shard.startOffset);',
        replace: 'if (offset < 1) return done(KafkaError.NONE, shard.startOffset);',
      },
      {
        file: 'replication/low-water-mark',
        find: 'requested === null || !isLater(requested.start, from) ?',
        replace: 'requested === null || from === undefined ?',
      },
      {
        file: 'replication/replica',
        find: 'if (!isLater(start, this.#start)) return; this.raft.cutTo(start);',
        replace: 'this.raft.cutTo(start);',
      },
      {
        file: 'replication/raft-log',
        find: 'assert(isLater(start, this.#start), () =>',
        replace: 'assert(isLater(start, this.#start) || start.index > 0, () =>',
      },
    ],
  },
  {
    name: 'place-at-the-start-forgets-producers',
    trap: 'T23',
    breaks: 'a follower that is placed at the start of a log knows no producer of what was cut',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'streams/partition',
        find: 'restore(snapshot) {',
        replace: 'forget() { this.#derived.producers.read(Buffer.alloc(12), 0); } restore(snapshot) {',
      },
      {
        file: 'replication/replica',
        find: 'this.#machine.restore(state); const bytes',
        replace: 'this.#machine.restore(state); this.#machine.forget?.(); const bytes',
      },
    ],
  },
  {
    name: 'placed-follower-derives-twice',
    trap: 'T12',
    breaks: 'a follower that is placed at the start of a log derives again from entries what its state knows already',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'streams/derived-state',
        find: 'if (entry.kind !== EntryKind.data || nextOffset <= this.#coveredOffset)',
        replace: 'if (entry.kind !== EntryKind.data)',
      },
    ],
  },
  {
    name: 'local-cut-not-in-the-log',
    trap: 'T16',
    breaks: 'a leader cuts its own log and tells nobody: the next leader’s starts lower',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'replication/replica',
        find: 'this.#marks.requests.ask(start, reason);',
        replace: 'if (isLater(start, this.#start)) { this.raft.cutTo(start); this.#changed = true; }',
      },
    ],
  },
  {
    name: 'cut-inside-an-entry-shows-what-was-cut',
    trap: 'T16',
    breaks: 'a read below the start is served from the entry that holds the start',
    attack: ALWAYS_CUT,
    edits: [
      {
        file: 'streams/partition-reader',
        find: 'if (offset < shard.startOffset || offset > shard.endOffset)',
        replace: 'if (offset < shard.startOffset - 3 || offset > shard.endOffset)',
      },
      {
        file: 'streams/partition-reader',
        find: 'if (offset < this.#shard.startOffset) return this.#result(KafkaError.OFFSET_OUT_OF_RANGE); const slices',
        replace: 'const slices',
      },
    ],
  },
]
