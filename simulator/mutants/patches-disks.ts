/** Disks that are low or stuck, and a node that does not care, or cares for ever. */
import { LOW_DISKS, STUCK_JOURNALS } from './attacks.ts'
import type { PatchMutant } from './patch.ts'

export const DISK_PATCHES: readonly PatchMutant[] = [
  {
    name: 'ignores-the-reserve',
    trap: 'T18',
    breaks: 'records are taken out of the last bytes of the disk, which votes, metadata and checkpoints need',
    attack: { called: 'low disks', options: LOW_DISKS },
    edits: [{ file: 'streams/partition', find: 'if (noRoom !== null) {', replace: 'if (noRoom === undefined) {' }],
  },
  {
    name: 'never-resumes',
    trap: 'T18',
    breaks: 'once the disk was low records are refused for ever, however much room there is',
    attack: { called: 'low disks', options: LOW_DISKS },
    edits: [
      { file: 'storage/disk-watch', find: 'const low = refused ||', replace: 'const low = this.#low || refused ||' },
    ],
  },
  {
    name: 'full-disk-ends-the-node',
    trap: 'T18',
    breaks: 'a shard log or a checkpoint for which there is no room ends the node, though the journal has it all',
    attack: { profile: 'disk' },
    edits: [
      {
        file: 'storage/room',
        find: "return error instanceof PlatformError && error.code === 'DISK_FULL';",
        replace: 'return false;',
      },
    ],
  },
  {
    name: 'keeps-leading-while-stuck',
    trap: 'T19',
    breaks: 'a leader whose disk does not answer keeps its shards, and all their clients waiting',
    attack: { called: 'stuck journals', options: STUCK_JOURNALS },
    edits: [
      { file: 'replication/host', find: "if (stuck) raft.stepDown('disk-stuck');", replace: 'if (stuck) continue;' },
    ],
  },
]
