/** Damage that is found, shown and repaired, broken: found and not told, repaired with anything, thrown away. */
import { COLD_ROT, ROT_BEHIND_A_QUORUM } from './attacks.ts'
import type { PatchMutant } from './patch.ts'

export const REPAIR_PATCHES: readonly PatchMutant[] = [
  {
    name: 'scrubber-passes-over-damage',
    trap: 'T9',
    breaks: 'the scrubber takes a damaged file for one that it has read',
    edits: [
      {
        file: 'storage/scrubber',
        find: 'if (!scrub.segment.dropped) log.repairs.note(error);',
        replace: '',
      },
    ],
    attack: { options: COLD_ROT },
  },
  {
    name: 'repaired-without-verifying',
    trap: 'T20',
    breaks:
      'what a peer sends is put in the place of what was lost as it comes, and a peer sends what was not asked for',
    edits: [
      {
        file: 'storage/segment-repair',
        find: 'const wrong = this.#wrongWith(entries);',
        replace: 'const wrong = null;',
      },
      {
        file: 'cluster/log-repair',
        find: 'if (entries[0]?.index !== from)',
        replace: 'if (entries.length === 0)',
      },
      {
        file: 'cluster/log-repair',
        find: 'this.#the.read(shard, from, skip + PIECE_BYTES,',
        replace: 'this.#the.read(shard, Math.max(1, from - 1), skip + PIECE_BYTES,',
      },
    ],
    attack: { options: COLD_ROT },
  },
  {
    name: 'damaged-files-are-deleted',
    trap: 'T10',
    breaks: 'a damaged file is removed when the repair begins, with what could still be read of it',
    edits: [
      {
        file: 'storage/log-repairs',
        find: 'yield* call((done) => disk.rename(path, aside, done));',
        replace: 'yield* call((done) => disk.remove(path, done));',
      },
    ],
    attack: { options: COLD_ROT },
  },
  {
    name: 'recovering-replica-votes',
    trap: 'T11',
    breaks: 'a replica that has lost a part of its log votes by what is left of it',
    edits: [{ file: 'replication/voting', find: 'return !recovering ||', replace: 'return true ||' }],
    attack: { options: ROT_BEHIND_A_QUORUM },
  },
  {
    name: 'reset-goes-on-as-a-voter',
    trap: 'T11',
    breaks: 'a start that has put its journal aside goes on as if it had lost nothing',
    edits: [
      { file: 'storage/resetting', find: 'vote: 0, recovering: true }', replace: 'vote: 0, recovering: false }' },
    ],
    attack: { options: ROT_BEHIND_A_QUORUM },
  },
  {
    name: 'recovers-with-the-first-append',
    trap: 'T11',
    breaks: 'a replica that recovers votes again as soon as it hears of a leader, without what that leader has',
    edits: [
      {
        file: 'replication/raft-core',
        find: 'if (log.termAt(commit) !== term || persistence.journaled < commit || !persistence.hardStateDurable)',
        replace: 'if (!persistence.hardStateDurable)',
      },
    ],
    attack: { options: ROT_BEHIND_A_QUORUM },
  },
]
