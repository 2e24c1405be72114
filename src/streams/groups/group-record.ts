/**
 * The keyed records of a coordinator's log. Everything that a failover must not forget is one of two:
 *
 *     group/<group id>                             members, generation, protocol, leader, assignments
 *     offset/<group id>/<topic>/<partition>        a committed offset
 *
 * A topic's name has no slash and a partition is a number, so the second key reads from the right whatever the group is called.
 *
 * Values, big-endian; a string is i32 length + UTF-8 (−1: null), bytes are i32 length + bytes:
 *
 *     group    u8 version 1, u8 assigned, i32 generation, i64 changed at (wall clock), string? protocol type,
 *              string? protocol, string? leader, i32 members × { string id, string? instance id, string client id,
 *              string client host, i32 session timeout, i32 rebalance timeout, i32 protocols × { string name, bytes metadata },
 *              bytes assignment }
 *     offset   u8 version 1, i64 offset, i32 leader epoch, i64 committed at (wall clock), string metadata
 *
 * `assigned` tells a generation whose leader has assigned (Stable) from one that only its members' joins have made.
 * The wall clock is a label for the expiry of offsets; nothing compares it for safety.
 */
import { assert } from '../../stdx/index.ts'
import type { Protocol } from './membership.ts'

export interface GroupRecord {
  readonly generation: number
  readonly assigned: boolean
  readonly changedAt: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leader: string | null
  /** In the order in which they joined. */
  readonly members: readonly MemberRecord[]
}

export interface MemberRecord {
  readonly id: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocols: readonly Protocol[]
  readonly assignment: Buffer
}

export interface OffsetRecord {
  readonly offset: number
  readonly leaderEpoch: number
  readonly committedAt: number
  readonly metadata: string
}

const VERSION = 1
const NULL_LENGTH = -1
const GROUP_PREFIX = 'group/'
const OFFSET_PREFIX = 'offset/'

export function groupKey(groupId: string): string {
  return GROUP_PREFIX + groupId
}

export function offsetKey(groupId: string, topic: string, partition: number): string {
  return `${OFFSET_PREFIX}${groupId}/${topic}/${partition}`
}

export type ParsedKey =
  | { readonly kind: 'group'; readonly groupId: string }
  | { readonly kind: 'offset'; readonly groupId: string; readonly topic: string; readonly partition: number }

/** Null for a key of another kind, which a later version may have written. */
export function parseKey(key: string): ParsedKey | null {
  if (key.startsWith(GROUP_PREFIX)) return { kind: 'group', groupId: key.slice(GROUP_PREFIX.length) }
  if (!key.startsWith(OFFSET_PREFIX)) return null
  const last = key.lastIndexOf('/')
  const middle = key.lastIndexOf('/', last - 1)
  assert(middle >= OFFSET_PREFIX.length, () => `key of an offset: ${key}`)
  return {
    kind: 'offset',
    groupId: key.slice(OFFSET_PREFIX.length, middle),
    topic: key.slice(middle + 1, last),
    partition: Number(key.slice(last + 1)),
  }
}

export function encodeGroupRecord(record: GroupRecord): Buffer {
  const into = new Writer()
  into.u8(VERSION)
  into.u8(record.assigned ? 1 : 0)
  into.i32(record.generation)
  into.i64(record.changedAt)
  into.string(record.protocolType)
  into.string(record.protocolName)
  into.string(record.leader)
  into.i32(record.members.length)
  for (const member of record.members) {
    into.string(member.id)
    into.string(member.instanceId)
    into.string(member.clientId)
    into.string(member.clientHost)
    into.i32(member.sessionTimeoutMs)
    into.i32(member.rebalanceTimeoutMs)
    into.i32(member.protocols.length)
    for (const { name, metadata } of member.protocols) {
      into.string(name)
      into.bytes(metadata)
    }
    into.bytes(member.assignment)
  }
  return into.finish()
}

export function decodeGroupRecord(value: Buffer): GroupRecord {
  const from = new Reader(value)
  from.version()
  const assigned = from.u8() === 1
  const generation = from.i32()
  const changedAt = from.i64()
  const protocolType = from.nullableString()
  const protocolName = from.nullableString()
  const leader = from.nullableString()
  const members: MemberRecord[] = []
  for (let left = from.i32(); left > 0; left--) {
    const id = from.string()
    const instanceId = from.nullableString()
    const clientId = from.string()
    const clientHost = from.string()
    const sessionTimeoutMs = from.i32()
    const rebalanceTimeoutMs = from.i32()
    const protocols: Protocol[] = []
    for (let more = from.i32(); more > 0; more--) protocols.push({ name: from.string(), metadata: from.bytes() })
    const assignment = from.bytes()
    members.push({ id, instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols, assignment })
  }
  from.end()
  return { generation, assigned, changedAt, protocolType, protocolName, leader, members }
}

export function encodeOffsetRecord(record: OffsetRecord): Buffer {
  const into = new Writer()
  into.u8(VERSION)
  into.i64(record.offset)
  into.i32(record.leaderEpoch)
  into.i64(record.committedAt)
  into.string(record.metadata)
  return into.finish()
}

export function decodeOffsetRecord(value: Buffer): OffsetRecord {
  const from = new Reader(value)
  from.version()
  const offset = from.i64()
  const leaderEpoch = from.i32()
  const committedAt = from.i64()
  const metadata = from.string()
  from.end()
  return { offset, leaderEpoch, committedAt, metadata }
}

/** Grows by doubling; `finish` hands out bytes of their own. */
class Writer {
  #buffer = Buffer.allocUnsafeSlow(256)
  #at = 0

  #reserve(bytes: number): number {
    const at = this.#at
    this.#at += bytes
    if (this.#at > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at))
      larger.set(this.#buffer.subarray(0, at))
      this.#buffer = larger
    }
    return at
  }

  u8(value: number): void {
    const at = this.#reserve(1)
    this.#buffer.writeUInt8(value, at)
  }

  i32(value: number): void {
    const at = this.#reserve(4)
    this.#buffer.writeInt32BE(value, at)
  }

  i64(value: number): void {
    const at = this.#reserve(8)
    this.#buffer.writeBigInt64BE(BigInt(value), at)
  }

  string(value: string | null): void {
    if (value === null) {
      this.i32(NULL_LENGTH)
      return
    }
    const length = Buffer.byteLength(value)
    this.i32(length)
    const at = this.#reserve(length)
    this.#buffer.write(value, at)
  }

  bytes(value: Buffer): void {
    this.i32(value.length)
    const at = this.#reserve(value.length)
    this.#buffer.set(value, at)
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }
}

/** Reads what `Writer` wrote; the log's checksum vouches for the bytes, so a misfit is our own mistake. */
class Reader {
  readonly #buffer: Buffer
  #at = 0

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  version(): void {
    const version = this.u8()
    assert(version === VERSION, () => `group record of version ${version}; this Tidemark reads up to ${VERSION}`)
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1))
  }

  i32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  i64(): number {
    return Number(this.#buffer.readBigInt64BE(this.#take(8)))
  }

  nullableString(): string | null {
    const length = this.i32()
    if (length === NULL_LENGTH) return null
    const at = this.#take(length)
    return this.#buffer.toString('utf8', at, at + length)
  }

  string(): string {
    const value = this.nullableString()
    assert(value !== null, 'a string that is not null')
    return value
  }

  /** A copy: a record's bytes must not keep the entry alive that brought them. */
  bytes(): Buffer {
    const length = this.i32()
    const at = this.#take(length)
    return Buffer.from(this.#buffer.subarray(at, at + length))
  }

  end(): void {
    assert(this.#at === this.#buffer.length, () => `${this.#buffer.length - this.#at} bytes after a group record`)
  }

  #take(bytes: number): number {
    const at = this.#at
    this.#at += bytes
    assert(this.#at <= this.#buffer.length, () => `group record ends at ${this.#buffer.length}, wanted ${this.#at}`)
    return at
  }
}
