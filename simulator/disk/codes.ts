/**
 * Which errors a fault excuses. The table is the specification: a node whose disk is full may say that it is full, not that its
 * journal is damaged.
 */
import type { FileKind } from './atlas.ts'

/** A call failed under a running node, or under one that is starting. */
const FAILED = ['JOURNAL_FAILED', 'SHARD_LOG_FAILED', 'CHECKPOINT_FAILED', 'DISK_FAILED']

export const CODES_OF_FAILED_CALLS: ReadonlySet<string> = new Set(FAILED)

/** The disk is full: a start says so itself. Of what a running node writes only the journal cannot wait for room. */
export const CODES_OF_FULL_DISKS: ReadonlySet<string> = new Set(['JOURNAL_FAILED', 'DISK_FULL'])

/** What is found, or not found, when a damaged file of this kind is needed. */
const DAMAGED: Readonly<Record<FileKind, readonly string[]>> = {
  identity: ['IDENTITY_DAMAGED', 'IDENTITY_MISSING', 'NEWER_FORMAT', 'OTHER_CLUSTER'],
  // An old one also asks for segments that were cut since.
  checkpoint: [
    'CHECKPOINT_DAMAGED',
    'CHECKPOINT_MISSING',
    'NEWER_FORMAT',
    'JOURNAL_DAMAGED',
    'LOG_BROKEN',
    'SHARD_LOG_MISSING',
  ],
  journal: ['JOURNAL_DAMAGED', 'NEWER_FORMAT', 'LOG_BROKEN'],
  // A missing one is also met by a running node that opens it.
  'shard-log': [
    'SHARD_LOG_DAMAGED',
    'SHARD_LOG_MISSING',
    'NEWER_FORMAT',
    'BELOW_LOG_START',
    'OFFSET_BELOW_LOG_START',
    'SHARD_LOG_FAILED',
    'DISK_NOT_FOUND',
  ],
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

/** A read brought something else than what lies on the disk: what it looks like depends on the file. */
export const CODES_OF_MISREAD: ReadonlySet<string> = new Set(Object.values(DAMAGED).flat())

/** Somebody with an empty disk under a known name is turned away by the others. */
export const CODES_OF_WIPED_DISKS: ReadonlySet<string> = new Set(['REFUSED_BY_CLUSTER'])
