/** Restores broken: offsets, what is hidden, and whose batches the restored ones are. */
import type { Attack } from './mutant.ts'
import type { PatchMutant } from './patch.ts'

const RESTORES: Attack = { options: { restorers: [0, 1].map((i) => ({ name: `restorer-${i}`, intervalMs: 60 })) } }

export const RESTORE_PATCHES: readonly PatchMutant[] = [
  {
    name: 'restored-batches-make-producers',
    trap: 'T23',
    breaks: 'a new producer with the id of a restored one is told that its first batch is a duplicate',
    attack: RESTORES,
    edits: [
      {
        file: 'streams/derived-state',
        find: 'const ours = baseOffsetOf(payload, at) >= this.#restoredEnd;',
        replace: 'const ours = true;',
      },
    ],
  },
  {
    name: 'restored-shown-early',
    trap: 'T24',
    breaks: 'consumers read topics that a restore has not finished',
    attack: RESTORES,
    edits: [
      {
        file: 'gateways/kafka/handlers/fetch',
        find: 'const hidden = found?.restoring === true',
        replace: 'const hidden = found === null',
      },
    ],
  },
  {
    name: 'restored-twice',
    trap: 'T23',
    breaks: 'batches are restored wherever the log ends, whatever offset they have',
    attack: RESTORES,
    edits: [
      { file: 'streams/restored-range', find: 'if (baseOffsetOf(bytes, at) !== next) {', replace: 'if (next < 0) {' },
    ],
  },
  {
    name: 'restored-epoch-kept',
    trap: 'T24',
    breaks: 'restored batches carry the leader epochs of another cluster, which clients take for the future',
    attack: RESTORES,
    edits: [
      {
        file: 'streams/partition',
        find: 'setLeaderEpoch(batch, 0, this.#term); pending.add(',
        replace: 'pending.add(',
      },
    ],
  },
  {
    name: 'origin-forgotten-without-checkpoint',
    trap: 'T12',
    breaks: 'a replica that starts before its first checkpoint believes that its log begins at offset 0',
    attack: RESTORES,
    edits: [
      {
        file: 'replication/host',
        find: 'nextOffset: spec.origin?.baseOffset ?? 0',
        replace: 'nextOffset: recovered === null ? spec.origin?.baseOffset ?? 0 : 0',
      },
    ],
  },
]
