/**
 * Which errors a fault excuses. The table is the specification: a node whose disk is full may say that it is full, not that its
 * journal is damaged. No code at all: it goes on, and has its files repaired.
 */
import type { FileKind } from './atlas.ts'

/** A call failed under a running node, or under one that is starting. */
const FAILED = ['JOURNAL_FAILED', 'SHARD_LOG_FAILED', 'CHECKPOINT_FAILED', 'DISK_FAILED']

export const CODES_OF_FAILED_CALLS: ReadonlySet<string> = new Set(FAILED)

/** The disk is full: a start says so itself. Of what a running node writes only the journal cannot wait for room. */
export const CODES_OF_FULL_DISKS: ReadonlySet<string> = new Set(['JOURNAL_FAILED', 'DISK_FULL'])

/** What is found, or not found, when a damaged file of this kind is needed. */
const DAMAGED: Readonly<Record<FileKind, readonly string[]>> = {
  // There is a copy of each, which these faults do not reach.
  identity: [],
  checkpoint: [],
  // And what it has lost of the journal: all but a node that is alone. A folder may go under a start that has looked into it.
  journal: ['DISK_NOT_FOUND'],
  // Other replicas have it.
  'shard-log': [],
  'shard-index': [],
  other: [],
}

export const CODES_OF_DAMAGE = Object.fromEntries(
  Object.entries(DAMAGED).map(([kind, codes]) => [kind, new Set(codes)]),
) as unknown as Readonly<Record<FileKind, ReadonlySet<string>>>

/**
 * A whole, earlier file. An identity changes with its disk only: an earlier one is of the disk before, and reads well. What shows it
 * is the first file that belongs to the present disk.
 */
export const CODES_OF_STALE_FILES: Readonly<Record<FileKind, ReadonlySet<string>>> = {
  ...CODES_OF_DAMAGE,
  identity: new Set([...DAMAGED.identity, 'CHECKPOINT_DAMAGED']),
}
/** A node that is alone has nobody to get anything from. */
export const CODES_WITHOUT_PEERS: ReadonlySet<string> = new Set(['JOURNAL_DAMAGED', 'NEWER_FORMAT', 'LOG_BROKEN'])

/** One read alone has no copy to turn to. */
const MISREAD = ['IDENTITY_DAMAGED', 'CHECKPOINT_DAMAGED', 'NEWER_FORMAT', 'OTHER_CLUSTER', 'LOG_BROKEN']

/** A read brought something else than what lies on the disk: what it looks like depends on the file. */
export const CODES_OF_MISREAD: ReadonlySet<string> = new Set([...Object.values(DAMAGED).flat(), ...MISREAD])

/** Somebody with an empty disk under a known name is turned away by the others. */
export const CODES_OF_WIPED_DISKS: ReadonlySet<string> = new Set(['REFUSED_BY_CLUSTER'])
