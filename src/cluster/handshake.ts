/**
 * The handshake: who are you, which cluster, which disk, which process?
 *
 * The node with the larger id dials, twice: one connection for control, one for data. On each of them
 *
 *      dialer                                     acceptor
 *        │── hello: who I am, whom I expect ────────►│  verifies; asks whether it may come in
 *        │◄─ welcome: who I am, a challenge ─────────│  (or: refusal, with the reason, and the connection ends)
 *        │  verifies the same things                 │
 *        │── confirm: the challenge, once *both* ───►│  the session is up here with the first confirm,
 *        │  the session is up here                   │  because it vouches for the other connection too
 *
 * The challenge is new for each attempt, so that a confirm answers this welcome and no other: the bytes of an earlier session,
 * said once more by a network that repeats itself, end where the present acceptor asks for something they do not contain.
 *
 * The confirm is the first frame in the agreed version; those before it can be read by any build (`peer-wire.ts`).
 *
 * The two connections of one attempt carry the same nonce, so that connections of two attempts are never mixed. The checks are
 * the same on both sides, and whoever is refused is told why in words that an operator can act on.
 *
 *   - Version ranges must overlap; the highest common one is spoken.
 *   - The acceptor must be the node that the dialer expects: an address can belong to somebody else by now.
 *   - Two nodes that both know their cluster's id must agree on it. Before the id exists (it is minted with the first metadata
 *     entry) the hashes of `--cluster` are compared, where both have one.
 *   - A node id has one disk at a time. A new process on the same disk replaces its predecessor, whose end this side has not
 *     noticed yet: the disk is claimed by one process only. Another disk under the id of a connected node is a duplicate.
 *   - Whether a disk may come in under an id is for `admit` to say, which knows the members.
 */
import type { Address } from '../platform/index.ts'
import { must } from '../stdx/index.ts'
import { ByteReader } from './byte-cursor.ts'
import {
  beginFrame,
  beginHandshake,
  FRAME_HEADER_BYTES,
  FrameKind,
  HANDSHAKE_HEADER_BYTES,
  sealFrame,
  sealHandshake,
  WIRE_VERSION_MAX,
  WIRE_VERSION_MIN,
} from './peer-wire.ts'

/** 'TMPW', little-endian. */
const MAGIC = 0x57504d54

export type ChannelRole = 'control' | 'data' | 'introduction'
const ROLES: readonly ChannelRole[] = ['control', 'data', 'introduction']

/** What a node says of itself; supplied anew for each handshake, since the cluster id may have been learned meanwhile. */
export interface SelfDescription {
  readonly node: number
  readonly diskIncarnation: string
  /** Null until the cluster has one and this node knows it. */
  readonly clusterId: string | null
  /** Of `--cluster`; '' for a node that was not started with it. */
  readonly clusterHash: string
  /** Where others reach this node. */
  readonly kafka: Address
  readonly http: Address | null
  readonly peer: Address
  readonly rack: string | null
}

export interface Hello extends SelfDescription {
  readonly versionMin: number
  readonly versionMax: number
  readonly role: ChannelRole
  /** One attempt to connect: both of its connections carry it. */
  readonly nonce: string
  /** The id that the sender believes to be talking to; 0 when it only knows an address. */
  readonly expected: number
  /** Random, drawn at every start of the process. */
  readonly processIncarnation: string
  /** In a welcome: what the confirm has to repeat. */
  readonly challenge?: string
}

/** Why one node does not talk to another. `message` is for the operator of the refused one. */
export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
}

const REFUSAL_CODES = [
  'WRONG_CLUSTER',
  'DUPLICATE_NODE',
  'UNKNOWN_DISK',
  'VERSION',
  'WRONG_NODE',
  'NOT_A_MEMBER',
  'PROTOCOL',
] as const
export type RefusalCode = (typeof REFUSAL_CODES)[number]

export function encodeHello(
  hello: Hello,
  kind: typeof FrameKind.hello | typeof FrameKind.welcome,
  stamp: number,
): Buffer {
  const writer = beginHandshake(256)
  writer.u32(MAGIC)
  writer.u8(hello.versionMin)
  writer.u8(hello.versionMax)
  writer.u8(ROLES.indexOf(hello.role))
  writer.text(hello.nonce)
  writer.u32(hello.expected)
  writer.u32(hello.node)
  writer.text(hello.processIncarnation)
  writer.text(hello.diskIncarnation)
  writer.text(hello.clusterId ?? '')
  writer.text(hello.clusterHash)
  for (const address of [hello.kafka, hello.http, hello.peer]) {
    writer.text(address?.host ?? '')
    writer.u16(address?.port ?? 0)
  }
  writer.text(hello.rack ?? '')
  writer.text(hello.challenge ?? '')
  const frame = writer.take()
  sealHandshake(frame, kind, stamp)
  return frame
}

/** Null if these bytes are no hello. Fields that later versions append are ignored. */
export function decodeHello(frame: Buffer): Hello | null {
  const reader = new ByteReader(frame, HANDSHAKE_HEADER_BYTES)
  if (reader.u32() !== MAGIC) return null
  const versionMin = reader.u8()
  const versionMax = reader.u8()
  const role = ROLES[reader.u8()]
  const nonce = reader.text()
  const expected = reader.u32()
  const node = reader.u32()
  const processIncarnation = reader.text()
  const diskIncarnation = reader.text()
  const clusterId = reader.text() || null
  const clusterHash = reader.text()
  const kafka = readAddress(reader)
  const http = readAddress(reader)
  const peer = readAddress(reader)
  const rack = reader.text() || null
  const challenge = reader.text()
  if (reader.failed || role === undefined || kafka === null || peer === null) return null
  if (node === 0 || nonce === '' || processIncarnation === '' || diskIncarnation === '') return null
  return {
    versionMin,
    versionMax,
    role,
    nonce,
    expected,
    node,
    processIncarnation,
    diskIncarnation,
    clusterId,
    clusterHash,
    kafka,
    http,
    peer,
    rack,
    challenge,
  }
}

function readAddress(reader: ByteReader): Address | null {
  const host = reader.text()
  const port = reader.u16()
  return host === '' ? null : { host, port }
}

export function encodeRefusal(refusal: Refusal, by: number, stamp: number): Buffer {
  const writer = beginHandshake(256)
  writer.u32(by)
  writer.text(refusal.code)
  writer.text(refusal.message)
  const frame = writer.take()
  sealHandshake(frame, FrameKind.refusal, stamp)
  return frame
}

export function decodeRefusal(frame: Buffer): { readonly refusal: Refusal; readonly by: number } | null {
  const reader = new ByteReader(frame, HANDSHAKE_HEADER_BYTES)
  const by = reader.u32()
  const text = reader.text()
  const message = reader.text()
  if (reader.failed) return null
  // A later version may know reasons that this one does not; its sentence still says what to do.
  const code = REFUSAL_CODES.find((known) => known === text) ?? 'PROTOCOL'
  return { refusal: { code, message }, by }
}

/** The first frame of the version that both sides speak. */
export function encodeConfirm(challenge: string, version: number, stamp: number): Buffer {
  const writer = beginFrame(32)
  writer.text(challenge)
  const frame = writer.take()
  sealFrame(frame, [], version, FrameKind.confirm, stamp)
  return frame
}

/** The challenge that is answered; null if these bytes are no confirm. */
export function decodeConfirm(frame: Buffer): string | null {
  const reader = new ByteReader(frame, FRAME_HEADER_BYTES)
  const challenge = reader.text()
  return reader.failed ? null : challenge
}

/** The version that both sides speak. Whoever was let in has one. */
export function agreedVersion(hello: Hello): number {
  return must(commonVersion(hello), 'a version in common: it was compared')
}

function commonVersion(hello: Hello): number | null {
  const version = Math.min(hello.versionMax, WIRE_VERSION_MAX)
  return version >= Math.max(hello.versionMin, WIRE_VERSION_MIN) ? version : null
}

/** The checks that need no knowledge of members or sessions. */
export function compareIdentity(self: SelfDescription, processIncarnation: string, hello: Hello): Refusal | null {
  if (commonVersion(hello) === null) {
    return {
      code: 'VERSION',
      message: `node ${self.node} speaks versions ${WIRE_VERSION_MIN} to ${WIRE_VERSION_MAX} of the wire between nodes, node ${hello.node} speaks ${hello.versionMin} to ${hello.versionMax}; upgrade one release at a time`,
    }
  }
  if (hello.expected !== 0 && hello.expected !== self.node) {
    return {
      code: 'WRONG_NODE',
      message: `this is node ${self.node}, not node ${hello.expected}; correct the address of node ${hello.expected}`,
    }
  }
  if (hello.node === self.node) {
    return hello.processIncarnation === processIncarnation
      ? {
          code: 'WRONG_NODE',
          message: `node ${self.node} has dialled itself; an address in --cluster belongs to the wrong id`,
        }
      : { code: 'DUPLICATE_NODE', message: `this is node ${self.node} already; give the other node an id of its own` }
  }
  if (self.clusterId !== null && hello.clusterId !== null) {
    if (self.clusterId === hello.clusterId) return null
    return {
      code: 'WRONG_CLUSTER',
      message: `node ${self.node} belongs to cluster ${self.clusterId}, node ${hello.node} to cluster ${hello.clusterId}; check the addresses and the data directory`,
    }
  }
  if (self.clusterHash !== '' && hello.clusterHash !== '' && self.clusterHash !== hello.clusterHash) {
    return {
      code: 'WRONG_CLUSTER',
      message: `node ${self.node} and node ${hello.node} were started with different --cluster lists; they must be the same on each node`,
    }
  }
  return null
}
