/**
 * Who is in a group: its members in the order in which they came, the instance ids of those that are static, the ids that
 * were given out and not yet used, the leader, and the protocols that all of them speak.
 *
 * The protocols are counted, not searched: `supporters` of a name = members that speak it, so "common to all" is one lookup
 * however large the group is. A thousand members that rejoin at once would otherwise cost a million comparisons.
 */
import { assert, must } from '../../stdx/index.ts'
import type { Done, JoinGroupResponse, SyncGroupResponse } from './messages.ts'

export interface Protocol {
  readonly name: string
  /** The member's subscription: bytes that only the members' own library understands. */
  readonly metadata: Buffer
}

export interface ParkedJoin {
  readonly apiVersion: number
  readonly done: Done<JoinGroupResponse>
}

export interface ParkedSync {
  readonly done: Done<SyncGroupResponse>
}

export interface Member {
  readonly id: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  protocols: readonly Protocol[]
  /** What the leader of the present generation gave it; empty until that is committed. */
  assignment: Buffer
  /** It has never been told a generation, so it cannot heartbeat yet. */
  isNew: boolean
  /** When (monotonic) it is removed, unless it is heard of before or has a request parked here. */
  deadline: number
  /** Invariant: counted in `Membership.joining`. */
  join: ParkedJoin | null
  sync: ParkedSync | null
}

export const EMPTY_BYTES: Buffer = Buffer.alloc(0)

export class Membership {
  readonly #members = new Map<string, Member>()
  readonly #statics = new Map<string, string>()
  readonly #supporters = new Map<string, number>()
  #joining = 0
  #bytes = 0

  /** Ids given out with MEMBER_ID_REQUIRED and not used yet, with the time when they lapse. */
  readonly pending = new Map<string, number>()
  /** Invariant: the id of a member, or null if there is none. */
  leader: string | null = null

  get size(): number {
    return this.#members.size
  }

  /** What the members' protocols take, and with them the group's record. */
  get bytes(): number {
    return this.#bytes
  }

  /** Members with a JoinGroup parked. */
  get joining(): number {
    return this.#joining
  }

  /** Everybody who is expected is here: nobody has yet to rejoin, and no id was given out that is still to be used. */
  get allJoined(): boolean {
    return this.#joining === this.#members.size && this.pending.size === 0
  }

  values(): IterableIterator<Member> {
    return this.#members.values()
  }

  get(id: string): Member | undefined {
    return this.#members.get(id)
  }

  staticId(instanceId: string): string | undefined {
    return this.#statics.get(instanceId)
  }

  isLeader(id: string): boolean {
    return this.leader === id
  }

  /** The first to come leads. */
  add(member: Member): void {
    assert(!this.#members.has(member.id), () => `member ${member.id} is added once`)
    this.#members.set(member.id, member)
    this.pending.delete(member.id)
    if (member.instanceId !== null) this.#statics.set(member.instanceId, member.id)
    if (member.join !== null) this.#joining++
    this.#count(member.protocols, 1)
    this.leader ??= member.id
  }

  remove(member: Member): void {
    assert(member.join === null && member.sync === null, () => `${member.id} leaves with a request unanswered`)
    assert(this.#members.delete(member.id), () => `${member.id} is a member`)
    if (member.instanceId !== null) this.#statics.delete(member.instanceId)
    this.#count(member.protocols, -1)
    if (this.leader === member.id) this.leader = this.#members.keys().next().value ?? null
  }

  /** The same seat under a new id: a static member's new process. The order of the members stays. */
  rename(member: Member, id: string): Member {
    assert(member.join === null && member.sync === null, () => `${member.id} is replaced with a request unanswered`)
    const heir: Member = { ...member, id }
    const seats = [...this.#members.values()]
    this.#members.clear()
    for (const seat of seats) this.#members.set(seat === member ? id : seat.id, seat === member ? heir : seat)
    this.#statics.set(must(heir.instanceId, 'instance id of a replaced member'), id)
    if (this.leader === member.id) this.leader = id
    return heir
  }

  update(member: Member, protocols: readonly Protocol[], rebalanceTimeoutMs: number, sessionTimeoutMs: number): void {
    this.#count(member.protocols, -1)
    member.protocols = protocols
    this.#count(protocols, 1)
    member.rebalanceTimeoutMs = rebalanceTimeoutMs
    member.sessionTimeoutMs = sessionTimeoutMs
  }

  /** Returns the request that was parked before, which nobody waits for any more: a client has one join at a time. */
  parkJoin(member: Member, join: ParkedJoin): ParkedJoin | null {
    const superseded = member.join
    if (superseded === null) this.#joining++
    member.join = join
    return superseded
  }

  takeJoin(member: Member): ParkedJoin | null {
    const join = member.join
    if (join !== null) this.#joining--
    member.join = null
    return join
  }

  /** The round can go on if its leader has come; if not, the first who has come leads. False: nobody has. */
  electJoined(): boolean {
    if (this.leader === null) return false
    if (must(this.#members.get(this.leader), 'the leader').join !== null) return true
    for (const member of this.#members.values()) {
      if (member.join === null) continue
      this.leader = member.id
      return true
    }
    return false
  }

  /** At least one of the names is spoken by every member. */
  sharesOne(names: Iterable<{ readonly name: string }>): boolean {
    for (const { name } of names) if ((this.#supporters.get(name) ?? 0) === this.#members.size) return true
    return false
  }

  /** Each member votes for the first of its protocols that all speak; most votes win, and of equals the first named. */
  vote(): string {
    const votes = new Map<string, number>()
    for (const member of this.#members.values()) {
      const choice = member.protocols.find(({ name }) => this.#supporters.get(name) === this.#members.size)
      const { name } = must(choice, 'a protocol that all members speak')
      votes.set(name, (votes.get(name) ?? 0) + 1)
    }
    let winner: string | null = null
    let most = 0
    for (const [name, count] of votes) {
      if (count <= most) continue
      winner = name
      most = count
    }
    return must(winner, 'a vote')
  }

  /** A round takes as long as the slowest member asks for. */
  rebalanceTimeoutMs(): number {
    let longest = 0
    for (const member of this.#members.values()) longest = Math.max(longest, member.rebalanceTimeoutMs)
    return longest
  }

  #count(protocols: readonly Protocol[], by: 1 | -1): void {
    this.#bytes += by * protocolBytes(protocols)
    for (const { name } of protocols) {
      const supporters = (this.#supporters.get(name) ?? 0) + by
      if (supporters === 0) this.#supporters.delete(name)
      else this.#supporters.set(name, supporters)
    }
  }
}

export function protocolBytes(protocols: readonly Protocol[]): number {
  return protocols.reduce((sum, { name, metadata }) => sum + name.length + metadata.length, 0)
}

export function metadataFor(member: Member, protocol: string | null): Buffer {
  return member.protocols.find(({ name }) => name === protocol)?.metadata ?? EMPTY_BYTES
}

/** Same protocols, same order, same bytes: rejoining brings nothing new. */
export function sameProtocols(a: readonly Protocol[], b: readonly Protocol[]): boolean {
  return a.length === b.length && a.every((left, i) => left.name === b[i]!.name && left.metadata.equals(b[i]!.metadata))
}

/** Copies: a member outlives the request's buffer by days. Of two protocols with one name the first counts. */
export function ownedProtocols(protocols: readonly Protocol[]): Protocol[] {
  const names = new Set<string>()
  const owned: Protocol[] = []
  for (const { name, metadata } of protocols) {
    if (names.has(name)) continue
    names.add(name)
    owned.push({ name, metadata: Buffer.from(metadata) })
  }
  return owned
}
