/**
 * The coordinator of the consumer groups that fall on one partition of `__consumer_offsets`.
 *
 * A group must have one master at a time, which remembers what it said, also after it died. Both come from the shard that the
 * groups' records are in: its Raft leader is the coordinator, and what must be remembered is committed before it is said. So a
 * failover is invisible to members that heartbeat: the next leader knows members, generation, assignment and offsets, gives
 * everybody a full session to be heard of, and goes on counting.
 *
 *     requests ──► one state machine per group (groups/) ──► save ──► keyed record ──► quorum ──► answer
 *                          ▲                                            │
 *                          └── built from the records at becameLeader ◄─┘
 *
 * Followers keep the records and nothing else. What only the leader knows is the part that may be lost: joins that are parked,
 * ids given out and not used yet, when a member was last heard of. Parked requests are answered NOT_COORDINATOR when
 * leadership goes, and clients come back to whoever leads.
 *
 * One timer per group that has something to wait for, none for a group without members. A heartbeat postpones a deadline
 * without touching the timer: a timer that fires early finds that out and is set again, at most once a session.
 *
 * Answers are queued and handed out when the state machine's call has returned. A gateway may well run the next request of a
 * connection inside `done`; it must find the group between two transitions, never inside one.
 */
import type { Clock, Random, Timer } from '../platform/index.ts'
import { KeyedMachine, type MutationOutcome, type Shard, type Standing } from '../replication/index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import { joinError, nobodyLeft, syncError } from './groups/answers.ts'
import { describeGroup, listGroups } from './groups/catalogue.ts'
import { ClassicGroup } from './groups/classic-group.ts'
import type { GroupEvent } from './groups/events.ts'
import { decodeGroupRecord, decodeOffsetRecord, groupKey, parseKey } from './groups/group-record.ts'
import type {
  DeleteGroupsResponse,
  DescribedGroup,
  Done,
  GroupRequestContext,
  HeartbeatRequest,
  HeartbeatResponse,
  JoinGroupRequest,
  JoinGroupResponse,
  LeaveGroupRequest,
  LeaveGroupResponse,
  ListGroupsFilter,
  ListGroupsResponse,
  OffsetCommitRequest,
  OffsetCommitResponse,
  OffsetFetchGroupRequest,
  OffsetFetchGroupResponse,
  SyncGroupRequest,
  SyncGroupResponse,
} from './groups/messages.ts'
import { OffsetBook } from './groups/offset-book.ts'
import { commitResponse, fetchedTopics, offsetChanges } from './groups/offset-requests.ts'
import { GROUP_COORDINATOR_DEFAULTS, type GroupCoordinatorOptions } from './groups/options.ts'
import { uuid } from './groups/unique-id.ts'

export interface GroupCoordinatorCollaborators {
  readonly shard: Shard
  readonly clock: Clock
  readonly random: Random
  readonly trace: (event: GroupEvent) => void
}

/** A group and what the coordinator keeps beside it. */
interface Hosted {
  readonly group: ClassicGroup
  timer: Timer | null
  /** When `timer` fires; infinite without one. */
  timerAt: number
  /** Keys of offsets proposed and not known to be committed, with how many proposals: a deletion must cover them too. */
  readonly inFlight: Map<string, number>
}

/** From this version on a commit to a group that does not exist says so. */
const GROUP_NOT_FOUND_COMMIT_VERSION = 9

export class GroupCoordinator extends KeyedMachine {
  readonly #options: GroupCoordinatorOptions
  readonly #clock: Clock
  readonly #random: Random
  readonly #trace: (event: GroupEvent) => void
  /** Leader only, as are the offsets: empty on a follower. */
  readonly #groups = new Map<string, Hosted>()
  readonly #offsets = new OffsetBook()
  /** Callback and answer, alternating, of the transition in progress. */
  #answers: { done: Done<never>; response: never }[] = []
  #answering = false
  /** Requests that came between the election and the commit that settles it. */
  #early: (() => void)[] = []

  constructor(options: Partial<GroupCoordinatorOptions>, collaborators: GroupCoordinatorCollaborators) {
    super(collaborators.shard, () => collaborators.clock.wall())
    this.#options = { ...GROUP_COORDINATOR_DEFAULTS, ...options }
    this.#clock = collaborators.clock
    this.#random = collaborators.random
    this.#trace = collaborators.trace
  }

  join(request: JoinGroupRequest, context: GroupRequestContext, done: Done<JoinGroupResponse>): void {
    const { groupId, memberId } = request
    // What no coordinator would accept is said at once: a client would only carry it to the next one.
    let error: number = this.#defectOf(request)
    if (error === KafkaError.NONE && this.#waitsForLoading(() => this.join(request, context, done))) return
    const hosted = this.#groups.get(groupId)
    if (error === KafkaError.NONE) error = this.#readRefusal()
    if (error === KafkaError.NONE && hosted === undefined && memberId !== '') error = KafkaError.UNKNOWN_MEMBER_ID
    if (error !== KafkaError.NONE) {
      done(joinError(error, memberId, context.apiVersion))
      return
    }
    const seat = hosted ?? this.#host(groupId)
    seat.group.join(request, context, this.#clock.now(), done)
    this.#settle(seat)
  }

  #defectOf({ groupId, sessionTimeoutMs }: JoinGroupRequest): KafkaErrorCode {
    const { groupMinSessionTimeoutMs, groupMaxSessionTimeoutMs } = this.#options
    if (groupId === '') return KafkaError.INVALID_GROUP_ID
    const inRange = sessionTimeoutMs >= groupMinSessionTimeoutMs && sessionTimeoutMs <= groupMaxSessionTimeoutMs
    return inRange ? KafkaError.NONE : KafkaError.INVALID_SESSION_TIMEOUT
  }

  sync(request: SyncGroupRequest, done: Done<SyncGroupResponse>): void {
    let error = this.#readRefusal()
    // As Kafka does: a client takes "loading" here for a fault, and "rebalancing" for a reason to join again.
    if (error === KafkaError.COORDINATOR_LOAD_IN_PROGRESS) error = KafkaError.REBALANCE_IN_PROGRESS
    const hosted = this.#groups.get(request.groupId)
    if (request.groupId === '') error = KafkaError.INVALID_GROUP_ID
    if (error === KafkaError.NONE && hosted === undefined) error = KafkaError.UNKNOWN_MEMBER_ID
    if (error !== KafkaError.NONE) {
      done(syncError(error))
      return
    }
    hosted!.group.sync(request, this.#clock.now(), done)
    this.#settle(hosted!)
  }

  heartbeat(request: HeartbeatRequest, done: Done<HeartbeatResponse>): void {
    let errorCode = this.#refusal()
    // As Kafka does: whoever beats while the groups are being loaded has a full session afterwards anyway.
    if (request.groupId === '') errorCode = KafkaError.INVALID_GROUP_ID
    else if (errorCode === KafkaError.COORDINATOR_LOAD_IN_PROGRESS) errorCode = KafkaError.NONE
    else if (errorCode === KafkaError.NONE && !this.#random.chance('streams/heartbeat-unheard')) {
      const hosted = this.#groups.get(request.groupId)
      if (hosted === undefined) errorCode = KafkaError.UNKNOWN_MEMBER_ID
      else {
        errorCode = hosted.group.heartbeat(request, this.#clock.now())
        this.#arm(hosted)
      }
    }
    done({ throttleTimeMs: 0, errorCode })
  }

  leave(request: LeaveGroupRequest, context: GroupRequestContext, done: Done<LeaveGroupResponse>): void {
    let errorCode = this.#refusal()
    if (request.groupId === '') errorCode = KafkaError.INVALID_GROUP_ID
    if (errorCode !== KafkaError.NONE) {
      done({ throttleTimeMs: 0, errorCode, members: [] })
      return
    }
    const single = context.apiVersion < 3
    const leaving = single ? [{ memberId: request.memberId ?? '' }] : (request.members ?? [])
    const hosted = this.#groups.get(request.groupId)
    const response = hosted?.group.leave(leaving, this.#clock.now()) ?? nobodyLeft(leaving)
    if (single && response.errorCode === KafkaError.NONE) response.errorCode = response.members[0]!.errorCode
    this.#answer(done, response)
    if (hosted === undefined) this.#flush()
    else this.#settle(hosted)
  }

  /** Answers once the offsets are committed. Which topics exist is for the caller to know. */
  commitOffsets(request: OffsetCommitRequest, context: GroupRequestContext, done: Done<OffsetCommitResponse>): void {
    if (this.#waitsForLoading(() => this.commitOffsets(request, context, done))) return
    const { groupId } = request
    let error = this.#refusal()
    if (error === KafkaError.NONE && !this.shard.hasRoom) error = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    if (error === KafkaError.NONE) error = this.#validateCommit(request, context.apiVersion)
    if (error !== KafkaError.NONE) {
      done(commitResponse(request, error, 0))
      return
    }

    const limit = this.#options.offsetMetadataMaxBytes
    const changes = offsetChanges(request, this.#clock.wall(), limit)
    const answer = (failed: number): void => done(commitResponse(request, failed, limit))
    const bytes = changes.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
    if (bytes > this.#options.groupMaxBytes) {
      answer(KafkaError.INVALID_COMMIT_OFFSET_SIZE)
      return
    }
    if (changes.length === 0) {
      answer(KafkaError.NONE)
      return
    }
    const { inFlight } = this.#groups.get(groupId) ?? this.#host(groupId)
    for (const { key } of changes) inFlight.set(key, (inFlight.get(key) ?? 0) + 1)
    this.mutate(changes, (outcome) => {
      for (const { key } of changes) {
        const left = inFlight.get(key)! - 1
        if (left === 0) inFlight.delete(key)
        else inFlight.set(key, left)
      }
      answer(outcome === null ? KafkaError.NONE : KafkaError.NOT_COORDINATOR)
    })
  }

  fetchOffsets(request: OffsetFetchGroupRequest, done: Done<OffsetFetchGroupResponse>): void {
    if (this.#waitsForLoading(() => this.fetchOffsets(request, done))) return
    const { groupId } = request
    const errorCode = this.#readRefusal()
    const topics = errorCode === KafkaError.NONE ? fetchedTopics(this.#offsets, request) : []
    done({ groupId, topics, errorCode })
  }

  describe(groupIds: readonly string[]): DescribedGroup[] {
    const refusal = this.#readRefusal()
    return groupIds.map((groupId) => describeGroup(groupId, refusal, this.#groups.get(groupId)?.group))
  }

  list(filter: ListGroupsFilter): ListGroupsResponse {
    const errorCode = this.#readRefusal()
    const groups = errorCode === KafkaError.NONE ? listGroups(this.#groups.values(), filter) : []
    return { throttleTimeMs: 0, errorCode, groups }
  }

  /** Deletes groups without members, and their offsets; answers once that is committed. */
  delete(groupIds: readonly string[], done: Done<DeleteGroupsResponse>): void {
    const refusal = this.#refusal()
    const doomed: Hosted[] = []
    const results = groupIds.map((groupId) => {
      const hosted = this.#groups.get(groupId)
      let errorCode = refusal
      if (errorCode === KafkaError.NONE) {
        if (hosted === undefined || hosted.group.state === 'Dead') errorCode = KafkaError.GROUP_ID_NOT_FOUND
        else if (hosted.group.state !== 'Empty') errorCode = KafkaError.NON_EMPTY_GROUP
        else {
          hosted.group.die()
          doomed.push(hosted)
        }
      }
      return { groupId, errorCode }
    })
    if (doomed.length === 0) {
      done({ throttleTimeMs: 0, results })
      return
    }
    const keys = doomed.flatMap(({ group, inFlight }) => [
      ...new Set([groupKey(group.id), ...this.#offsets.keys(group.id), ...inFlight.keys()]),
    ])
    this.#forget(keys, (outcome) => {
      for (const { group } of doomed) {
        if (outcome === null) {
          this.#groups.delete(group.id)
          this.#trace({ type: 'group-deleted', group: group.id })
        } else {
          for (const result of results) if (result.groupId === group.id) result.errorCode = KafkaError.NOT_COORDINATOR
        }
      }
      done({ throttleTimeMs: 0, results })
    })
  }

  /** A topic of that name is no more: a later one must not begin where this one was left. */
  forgetTopic(topic: string, done: (outcome: MutationOutcome) => void): void {
    const keys: string[] = []
    for (const groupId of this.#offsets.groups()) keys.push(...this.#offsets.keys(groupId, topic))
    if (keys.length === 0) done(this.leads ? null : 'not-leader')
    else this.#forget(keys, done)
  }

  /**
   * A leader that is not settled yet will be within a few milliseconds, or will lead no more; a client that is refused comes
   * back after hundreds. So the request waits.
   */
  #waitsForLoading(again: () => void): boolean {
    const { role, settled } = this.shard.standing
    if (role !== 'leader' || settled) return false
    this.#early.push(again)
    return true
  }

  override roleChanged(standing: Standing): void {
    super.roleChanged(standing)
    if (standing.role === 'leader' && !standing.settled) return
    const early = this.#early
    this.#early = []
    for (const again of early) again()
  }

  protected override becameLeader(): void {
    const now = this.#clock.now()
    let members = 0
    for (const [key, value] of this.committed) {
      const parsed = parseKey(key)
      if (parsed?.kind === 'group') {
        const { group } = this.#host(parsed.groupId)
        group.restore(decodeGroupRecord(value), now)
        members += group.memberCount
      } else if (parsed !== null) this.#remember(parsed.groupId, parsed.topic, parsed.partition, value)
    }
    for (const groupId of this.#offsets.groups()) if (!this.#groups.has(groupId)) this.#host(groupId)
    for (const hosted of this.#groups.values()) this.#arm(hosted)
    this.#trace({ type: 'groups-loaded', shard: this.shard.id, groups: this.#groups.size, members })
  }

  protected override lostLeadership(): void {
    const groups = [...this.#groups.values()]
    this.#groups.clear()
    this.#offsets.clear()
    for (const hosted of groups) {
      hosted.timer?.cancel()
      hosted.group.dismissAll(KafkaError.NOT_COORDINATOR)
    }
    this.#trace({ type: 'groups-unloaded', shard: this.shard.id, groups: groups.length })
    this.#flush()
  }

  protected override changed(key: string, value: Buffer | null): void {
    if (!this.leads) return
    const parsed = parseKey(key)
    if (parsed?.kind === 'offset') this.#remember(parsed.groupId, parsed.topic, parsed.partition, value)
  }

  #remember(groupId: string, topic: string, partition: number, value: Buffer | null): void {
    this.#offsets.set(groupId, topic, partition, value === null ? null : decodeOffsetRecord(value))
  }

  #validateCommit(request: OffsetCommitRequest, apiVersion: number): number {
    const { groupId, memberId, generationIdOrMemberEpoch: generation } = request
    const hosted = this.#groups.get(groupId)
    if (hosted === undefined) {
      if (generation < 0) return KafkaError.NONE
      return apiVersion >= GROUP_NOT_FOUND_COMMIT_VERSION
        ? KafkaError.GROUP_ID_NOT_FOUND
        : KafkaError.ILLEGAL_GENERATION
    }
    const error = hosted.group.commit(memberId, request.groupInstanceId ?? null, generation, this.#clock.now())
    this.#arm(hosted)
    return error
  }

  #forget(keys: readonly string[], done: (outcome: MutationOutcome) => void): void {
    const changes = keys.map((key) => ({ key, value: null }))
    this.mutate(changes, done)
  }

  /** NONE where this node may answer for the groups. */
  #refusal(): number {
    if (this.leads) return KafkaError.NONE
    const leading = this.shard.standing.role === 'leader'
    return leading ? KafkaError.COORDINATOR_LOAD_IN_PROGRESS : KafkaError.NOT_COORDINATOR
  }

  /** The same for what is answered from memory, without a commit that would find out whether another leads by now. */
  #readRefusal(): number {
    const refusal = this.#refusal()
    if (refusal !== KafkaError.NONE || this.shard.leadsNow()) return refusal
    return KafkaError.COORDINATOR_LOAD_IN_PROGRESS
  }

  #host(groupId: string): Hosted {
    const { groupInitialRebalanceDelayMs, groupNewMemberJoinTimeoutMs, groupMaxSize, groupMaxBytes } = this.#options
    const options = {
      groupId,
      initialRebalanceDelayMs: groupInitialRebalanceDelayMs,
      newMemberJoinTimeoutMs: groupNewMemberJoinTimeoutMs,
      groupMaxSize,
      groupMaxBytes,
    }
    const group: ClassicGroup = new ClassicGroup(options, {
      save: (record, saved) => this.#save(hosted, record, saved),
      reply: (done, response) => this.#answer(done, response),
      uniqueId: () => uuid(this.#random.bytes(16)),
      wall: () => this.#clock.wall(),
      trace: this.#trace,
    })
    const hosted: Hosted = { group, timer: null, timerAt: Number.POSITIVE_INFINITY, inFlight: new Map() }
    this.#groups.set(groupId, hosted)
    return hosted
  }

  #save(hosted: Hosted, record: Buffer, saved: (now: number) => void): void {
    this.mutate([{ key: groupKey(hosted.group.id), value: record }], (outcome) => {
      // Leadership was lost: the group was dropped and its parked requests were answered.
      if (outcome !== null || this.#groups.get(hosted.group.id) !== hosted) return
      saved(this.#clock.now())
      this.#settle(hosted)
    })
  }

  /** After every call into a group. */
  #settle(hosted: Hosted): void {
    const { group } = hosted
    if (group.blank && hosted.inFlight.size === 0 && !this.#offsets.has(group.id)) {
      hosted.timer?.cancel()
      this.#groups.delete(group.id)
    } else this.#arm(hosted)
    this.#flush()
  }

  #arm(hosted: Hosted): void {
    const { deadline } = hosted.group
    if (deadline >= hosted.timerAt) return
    hosted.timer?.cancel()
    hosted.timerAt = deadline
    hosted.timer = this.#clock.after(Math.max(deadline - this.#clock.now(), 0), () => {
      hosted.timer = null
      hosted.timerAt = Number.POSITIVE_INFINITY
      hosted.group.expire(this.#clock.now())
      this.#settle(hosted)
    })
  }

  #answer<Response>(done: Done<Response>, response: Response): void {
    this.#answers.push({ done: done as Done<never>, response: response as never })
  }

  #flush(): void {
    if (this.#answering) return
    this.#answering = true
    while (this.#answers.length > 0) {
      const answers = this.#answers
      this.#answers = []
      for (const { done, response } of answers) done(response)
    }
    this.#answering = false
  }
}
