/**
 * Who this disk is. A replica belongs to (node, disk incarnation): the incarnation is drawn once, when the directory is made,
 * so a node that comes back with an empty disk is seen to be somebody new and never votes with the old one's voice.
 *
 *      0  8 B  magic          "TIDEIDEN"
 *      8  u32  crc            CRC-32C of everything from byte 12 on
 *     12  u16  version
 *     14  u16  readableFrom
 *     16  u32  nodeId
 *     20 16 B  diskIncarnation
 *     36  u16  length of the cluster id, then the id (UTF-8); 0 while it is not known
 *      …  u16  length of the cluster hash, then the hash (UTF-8); 0 for a node that was started alone or joined
 */
import { PlatformError } from '../platform/index.ts'
import { crc32c, TypedError } from '../stdx/index.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import { newerFormat, readable, writeVersions } from './versions.ts'

export interface Identity {
  readonly nodeId: number
  /** 16 random bytes as hex. */
  readonly diskIncarnation: string
  /** Null until the cluster's first entry was seen. */
  readonly clusterId: string | null
  readonly clusterHash: string
}

const MAGIC = Buffer.from('TIDEIDEN', 'latin1')
const FIXED_BYTES = 36
export const IDENTITY_BYTES_MAX = 4096

export function encodeIdentity(identity: Identity): Buffer {
  const id = Buffer.from(identity.clusterId ?? '', 'utf8')
  const hash = Buffer.from(identity.clusterHash, 'utf8')
  const bytes = Buffer.alloc(FIXED_BYTES + 2 + id.length + 2 + hash.length)
  MAGIC.copy(bytes, 0)
  writeVersions(bytes, 12)
  bytes.writeUInt32LE(identity.nodeId, 16)
  Buffer.from(identity.diskIncarnation, 'hex').copy(bytes, 20)
  bytes.writeUInt16LE(id.length, FIXED_BYTES)
  id.copy(bytes, FIXED_BYTES + 2)
  bytes.writeUInt16LE(hash.length, FIXED_BYTES + 2 + id.length)
  hash.copy(bytes, FIXED_BYTES + 4 + id.length)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

/** The identity in these bytes, or why there is none. `file` is named in the refusal. */
export function decodeIdentity(bytes: Buffer, file: string): Identity | StorageError {
  if (bytes.length < FIXED_BYTES + 4 || !bytes.subarray(0, 8).equals(MAGIC)) return damaged(file, 0)
  // Before the sum: where it lies and what it covers may be the very thing that a newer version changed.
  if (!readable(bytes, 12)) return newerFormat(file, bytes, 12)
  if (crc32c(bytes.subarray(12)) !== bytes.readUInt32LE(8)) return damaged(file, 8)
  const idBytes = bytes.readUInt16LE(FIXED_BYTES)
  if (FIXED_BYTES + 4 + idBytes > bytes.length) return damaged(file, FIXED_BYTES)
  const hashAt = FIXED_BYTES + 2 + idBytes
  if (hashAt + 2 + bytes.readUInt16LE(hashAt) !== bytes.length) return damaged(file, hashAt)
  return {
    nodeId: bytes.readUInt32LE(16),
    diskIncarnation: bytes.toString('hex', 20, 36),
    clusterId: idBytes === 0 ? null : bytes.toString('utf8', FIXED_BYTES + 2, hashAt),
    clusterHash: bytes.toString('utf8', hashAt + 2),
  }
}

/** Of two whole ones: only the cluster's id is ever added. */
export function isLaterIdentity(second: Identity, first: Identity): boolean {
  return first.clusterId === null && second.clusterId !== null
}

/** Why this disk must not be used for that node and cluster, or null. */
export function refusal(stored: Identity, nodeId: number, clusterHash: string, file: string): StorageError | null {
  if (stored.nodeId !== nodeId) {
    return new StorageError(
      { code: 'OTHER_NODE', file, stored: stored.nodeId, given: nodeId },
      `this data directory belongs to node ${stored.nodeId}, not to node ${nodeId} (${file}). ` +
        `Start it with --id ${stored.nodeId}, or give node ${nodeId} a directory of its own with --data.`,
    )
  }
  // A start without --cluster makes no claim: the stored one holds.
  if (clusterHash === '' || clusterHash === stored.clusterHash) return null
  const found = stored.clusterHash === '' ? 'a node that was not started with --cluster' : 'another --cluster'
  return new StorageError(
    { code: 'OTHER_CLUSTER', file, stored: stored.clusterHash, given: clusterHash },
    `this data directory was made by ${found} (${file}). Start it with the same --cluster as the first time ` +
      '(or without one), or give this node an empty directory with --data.',
  )
}

export function otherCluster(stored: string, given: string, file: string): StorageError {
  return new StorageError(
    { code: 'OTHER_CLUSTER', file, stored, given },
    `this data directory belongs to cluster ${stored}, the node now meets cluster ${given} (${file}). ` +
      'Check the peer addresses, or give this node an empty directory with --data.',
  )
}

function damaged(file: string, position: number): StorageError {
  const details = { code: 'IDENTITY_DAMAGED', file, position } as const
  return new StorageError(details, `${file} is damaged (byte ${position}). ${KEEP_THE_DIRECTORY}`)
}

export function isNotFound(error: unknown): boolean {
  return error instanceof TypedError && error.code === 'DISK_NOT_FOUND'
}

/** The disk is there, and gives up on what it was to read: a bad sector. */
export function isUnreadable(error: unknown): error is PlatformError {
  return error instanceof PlatformError && error.details.code === 'DISK_FAILED' && error.details.errno === 'EIO'
}

export function isNotEmpty(error: unknown): boolean {
  return error instanceof TypedError && error.code === 'DISK_NOT_EMPTY'
}
