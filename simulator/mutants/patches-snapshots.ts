/** Snapshots and cuts broken: what a follower that is far behind is given, and what everybody lets go. */
import { MANY_CHUNKS, MANY_DELETIONS, MANY_SNAPSHOTS } from './attacks-replication.ts'
import type { PatchMutant } from './patch.ts'

export const SNAPSHOT_PATCHES: readonly PatchMutant[] = [
  {
    name: 'snapshot-over-a-newer-log',
    trap: 'T15',
    breaks: 'a snapshot is installed over a log that already goes beyond it',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'replication/follower',
        find: 'if (index <= commit) return true; if (index > log.lastIndex) return false; const held = log.entry(index);',
        replace: 'if (index >= 0) return false; const held = log.entry(index + commit);',
      },
    ],
  },
  {
    name: 'snapshot-acknowledged-from-memory',
    trap: 'T15',
    breaks: 'a follower acknowledges a snapshot that has arrived before it is on its disk',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'replication/follower',
        find: 'core.install(snapshot);',
        replace:
          "core.install(snapshot); core.send(from, { type: 'append-reply', shard: core.shard, term: core.term, received: head.index, journaled: head.index, rejected: null });",
      },
    ],
  },
  {
    name: 'snapshot-beside-the-old-journal',
    trap: 'T15',
    breaks: 'after a snapshot was installed a start still counts the entries that it replaced',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'storage/replay',
        find: 'if (sequence <= (this.#journalAfter.get(entry.shard) ?? 0)) return false;',
        replace: '',
      },
    ],
  },
  {
    name: 'snapshot-not-given-to-the-machine',
    trap: 'T12',
    breaks: 'the log stands at the snapshot’s index and the state machine where it was',
    attack: MANY_SNAPSHOTS,
    edits: [{ file: 'replication/replica', find: 'this.#machine.restore(state); const bytes', replace: 'const bytes' }],
  },
  {
    name: 'snapshot-keeps-deleted-keys',
    trap: 'T12',
    breaks: 'what was deleted while a follower was behind is still there after it was given a snapshot',
    attack: MANY_DELETIONS,
    edits: [
      {
        file: 'replication/keyed-machine',
        find: 'this.#committed.delete(key); this.changed(key, null); } for (const [key, value] of restored) {',
        replace: 'restored.set(key, this.#committed.get(key)); } for (const [key, value] of restored) {',
      },
    ],
  },
  {
    name: 'chunks-in-any-order',
    trap: 'T22',
    breaks: 'a chunk of a snapshot is taken wherever it belongs, so a repeated one is taken twice',
    attack: MANY_CHUNKS,
    edits: [
      {
        file: 'replication/snapshot-receiving',
        find: 'if (at !== this.#received || at + chunk.length > this.head.totalBytes) return;',
        replace: 'if (at < 0) return;',
      },
    ],
  },
  {
    name: 'segments-removed-before-the-checkpoint',
    trap: 'T15',
    breaks: 'a cut removes segments of the shard log that the checkpoint on the disk still names',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'storage/segment-writer',
        find: 'return this.#drop(Math.max(0, Math.min(holder, named)));',
        replace: 'return this.#drop(named < 0 ? 0 : named);',
      },
    ],
  },
  {
    name: 'cut-above-what-is-applied',
    trap: 'T16',
    breaks: 'the log is cut above the state that stands for what was cut',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'replication/replica',
        find: 'this.raft.cutTo(start);',
        replace: 'this.raft.cutTo({ index: entry.index + 1, offset: entry.firstOffset + entry.recordCount });',
      },
    ],
  },
  {
    name: 'cut-before-it-is-committed',
    trap: 'T16',
    breaks: 'a leader cuts its log when it proposes the cut: another leader may say that the log starts lower',
    attack: MANY_SNAPSHOTS,
    edits: [
      {
        file: 'replication/replica',
        find: 'this.#marks.proposed(raft.term, entry.index);',
        replace: 'this.#marks.proposed(raft.term, entry.index); this.raft.cutTo(cut.start);',
      },
    ],
  },
]
