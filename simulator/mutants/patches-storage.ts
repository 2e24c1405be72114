/** The storage broken: syncs left out or misplaced, recovery too trusting, checkpoints in the wrong order. */
import { FORGED_ENTRIES, JOURNAL_FILES_GONE, JOURNAL_ROT } from './attacks.ts'
import type { PatchMutant } from './patch.ts'

export const STORAGE_PATCHES: readonly PatchMutant[] = [
  {
    name: 'journal-not-synced',
    trap: 'T2',
    breaks: 'the journal says "on the disk" when the bytes are written and not synced',
    edits: [
      {
        file: 'storage/journal',
        find: 'file.datasync((failure) => {',
        replace: 'this.#clock.endOfTurn(() => {',
      },
      { file: 'storage/journal', find: "if (failure !== null) return this.#fail('sync', failure);", replace: '' },
    ],
  },
  {
    name: 'failed-sync-is-tried-again',
    trap: 'T8',
    breaks: 'a sync that failed is asked for again, and its success is believed, though the pages were marked clean',
    edits: [
      {
        file: 'storage/journal',
        find: 'file.datasync((failure) => {',
        replace: 'const synced = (failure) => {',
      },
      {
        file: 'storage/journal',
        find: "if (failure !== null) return this.#fail('sync', failure);",
        replace: 'if (failure !== null) return file.datasync(synced);',
      },
      {
        file: 'storage/journal',
        find: "if (this.#state === 'telling') this.#told(); });",
        replace: "if (this.#state === 'telling') this.#told(); }; file.datasync(synced);",
      },
    ],
  },
  {
    name: 'failed-write-is-ignored',
    trap: 'T18',
    breaks: 'a write that the disk did not take, or took in part, is followed by a sync as if it had been whole',
    edits: [
      { file: 'storage/journal', find: "if (failure !== null) return this.#fail('write', failure);", replace: '' },
    ],
  },
  {
    name: 'last-block-is-trusted',
    trap: 'T8',
    breaks: 'a start believes the journal’s last block because it reads well, though nobody saw its sync',
    edits: [
      {
        file: 'storage/storage',
        find: 'yield* call((done) => this.#journal.rewrite(last, done));',
        replace: 'yield* call((done) => done(null));',
      },
    ],
  },
  {
    name: 'rename-without-directory-sync',
    trap: 'T17',
    breaks:
      'a checkpoint takes over its name and the directory is not synced: power loss brings the old one back, whose journal is gone',
    edits: [
      {
        file: 'storage/atomic-file',
        find: 'yield* call((done) => disk.syncDirectory(dirname(path), done));',
        replace: '',
      },
    ],
  },
  {
    name: 'checkpoint-not-synced',
    trap: 'T17',
    breaks: 'a checkpoint is renamed before its bytes are synced',
    edits: [{ file: 'storage/atomic-file', find: 'yield* call((done) => file.datasync(done));', replace: '' }],
  },
  {
    name: 'segment-name-not-synced',
    trap: 'T17',
    breaks: 'a new journal segment is written to before its name is on the disk',
    edits: [
      {
        file: 'storage/segment-supply',
        find: 'const bytes = yield* this.#fill(file, most, least); yield* this.#syncNames();',
        replace: 'const bytes = yield* this.#fill(file, most, least);',
      },
    ],
  },
  {
    name: 'journal-freed-too-early',
    trap: 'T15',
    breaks: 'journal segments are given up before the checkpoint that replaces them is on the disk',
    edits: [
      {
        file: 'storage/checkpointer',
        find: 'return { pieces, shards: this.#records.all.size, journalFrom, freed };',
        replace:
          'if (freed > 0) this.#the.freed(journal.forget(freed)); return { pieces, shards: this.#records.all.size, journalFrom, freed };',
      },
      {
        file: 'storage/checkpointer',
        find: 'journalFrom, milliseconds }); if (freed > 0) this.#the.freed(journal.forget(freed));',
        replace: 'journalFrom, milliseconds });',
      },
    ],
  },
  {
    name: 'shard-log-not-synced',
    trap: 'T15',
    breaks: 'a checkpoint says what the shard log holds without a sync of the shard log',
    edits: [
      {
        file: 'storage/segment-writer',
        find: 'if (this.#unsyncedBytes > 0) {',
        replace: 'if (this.#unsyncedBytes < 0) {',
      },
    ],
  },
  {
    name: 'votes-not-in-the-checkpoint',
    trap: 'T1',
    breaks: 'a checkpoint frees the segment with the latest vote and does not carry the vote',
    edits: [
      {
        file: 'storage/checkpoint-format',
        find: 'fixed.writeUInt32LE(state.vote, 16);',
        replace: 'fixed.writeUInt32LE(0, 16);',
      },
    ],
  },
  {
    name: 'votes-not-recovered',
    trap: 'T1',
    breaks: 'a start takes its term from the disk and forgets for whom it voted in it',
    edits: [
      {
        file: 'storage/replay',
        find: 'term: hardState.term, vote: hardState.vote,',
        replace: 'term: hardState.term, vote: 0,',
      },
    ],
  },
  {
    name: 'replaced-entries-come-back',
    trap: 'T12',
    breaks: 'recovery keeps the first entry it finds at an index, not the last',
    edits: [
      {
        file: 'storage/replay',
        find: 'shard.entries.length = entry.index - first.index; shard.entries.push(entry); return true;',
        replace: 'if (entry.index === next) shard.entries.push(entry); return true;',
      },
    ],
  },
  {
    name: 'cut-at-the-first-bad-block',
    trap: 'T9',
    breaks:
      'damage in the middle of the journal is taken for its torn end, and what was acknowledged behind it is cut off',
    attack: { options: JOURNAL_ROT },
    edits: [
      {
        file: 'storage/recovery',
        find: "beyond: true, proved: '*', verdict: 'damage'",
        replace: "beyond: true, proved: '*', verdict: 'cut'",
      },
      {
        file: 'storage/recovery',
        find: "beyond: false, proved: ['checkpoint'], verdict: 'damage'",
        replace: "beyond: false, proved: ['checkpoint'], verdict: 'cut'",
      },
    ],
  },
  {
    name: 'nobody-misses-the-last-segment',
    trap: 'T9',
    breaks:
      'what was written down of the segment in service is not asked: where its file is gone the journal seems to end before it',
    attack: { options: JOURNAL_FILES_GONE },
    edits: [
      {
        file: 'storage/journal-scan',
        find: "return sequence <= entered ? 'entered' : 'none';",
        replace: "return 'none';",
      },
    ],
  },
  {
    name: 'block-without-its-place',
    trap: 'T20',
    breaks:
      'a whole block counts wherever it stands: one that was written to the wrong place is taken for its neighbour',
    edits: [
      {
        file: 'storage/journal-scan',
        find: "if (block.sequence < sequence) return { here: 'older', block: null };",
        replace: '',
      },
      {
        file: 'storage/journal-scan',
        find: "if (block.sequence > sequence || block.incarnation !== header.incarnation) return { here: 'unexpected', block: null };",
        replace: '',
      },
    ],
  },
  {
    name: 'entry-without-its-predecessor',
    trap: 'T20',
    breaks: 'nobody compares an entry with the sum of the one before it',
    attack: { options: FORGED_ENTRIES },
    edits: [
      {
        file: 'storage/replay',
        find: 'if (previous !== null && entry.previousCrc !== previous.crc)',
        replace: 'if (previous !== null && entry.previousCrc < 0)',
      },
      {
        file: 'replication/follower',
        find: 'if (entry.previousCrc !== log.lastCrc)',
        replace: 'if (entry.previousCrc < 0)',
      },
      {
        file: 'replication/raft-log',
        find: 'assert(entry.previousCrc === this.#lastCrc, () =>',
        replace: 'assert(entry.previousCrc >= 0, () =>',
      },
    ],
  },
]
