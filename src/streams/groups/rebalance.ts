/**
 * The rounds of one group. A round brings everybody who belongs to the group into one *generation*: the same members, the same
 * protocol, one leader among them who divides the work. What a member does is valid in its generation only.
 *
 *                    a member joins                         all (re)joined, or time is up
 *        ┌───────┐  ──────────────►  ┌────────────────────┐  ──────────────►  ┌─────────────────────┐
 *        │ Empty │                   │ PreparingRebalance │                   │ CompletingRebalance │
 *        └───────┘  ◄──────────────  └────────────────────┘  ◄──────────────  └─────────────────────┘
 *                    nobody is left        ▲                somebody joins,             │ the leader's assignment
 *                                          │                leaves or is lost           ▼ is committed
 *                                          │                                       ┌────────┐
 *                                          └────────────────────────────────────── │ Stable │
 *                                                                                  └────────┘
 *
 * Nothing is said before it is committed. A generation's number and members are committed before anybody is told of them, so
 * the next coordinator goes on counting where this one stopped; Kafka commits them with the assignment, and after a failover
 * between the two hands out the same number twice. An assignment is committed before anybody gets it, and once per
 * generation: the disaster it prevents is two consumers that own one partition in one generation, which no fence can tell
 * apart. Until a generation is committed (`announced`) its members' joins stay parked, and whoever comes or goes meanwhile
 * makes the next one: numbers may be skipped, never reused.
 *
 * Time comes in as a parameter. `deadline` is a lower bound of the next moment at which `expire` has something to do: a
 * heartbeat moves a member's own deadline and nothing else, so a beat costs the same in a group of one and of a thousand.
 */
import { assert } from '../../stdx/index.ts'
import { KafkaError } from '../errors.ts'
import { joinAnswer, joinError, syncAnswer, syncError } from './answers.ts'
import type { GroupEvent } from './events.ts'
import { encodeGroupRecord, type GroupRecord } from './group-record.ts'
import { EMPTY_BYTES, type Member, Membership } from './membership.ts'
import type { Done, JoinGroupResponse, SyncGroupResponse } from './messages.ts'

export interface RebalanceOptions {
  readonly groupId: string
  /** How long the first members of an empty group wait for others. */
  readonly initialRebalanceDelayMs: number
}

export interface RebalanceCollaborators {
  /** Commits the group's record; `saved` is called then, and never if that fails: the group is dropped instead. */
  readonly save: (record: Buffer, saved: (now: number) => void) => void
  /** Hands out an answer, not before the call into the group that made it has returned. */
  readonly reply: <Response>(done: Done<Response>, response: Response) => void
  /** For labels only. */
  readonly wall: () => number
  readonly trace: (event: GroupEvent) => void
}

interface Preparing {
  readonly name: 'PreparingRebalance'
  joinBy: number
  /** The first round of an empty group: it ends by time alone, and is extended while members keep coming. */
  readonly initial: { newcomers: boolean; stepMs: number; remainingMs: number } | null
}

interface Completing {
  readonly name: 'CompletingRebalance'
  /** The generation is committed and its members know of it. */
  announced: boolean
  /** The leader has assigned; the commit is under way. */
  assigning: boolean
  syncBy: number
  /** Members that have not asked for their assignment since they were told the generation. */
  readonly unsynced: Set<string>
}

interface Stable {
  readonly name: 'Stable'
  syncBy: number
  readonly unsynced: Set<string>
}

export type Phase = { readonly name: 'Empty' } | Preparing | Completing | Stable | { readonly name: 'Dead' }

export class Rebalance {
  readonly #options: RebalanceOptions
  readonly #out: RebalanceCollaborators
  readonly members = new Membership()
  #phase: Phase = { name: 'Empty' }
  #generation = 0
  #protocolType: string | null = null
  #protocolName: string | null = null
  #deadline = Number.POSITIVE_INFINITY

  constructor(options: RebalanceOptions, collaborators: RebalanceCollaborators) {
    this.#options = options
    this.#out = collaborators
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Only grows. The generation of Empty is that of the round that found nobody. */
  get generation(): number {
    return this.#generation
  }

  get protocolType(): string | null {
    return this.#protocolType
  }

  get protocolName(): string | null {
    return this.#protocolName
  }

  get deadline(): number {
    return this.#deadline
  }

  /** What another coordinator committed. Whoever is in it has a full session from now on to be heard of. */
  restore(record: GroupRecord, now: number): void {
    assert(this.#generation === 0 && this.members.size === 0, 'a group is restored once')
    this.#generation = record.generation
    this.#protocolType = record.protocolType
    this.#protocolName = record.protocolName
    for (const member of record.members) {
      this.members.add({ ...member, isNew: false, deadline: 0, join: null, sync: null })
    }
    this.members.leader = record.leader
    if (this.members.size === 0) return
    for (const member of this.members.values()) this.touch(member, now)
    if (record.assigned) {
      this.#phase = { name: 'Stable', syncBy: Number.POSITIVE_INFINITY, unsynced: new Set() }
      return
    }
    this.#phase = this.#completing(true)
    this.#awaitSyncs(this.#phase, now)
  }

  /** The member was heard of. */
  touch(member: Member, now: number, timeoutMs = member.sessionTimeoutMs): void {
    member.deadline = now + timeoutMs
    this.by(member.deadline)
  }

  /** `expire` is wanted at that time at the latest. */
  by(time: number): void {
    if (time < this.#deadline) this.#deadline = time
  }

  admit(member: Member, protocolType: string): void {
    if (this.members.size === 0) this.#protocolType = protocolType
    if (this.#phase.name === 'PreparingRebalance' && this.#phase.initial !== null) this.#phase.initial.newcomers = true
    this.members.add(member)
  }

  /** The requests of a member that goes are answered, so that a client which is still there starts over. */
  remove(member: Member, reason: 'left' | 'session' | 'join' | 'sync'): void {
    this.dismiss(member, KafkaError.UNKNOWN_MEMBER_ID, '')
    this.members.remove(member)
    if (this.#phase.name === 'CompletingRebalance' || this.#phase.name === 'Stable')
      this.#phase.unsynced.delete(member.id)
    this.#out.trace({ type: 'group-member-removed', group: this.#options.groupId, member: member.id, reason })
  }

  /** Answers what the member has parked with an error. */
  dismiss(member: Member, error: number, memberId = member.id): void {
    const join = this.members.takeJoin(member)
    if (join !== null) this.#out.reply(join.done, joinError(error, memberId, join.apiVersion))
    this.dismissSync(member, error)
  }

  dismissSync(member: Member, error: number): void {
    const { sync } = member
    member.sync = null
    if (sync !== null) this.#out.reply(sync.done, syncError(error))
  }

  /** Who belongs to the group has changed: a new round, or a step of the one that is on. */
  membersChanged(now: number, reason: string): void {
    if (this.#phase.name === 'PreparingRebalance') this.joinsChanged(now)
    else this.#begin(now, reason)
  }

  /** The round is over once everybody is here; an initial round lasts its time, unless nobody is left to wait for. */
  joinsChanged(now: number): void {
    if (this.#phase.name !== 'PreparingRebalance' || !this.members.allJoined) return
    if (this.#phase.initial === null || this.members.size === 0) this.#completeJoin(now)
  }

  /** The leader has divided the work. Once per generation: a second division would be a second truth. */
  assign(assignments: ReadonlyMap<string, Buffer>): void {
    const phase = this.#phase
    assert(phase.name === 'CompletingRebalance' && phase.announced, () => `assignment while ${phase.name}`)
    if (phase.assigning) return
    phase.assigning = true
    this.#out.save(this.record(assignments), (now) => {
      // Who joined or left while the commit was under way has begun another round: this assignment reaches nobody.
      if (this.#phase !== phase) return
      this.#phase = { name: 'Stable', syncBy: phase.syncBy, unsynced: phase.unsynced }
      for (const member of this.members.values()) {
        member.assignment = assignments.get(member.id) ?? EMPTY_BYTES
        if (member.sync !== null) this.#answerSync(member, now)
      }
      const { groupId: group } = this.#options
      this.#out.trace({ type: 'group-stable', group, generation: this.#generation, members: this.members.size })
    })
  }

  /** The member has asked for its assignment. */
  synced(member: Member): void {
    const phase = this.#phase
    assert(phase.name === 'CompletingRebalance' || phase.name === 'Stable', () => `sync while ${phase.name}`)
    phase.unsynced.delete(member.id)
    if (phase.unsynced.size === 0) phase.syncBy = Number.POSITIVE_INFINITY
  }

  /** The group's record as of now, or with the assignments that are about to be true. */
  record(assignments: ReadonlyMap<string, Buffer> | null): Buffer {
    return encodeGroupRecord({
      generation: this.#generation,
      assigned: assignments !== null || this.#phase.name === 'Stable',
      changedAt: this.#out.wall(),
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leader: this.members.leader,
      members: Array.from(this.members.values(), (member) => ({
        ...member,
        assignment: assignments === null ? member.assignment : (assignments.get(member.id) ?? EMPTY_BYTES),
      })),
    })
  }

  die(): void {
    assert(this.members.size === 0, 'only an empty group is deleted')
    this.#phase = { name: 'Dead' }
  }

  /** Everything whose time has come. */
  expire(now: number): void {
    if (now < this.#deadline) return
    this.#expireSessions(now)
    const phase = this.#phase
    if (phase.name === 'PreparingRebalance' && phase.joinBy <= now) {
      if (!this.#extended(phase, now)) this.#completeJoin(now)
    } else if ((phase.name === 'CompletingRebalance' || phase.name === 'Stable') && phase.syncBy <= now) {
      for (const id of [...phase.unsynced]) this.remove(this.members.get(id)!, 'sync')
      this.#begin(now, 'members did not ask for their assignment')
    }
    this.#deadline = this.#nextDeadline()
  }

  #begin(now: number, reason: string): void {
    const phase = this.#phase
    assert(phase.name !== 'PreparingRebalance' && phase.name !== 'Dead', () => `a round begins while ${phase.name}`)
    if (phase.name === 'CompletingRebalance') {
      for (const member of this.members.values()) {
        member.assignment = EMPTY_BYTES
        this.dismissSync(member, KafkaError.REBALANCE_IN_PROGRESS)
      }
    }
    const { groupId: group, initialRebalanceDelayMs: delayMs } = this.#options
    this.#out.trace({ type: 'group-rebalance-started', group, generation: this.#generation, reason })
    const roundMs = this.members.rebalanceTimeoutMs()
    const initial = phase.name === 'Empty'
    this.#phase = {
      name: 'PreparingRebalance',
      joinBy: now + (initial ? delayMs : roundMs),
      initial: initial ? { newcomers: false, stepMs: delayMs, remainingMs: Math.max(roundMs - delayMs, 0) } : null,
    }
    this.by(this.#phase.joinBy)
    this.joinsChanged(now)
  }

  /** Members are still arriving at a new group: another delay, but never beyond the longest rebalance timeout. */
  #extended(phase: Preparing, now: number): boolean {
    const { initial } = phase
    if (initial === null || !initial.newcomers || initial.remainingMs === 0) return false
    const stepMs = Math.min(this.#options.initialRebalanceDelayMs, initial.remainingMs)
    initial.newcomers = false
    initial.remainingMs = Math.max(initial.remainingMs - initial.stepMs, 0)
    initial.stepMs = stepMs
    phase.joinBy = now + stepMs
    this.by(phase.joinBy)
    return true
  }

  /** Whoever has not come by now is out, except static members: their seats are kept until their session ends. */
  #completeJoin(now: number): void {
    assert(this.#phase.name === 'PreparingRebalance', () => `joins complete while ${this.#phase.name}`)
    for (const member of [...this.members.values()]) {
      if (member.join === null && member.instanceId === null) this.remove(member, 'join')
    }
    if (this.members.size === 0) {
      this.#becomeEmpty()
      return
    }
    if (!this.members.electJoined()) {
      // Only absent static members are left: wait for one of them, or for their sessions to end.
      this.#phase.joinBy = now + this.members.rebalanceTimeoutMs()
      this.by(this.#phase.joinBy)
      return
    }
    this.#generation++
    this.#protocolName = this.members.vote()
    const phase = this.#completing(false)
    this.#phase = phase
    this.#out.save(this.record(null), (committedAt) => {
      if (this.#phase === phase) this.#announce(phase, committedAt)
    })
  }

  #becomeEmpty(): void {
    this.#generation++
    this.#protocolName = null
    this.#phase = { name: 'Empty' }
    this.#out.trace({ type: 'group-empty', group: this.#options.groupId, generation: this.#generation })
    this.#out.save(this.record(null), () => {})
  }

  #completing(announced: boolean): Completing {
    const syncBy = Number.POSITIVE_INFINITY
    return { name: 'CompletingRebalance', announced, assigning: false, syncBy, unsynced: new Set() }
  }

  #announce(phase: Completing, now: number): void {
    phase.announced = true
    this.#awaitSyncs(phase, now)
    for (const member of this.members.values()) {
      member.isNew = false
      this.touch(member, now)
      const join = this.members.takeJoin(member)
      if (join !== null) this.#out.reply(join.done, this.joined(member))
    }
    const { groupId: group } = this.#options
    const protocol = this.#protocolName!
    this.#out.trace({
      type: 'group-generation',
      group,
      generation: this.#generation,
      protocol,
      members: this.members.size,
    })
  }

  #awaitSyncs(phase: Completing, now: number): void {
    for (const member of this.members.values()) phase.unsynced.add(member.id)
    phase.syncBy = now + this.members.rebalanceTimeoutMs()
    this.by(phase.syncBy)
  }

  /** The present generation as the member is told of it. */
  joined(member: Member, leader = this.members.leader ?? '', skipAssignment = false): JoinGroupResponse {
    return joinAnswer(this, member, leader, skipAssignment)
  }

  /** A parked sync, or one that finds the group stable, gets what was committed for it. */
  #answerSync(member: Member, now: number): void {
    const sync = member.sync!
    member.sync = null
    this.touch(member, now)
    this.#out.reply(sync.done, this.assigned(member))
  }

  assigned(member: Member): SyncGroupResponse {
    return syncAnswer(this, member)
  }

  #expireSessions(now: number): void {
    const { pending } = this.members
    let lapsed = false
    for (const [id, until] of pending) if (until <= now) lapsed = pending.delete(id)
    let lost = false
    for (const member of [...this.members.values()]) {
      if (member.deadline > now || isHeard(member)) continue
      this.remove(member, 'session')
      lost = true
    }
    if (lost) this.membersChanged(now, 'a session ended')
    else if (lapsed) this.joinsChanged(now)
  }

  #nextDeadline(): number {
    let next = Number.POSITIVE_INFINITY
    for (const until of this.members.pending.values()) next = Math.min(next, until)
    for (const member of this.members.values()) if (!isHeard(member)) next = Math.min(next, member.deadline)
    const phase = this.#phase
    if (phase.name === 'PreparingRebalance') return Math.min(next, phase.joinBy)
    if (phase.name === 'CompletingRebalance' || phase.name === 'Stable') return Math.min(next, phase.syncBy)
    return next
  }
}

/**
 * A member with a request parked here cannot heartbeat and need not: it waits for us. Except a new one, whose client may be
 * gone and have come back under another id: we would not know, and wait for its ghost in every round.
 */
function isHeard(member: Member): boolean {
  return !member.isNew && (member.join !== null || member.sync !== null)
}
