/**
 * One consumer group of the classic protocol, as its members see it: join, sync, heartbeat, leave, commit.
 *
 *     member                                coordinator
 *       │ JoinGroup ───────────────────────► parked until everybody is here: the generation
 *       │ ◄───── generation, leader; the leader also gets every member's subscription
 *       │ SyncGroup (the leader: with assignments) ► parked until the leader's assignment is committed
 *       │ ◄───── its own assignment
 *       │ Heartbeat ──► 0, or 27: join again, the group is changing
 *
 * The coordinator moves bytes and knows no partitions: the members' own library divides the work. What it owes them is that
 * within one generation all see the same members, leader, protocol and assignment; `rebalance.ts` keeps that promise, and this
 * file is the door in front of it: who may ask what, in which state, and what the answer is.
 *
 * The group is synchronous, has no clock, no log and no socket: time is a parameter, answers go out through `reply`, and
 * what must be committed first goes through `save`.
 *
 * Follows Apache Kafka's ClassicGroup, with these differences, each towards "answered exactly once" or "committed first":
 *   - a generation is committed before it is told;
 *   - the leader's assignment is taken once per generation;
 *   - a parked request that its own client repeats is answered (27), as is the parked sync of a member that goes (25).
 */
import { KafkaError } from '../errors.ts'
import { joinError, syncError } from './answers.ts'
import type { GroupRecord } from './group-record.ts'
import {
  EMPTY_BYTES,
  type Member,
  metadataFor,
  ownedProtocols,
  type ParkedJoin,
  protocolBytes,
  sameProtocols,
} from './membership.ts'
import type {
  DescribedMember,
  Done,
  GroupRequestContext,
  HeartbeatRequest,
  JoinGroupRequest,
  JoinGroupResponse,
  LeaveGroupResponse,
  LeavingMember,
  SyncGroupRequest,
  SyncGroupResponse,
} from './messages.ts'
import { Rebalance, type RebalanceCollaborators, type RebalanceOptions } from './rebalance.ts'

export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead'

export interface ClassicGroupOptions extends RebalanceOptions {
  /** How long a member that was never told a generation may wait for one: its client may be long gone. */
  readonly newMemberJoinTimeoutMs: number
  readonly groupMaxSize: number
  readonly groupMaxBytes: number
}

export interface ClassicGroupCollaborators extends RebalanceCollaborators {
  /** A string that no other call returns, on any node. */
  readonly uniqueId: () => string
}

/** From this version on a member without an id is told its id before it may join. */
const KNOWN_MEMBER_ID_VERSION = 4
/** From this version on a leader can be told that there is nothing to assign. */
const SKIP_ASSIGNMENT_VERSION = 9

export class ClassicGroup {
  readonly id: string
  readonly #options: ClassicGroupOptions
  readonly #out: ClassicGroupCollaborators
  readonly #rebalance: Rebalance

  constructor(options: ClassicGroupOptions, collaborators: ClassicGroupCollaborators) {
    this.id = options.groupId
    this.#options = options
    this.#out = collaborators
    this.#rebalance = new Rebalance(options, collaborators)
  }

  get state(): GroupState {
    return this.#rebalance.phase.name
  }

  get generation(): number {
    return this.#rebalance.generation
  }

  get protocolType(): string {
    return this.#rebalance.protocolType ?? ''
  }

  get memberCount(): number {
    return this.#rebalance.members.size
  }

  /** Nothing of it was ever committed and nobody is about to join: it need not be remembered. */
  get blank(): boolean {
    return this.state === 'Empty' && this.generation === 0 && this.#rebalance.members.pending.size === 0
  }

  /** `expire` is wanted at this time; infinite for a group without members. */
  get deadline(): number {
    return this.#rebalance.deadline
  }

  restore(record: GroupRecord, now: number): void {
    this.#rebalance.restore(record, now)
  }

  expire(now: number): void {
    this.#rebalance.expire(now)
  }

  /** The group is deleted as soon as that is committed. */
  die(): void {
    this.#rebalance.die()
  }

  /** Answers everything that is parked: the group lives on elsewhere. */
  dismissAll(error: number): void {
    for (const member of this.#rebalance.members.values()) this.#rebalance.dismiss(member, error)
  }

  join(request: JoinGroupRequest, context: GroupRequestContext, now: number, done: Done<JoinGroupResponse>): void {
    const { members } = this.#rebalance
    const { memberId } = request
    const join: ParkedJoin = { apiVersion: context.apiVersion, done }
    const instanceId = request.groupInstanceId ?? null
    if (this.state === 'Dead') {
      this.#refuseJoin(join, KafkaError.COORDINATOR_NOT_AVAILABLE, memberId)
      return
    }
    if (!this.#hasRoomFor(request)) {
      this.#refuseJoin(join, KafkaError.GROUP_MAX_SIZE_REACHED, '')
      return
    }
    if (!this.#speaks(request)) {
      this.#refuseJoin(join, KafkaError.INCONSISTENT_GROUP_PROTOCOL, memberId)
      return
    }

    if (memberId === '') {
      const newId = `${instanceId ?? context.clientId ?? ''}-${this.#out.uniqueId()}`
      const replaced = instanceId === null ? undefined : members.staticId(instanceId)
      if (replaced !== undefined) {
        this.#replaceStatic(members.get(replaced)!, newId, request, join, now)
        return
      }
      if (instanceId === null && context.apiVersion >= KNOWN_MEMBER_ID_VERSION) {
        members.pending.set(newId, now + request.sessionTimeoutMs)
        this.#rebalance.by(now + request.sessionTimeoutMs)
        this.#refuseJoin(join, KafkaError.MEMBER_ID_REQUIRED, newId)
        return
      }
      this.#add(newId, request, context, join, now)
      return
    }
    if (members.pending.has(memberId)) {
      this.#add(memberId, request, context, join, now)
      return
    }
    const error = this.#validate(memberId, instanceId)
    if (error !== KafkaError.NONE) {
      this.#refuseJoin(join, error, memberId)
      return
    }
    this.#rejoin(members.get(memberId)!, request, join, now)
  }

  sync(request: SyncGroupRequest, now: number, done: Done<SyncGroupResponse>): void {
    const error = this.#validateSync(request)
    if (error !== KafkaError.NONE) {
      this.#out.reply(done, syncError(error))
      return
    }
    const rebalance = this.#rebalance
    const { phase } = rebalance
    const member = rebalance.members.get(request.memberId)!
    if (phase.name === 'Stable') {
      rebalance.synced(member)
      rebalance.touch(member, now)
      this.#out.reply(done, rebalance.assigned(member))
      return
    }
    if (phase.name !== 'CompletingRebalance' || !phase.announced) {
      this.#out.reply(done, syncError(KafkaError.REBALANCE_IN_PROGRESS))
      return
    }
    const bytes = request.assignments.reduce((sum, { assignment }) => sum + assignment.length, 0)
    if (bytes > this.#options.groupMaxBytes) {
      this.#out.reply(done, syncError(KafkaError.UNKNOWN_SERVER_ERROR))
      return
    }
    rebalance.dismissSync(member, KafkaError.REBALANCE_IN_PROGRESS)
    member.sync = { done }
    rebalance.synced(member)
    if (rebalance.members.isLeader(member.id)) {
      rebalance.assign(new Map(request.assignments.map((each) => [each.memberId, Buffer.from(each.assignment)])))
    }
  }

  /** The error code to answer. */
  heartbeat(request: HeartbeatRequest, now: number): number {
    if (this.state === 'Dead') return KafkaError.COORDINATOR_NOT_AVAILABLE
    const error = this.#validate(request.memberId, request.groupInstanceId ?? null)
    if (error !== KafkaError.NONE) return error
    if (request.generationId !== this.generation) return KafkaError.ILLEGAL_GENERATION
    this.#rebalance.touch(this.#rebalance.members.get(request.memberId)!, now)
    return this.state === 'PreparingRebalance' ? KafkaError.REBALANCE_IN_PROGRESS : KafkaError.NONE
  }

  leave(leaving: readonly LeavingMember[], now: number): LeaveGroupResponse {
    const response: LeaveGroupResponse = { throttleTimeMs: 0, errorCode: KafkaError.NONE, members: [] }
    if (this.state === 'Dead') return { ...response, errorCode: KafkaError.COORDINATOR_NOT_AVAILABLE }
    const { members } = this.#rebalance
    let left = false
    let withdrew = false
    for (const { memberId, groupInstanceId = null } of leaving) {
      let errorCode: number = KafkaError.NONE
      if (memberId !== '' && members.pending.delete(memberId)) withdrew = true
      else {
        // An operator may remove a static member by its instance id alone.
        const id = memberId === '' && groupInstanceId !== null ? (members.staticId(groupInstanceId) ?? '') : memberId
        errorCode = this.#validate(id, groupInstanceId)
        if (errorCode === KafkaError.NONE) {
          this.#rebalance.remove(members.get(id)!, 'left')
          left = true
        }
      }
      response.members.push({ memberId, groupInstanceId, errorCode })
    }
    if (left) this.#rebalance.membersChanged(now, 'a member left')
    else if (withdrew) this.#rebalance.joinsChanged(now)
    return response
  }

  /** Whether the member may commit offsets now; if it may, it was heard of. The error code to answer. */
  commit(memberId: string, instanceId: string | null, generation: number, now: number): number {
    if (this.state === 'Dead') return KafkaError.COORDINATOR_NOT_AVAILABLE
    // A consumer that assigns its own partitions, or an operator: nobody else uses the group.
    if (generation < 0 && this.state === 'Empty') return KafkaError.NONE
    if (generation < 0 && memberId === '' && instanceId === null) return KafkaError.UNKNOWN_MEMBER_ID
    const error = this.#validate(memberId, instanceId)
    if (error !== KafkaError.NONE) return error
    if (generation !== this.generation) return KafkaError.ILLEGAL_GENERATION
    if (this.state === 'CompletingRebalance') return KafkaError.REBALANCE_IN_PROGRESS
    this.#rebalance.touch(this.#rebalance.members.get(memberId)!, now)
    return KafkaError.NONE
  }

  /** Protocol and assignments are told of a stable group only: before that they are about to change. */
  describe(): { protocolData: string; members: DescribedMember[] } {
    const stable = this.state === 'Stable'
    const protocol = this.#rebalance.protocolName
    const members = Array.from(this.#rebalance.members.values(), (member) => ({
      memberId: member.id,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      memberMetadata: stable ? metadataFor(member, protocol) : EMPTY_BYTES,
      memberAssignment: stable ? member.assignment : EMPTY_BYTES,
    }))
    return { protocolData: stable ? (protocol ?? '') : '', members }
  }

  #refuseJoin(join: ParkedJoin, error: number, memberId: string): void {
    this.#out.reply(join.done, joinError(error, memberId, join.apiVersion))
  }

  #add(id: string, request: JoinGroupRequest, context: GroupRequestContext, join: ParkedJoin, now: number): void {
    const member: Member = {
      id,
      instanceId: request.groupInstanceId ?? null,
      clientId: context.clientId ?? '',
      clientHost: context.clientHost,
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: rebalanceTimeout(request),
      protocols: ownedProtocols(request.protocols),
      assignment: EMPTY_BYTES,
      isNew: true,
      deadline: 0,
      join,
      sync: null,
    }
    this.#rebalance.admit(member, request.protocolType)
    this.#rebalance.touch(member, now, this.#options.newMemberJoinTimeoutMs)
    this.#rebalance.membersChanged(now, 'a member joined')
  }

  #rejoin(member: Member, request: JoinGroupRequest, join: ParkedJoin, now: number): void {
    const { phase, members } = this.#rebalance
    const protocols = ownedProtocols(request.protocols)
    const unchanged = sameProtocols(member.protocols, protocols)
    this.#rebalance.touch(member, now)
    if (phase.name === 'CompletingRebalance' && unchanged) {
      // The answer of the first join was lost: here it is again, once there is one.
      if (phase.announced) this.#out.reply(join.done, this.#rebalance.joined(member))
      else this.#park(member, join)
      return
    }
    if (phase.name === 'Stable' && unchanged && !members.isLeader(member.id)) {
      this.#out.reply(join.done, this.#rebalance.joined(member))
      return
    }
    // A leader that comes back has seen something change that its subscription does not show, such as new partitions.
    members.update(member, protocols, rebalanceTimeout(request), request.sessionTimeoutMs)
    this.#park(member, join)
    this.#rebalance.membersChanged(now, members.isLeader(member.id) ? 'the leader rejoined' : 'a member rejoined')
  }

  /**
   * A static member's new process. It takes the old one's seat, and as long as the group goes on to speak the same protocol it
   * also takes its assignment, without a round: that is what static members are for. Whoever still uses the old id is fenced.
   */
  #replaceStatic(old: Member, id: string, request: JoinGroupRequest, join: ParkedJoin, now: number): void {
    const rebalance = this.#rebalance
    const { members } = rebalance
    const leaderBefore = members.leader ?? ''
    rebalance.dismiss(old, KafkaError.FENCED_INSTANCE_ID)
    const member = members.rename(old, id)
    const { phase } = rebalance
    if ((phase.name === 'Stable' || phase.name === 'CompletingRebalance') && phase.unsynced.delete(old.id)) {
      phase.unsynced.add(id)
    }
    members.update(member, ownedProtocols(request.protocols), rebalanceTimeout(request), request.sessionTimeoutMs)
    this.#park(member, join)
    rebalance.touch(member, now)
    this.#out.trace({ type: 'group-member-replaced', group: this.id, instance: old.instanceId!, member: id })
    if (phase.name !== 'Stable' || members.vote() !== rebalance.protocolName) {
      rebalance.membersChanged(now, 'a static member came back')
      return
    }
    this.#out.save(rebalance.record(null), (committedAt) => {
      // A round that began meanwhile answers the join when it ends; a yet newer process has fenced this one.
      if (member.join !== join || rebalance.phase.name !== 'Stable') return
      members.takeJoin(member)
      rebalance.touch(member, committedAt)
      // Older clients that are told they lead would assign anew, and nobody would get it: let them believe they follow.
      const response =
        join.apiVersion >= SKIP_ASSIGNMENT_VERSION
          ? rebalance.joined(member, members.leader ?? '', members.isLeader(id))
          : rebalance.joined(member, leaderBefore)
      this.#out.reply(join.done, response)
    })
  }

  #park(member: Member, join: ParkedJoin): void {
    const superseded = this.#rebalance.members.parkJoin(member, join)
    if (superseded !== null) this.#refuseJoin(superseded, KafkaError.REBALANCE_IN_PROGRESS, member.id)
  }

  #validate(memberId: string, instanceId: string | null): number {
    const { members } = this.#rebalance
    if (instanceId !== null) {
      const holder = members.staticId(instanceId)
      if (holder === undefined) return KafkaError.UNKNOWN_MEMBER_ID
      if (holder !== memberId) return KafkaError.FENCED_INSTANCE_ID
    }
    return members.get(memberId) === undefined ? KafkaError.UNKNOWN_MEMBER_ID : KafkaError.NONE
  }

  #validateSync(request: SyncGroupRequest): number {
    if (this.state === 'Dead') return KafkaError.COORDINATOR_NOT_AVAILABLE
    const error = this.#validate(request.memberId, request.groupInstanceId ?? null)
    if (error !== KafkaError.NONE) return error
    if (request.generationId !== this.generation) return KafkaError.ILLEGAL_GENERATION
    const { protocolType, protocolName } = request
    const other =
      (protocolType != null && protocolType !== this.#rebalance.protocolType) ||
      (protocolName != null && protocolName !== this.#rebalance.protocolName)
    return other ? KafkaError.INCONSISTENT_GROUP_PROTOCOL : KafkaError.NONE
  }

  #speaks(request: JoinGroupRequest): boolean {
    if (this.state === 'Empty') return request.protocolType !== '' && request.protocols.length > 0
    return request.protocolType === this.protocolType && this.#rebalance.members.sharesOne(request.protocols)
  }

  /** While a round is on, those count who have come for it: the last to come are too many. */
  #hasRoomFor({ memberId, protocols }: JoinGroupRequest): boolean {
    const { members } = this.#rebalance
    const member = members.get(memberId)
    const others = members.bytes - protocolBytes(member?.protocols ?? [])
    if (others + protocolBytes(protocols) > this.#options.groupMaxBytes) return false
    if (this.state === 'Empty') return true
    if (this.state !== 'PreparingRebalance') return member !== undefined || members.size < this.#options.groupMaxSize
    return (member !== undefined && member.join !== null) || members.joining < this.#options.groupMaxSize
  }
}

function rebalanceTimeout(request: JoinGroupRequest): number {
  const { rebalanceTimeoutMs = -1, sessionTimeoutMs } = request
  return rebalanceTimeoutMs < 0 ? sessionTimeoutMs : rebalanceTimeoutMs
}
