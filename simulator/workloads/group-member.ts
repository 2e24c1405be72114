/**
 * One process of a consumer group (Kafka's classic protocol): it joins, is given partitions, reads them, commits how far it has
 * come, and gives them up whenever the group changes.
 *
 *              ┌──────────────── rejoin, forgotten ─────────────────┐
 *              ▼                                                    │
 *      out ─► joining ─► syncing ─► looking up positions ─► reading ─┴─► leaving ─► out
 *                                                             │
 *                                                             └─► silent … wakes, and goes on as if nothing had happened
 *
 * A silent member is a process that stopped for a while (a long collection, a laptop's lid): it sends nothing, hears nothing, and
 * wakes with its old beliefs. Whatever it then says in a generation that is over must be refused.
 *
 * Rebalancing is eager: everything is given up before a member joins again, and positions are looked up anew afterwards, so a
 * committed offset is all that one owner knows of the one before.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { assert, must } from '../../src/stdx/index.ts'
import type { ClientEvent } from '../observer.ts'
import { Coordination, type CoordinationCollaborators } from './group-coordination.ts'
import { type Owned, readOn } from './group-reading.ts'

export interface GroupMemberOptions {
  readonly group: string
  /** Of this process. */
  readonly name: string
  /** A static member's; null for a dynamic one. */
  readonly instanceId: string | null
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[]
  readonly pollMs: number
  /** A commit follows every so-manieth poll. */
  readonly pollsPerCommit: number
}

export interface GroupMemberCollaborators extends CoordinationCollaborators {
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  /** It has read, and committed, up to this mark, which it was shown for a question of `askedAtMs`. */
  readonly caughtUp: (place: string, mark: number, askedAtMs: number) => void
}

const SESSION_TIMEOUT_MS = 6000
const REBALANCE_TIMEOUT_MS = 4000
const JOIN_TIMEOUT_MS = 9000
const TIMEOUT_MS = 4000
const HEARTBEAT_MS = 1500
/** Between two polls while there is more to read. */
const BEHIND_POLL_MS = 20
const VERSION = { join: 9, sync: 5, heartbeat: 4, leave: 5, commit: 8, positions: 8 } as const
const PROTOCOL = 'round-robin'

export class GroupMember {
  readonly #options: GroupMemberOptions
  readonly #with: GroupMemberCollaborators
  readonly #coordination: Coordination
  #memberId = ''
  #generation = -1
  #owned: Owned[] = []
  #state: 'out' | 'joining' | 'reading' | 'fenced' | 'gone' = 'out'
  /** Counts the memberships: what was begun in an earlier one is over. */
  #membership = 0
  #silent = false
  /** What happened meanwhile. */
  #deferred: (() => void)[] = []
  #polls = 0
  #turns = 0
  #committing = false

  constructor(options: GroupMemberOptions, collaborators: GroupMemberCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#coordination = new Coordination(options.group, options.name, collaborators)
  }

  get state(): 'out' | 'joining' | 'reading' | 'fenced' | 'gone' {
    return this.#state
  }

  join(): void {
    if (this.#state === 'out') this.#join()
  }

  /** Says goodbye. `done` whether or not anybody heard. */
  leave(done: () => void): void {
    const memberId = this.#memberId
    this.#giveUp()
    this.#state = 'out'
    this.#membership++
    this.#memberId = ''
    if (memberId === '') return done()
    const { group, instanceId } = this.#options
    const request = { groupId: group, members: [{ memberId, groupInstanceId: instanceId, reason: null }] }
    this.#coordination.request(apis.leaveGroup, VERSION.leave, request, TIMEOUT_MS, () => done())
  }

  fallSilent(): void {
    this.#silent = true
  }

  wake(): void {
    if (!this.#silent) return
    this.#silent = false
    const deferred = this.#deferred
    this.#deferred = []
    for (const each of deferred) this.#then(each)
  }

  /** The process is gone, without a word. */
  vanish(): void {
    this.#membership++
    this.#state = 'gone'
    this.#owned = []
    this.#with.client.close()
  }

  #then(what: () => void): void {
    if (this.#silent) this.#deferred.push(what)
    else what()
  }

  /** Wraps what happens later: not after the membership, and not while the process sleeps. */
  #later<Args extends unknown[]>(what: (...args: Args) => void): (...args: Args) => void {
    const membership = this.#membership
    return (...args) =>
      this.#then(() => {
        if (membership === this.#membership) what(...args)
      })
  }

  // ── into the group ────────────────────────────────────────────────────────────────────────────────────────────────────

  #join(): void {
    this.#giveUp()
    this.#state = 'joining'
    this.#membership++
    const { group, instanceId } = this.#options
    const request = {
      groupId: group,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      memberId: this.#memberId,
      groupInstanceId: instanceId,
      protocolType: 'consumer',
      protocols: [{ name: PROTOCOL, metadata: Buffer.from(this.#options.name) }],
      reason: null,
    }
    this.#coordination.request(
      apis.joinGroup,
      VERSION.join,
      request,
      JOIN_TIMEOUT_MS,
      this.#later((answer) => {
        if (answer === null) return this.#elsewhere(() => this.#join())
        const meaning = this.#coordination.meaningOf(answer.errorCode, 'a join')
        if (meaning === 'id-required') this.#memberId = answer.memberId
        if (meaning !== 'ok') return this.#react(meaning)
        this.#memberId = answer.memberId
        this.#generation = answer.generationId
        const leads = answer.leader === answer.memberId && !answer.skipAssignment
        this.#sync(leads ? answer.members.map(({ memberId }) => memberId) : [])
      }),
    )
  }

  /** The leader divides the partitions among the members, who are told by the coordinator. */
  #sync(members: readonly string[]): void {
    const { group, instanceId, partitions } = this.#options
    const places = partitions.map(({ topic, partition }) => `${topic}/${partition}`)
    const assignments = members.map((memberId, i) => ({
      memberId,
      assignment: Buffer.from(JSON.stringify(places.filter((_, place) => place % members.length === i))),
    }))
    const request = {
      groupId: group,
      generationId: this.#generation,
      memberId: this.#memberId,
      groupInstanceId: instanceId,
      protocolType: 'consumer',
      protocolName: PROTOCOL,
      assignments,
    }
    const again = (): void => this.#elsewhere(() => this.#sync(members))
    const synced = this.#later((errorCode: number | null, assignment: string) => {
      const meaning = errorCode === null ? 'again' : this.#coordination.meaningOf(errorCode, 'a sync')
      if (meaning === 'again') return again()
      if (meaning !== 'ok') return this.#react(meaning)
      const assigned = assignment === '' ? [] : (JSON.parse(assignment) as string[])
      this.#tellOwned(assigned)
      this.#lookUp(assigned)
    })
    this.#coordination.request(apis.syncGroup, VERSION.sync, request, JOIN_TIMEOUT_MS, (answer) =>
      synced(answer?.errorCode ?? null, answer === null ? '' : answer.assignment.toString()),
    )
  }

  #lookUp(assigned: readonly string[]): void {
    const { clock, emit } = this.#with
    const { group, name, partitions } = this.#options
    const mine = partitions.filter(({ topic, partition }) => assigned.includes(`${topic}/${partition}`))
    if (mine.length === 0) return this.#read([])
    const topics = [...new Set(mine.map(({ topic }) => topic))].map((topic) => ({
      name: topic,
      partitionIndexes: mine.filter((each) => each.topic === topic).map(({ partition }) => partition),
    }))
    const askedAtMs = clock.now()
    this.#coordination.request(
      apis.offsetFetch,
      VERSION.positions,
      { groups: [{ groupId: group, topics }], requireStable: false },
      TIMEOUT_MS,
      this.#later((answer) => {
        const found = answer?.groups[0]
        const meaning = found === undefined ? 'again' : this.#coordination.meaningOf(found.errorCode, 'an offset fetch')
        if (meaning === 'again' || found === undefined) return this.#elsewhere(() => this.#lookUp(assigned))
        if (meaning !== 'ok') return this.#react(meaning)
        const owned = mine.map(({ topic, partition }): Owned => {
          const there = found.topics
            .find((each) => each.name === topic)
            ?.partitions.find((each) => each.partitionIndex === partition)
          const offset = there?.committedOffset ?? -1
          emit({ type: 'group-position', client: name, group, topic, partition, offset, askedAtMs })
          return {
            topic,
            partition,
            position: Math.max(offset, 0),
            committed: offset,
            behind: false,
            seen: null,
            polledAt: 0,
          }
        })
        this.#read(owned)
      }),
    )
  }

  #read(owned: Owned[]): void {
    this.#state = 'reading'
    this.#owned = owned
    this.#committing = false
    this.#beat()
    if (owned.length > 0) this.#poll()
  }

  /** Once in a membership, and before its id is let go. */
  #giveUp(): void {
    if (this.#state !== 'reading') return
    this.#state = 'out'
    this.#owned = []
    this.#tellOwned([])
  }

  #tellOwned(partitions: readonly string[]): void {
    const { group, name, instanceId: instance } = this.#options
    const [member, generation] = [this.#memberId, this.#generation]
    assert(member !== '', () => `${name} tells what it owns in ${group}, and is not a member`)
    this.#with.emit({ type: 'group-assigned', client: name, group, member, instance, generation, partitions })
  }

  #react(meaning: 'again' | 'rejoin' | 'forgotten' | 'id-required' | 'fenced'): void {
    if (meaning === 'fenced') {
      this.#giveUp()
      this.#state = 'fenced'
      this.#membership++
      return
    }
    if (meaning === 'again') return this.#elsewhere(() => this.#join())
    if (meaning === 'forgotten') {
      this.#giveUp()
      this.#memberId = ''
    }
    this.#join()
  }

  #elsewhere(again: () => void): void {
    this.#coordination.lookElsewhere(this.#later(again))
  }

  // ── in the group ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #beat(): void {
    this.#with.clock.after(
      HEARTBEAT_MS,
      this.#later(() => {
        const { group, instanceId } = this.#options
        const request = {
          groupId: group,
          generationId: this.#generation,
          memberId: this.#memberId,
          groupInstanceId: instanceId,
        }
        this.#coordination.request(
          apis.heartbeat,
          VERSION.heartbeat,
          request,
          TIMEOUT_MS,
          this.#later((answer) => {
            const meaning = answer === null ? 'again' : this.#coordination.meaningOf(answer.errorCode, 'a heartbeat')
            if (meaning === 'again') return this.#elsewhere(() => this.#beat())
            if (meaning === 'ok') return this.#beat()
            // Half of them say how far they have come before they give up what they own, as the Java client does.
            if (meaning !== 'rejoin' || this.#with.prng.below(2) === 0) return this.#react(meaning)
            this.#commit(() => this.#react('rejoin'))
          }),
        )
      }),
    )
  }

  #poll(): void {
    this.#with.clock.after(
      this.#owned.some(({ behind }) => behind) ? BEHIND_POLL_MS : this.#options.pollMs,
      this.#later(() => {
        const { client, prng } = this.#with
        const behind = this.#owned.filter((each) => each.behind)
        const choice = behind.length > 0 ? behind : this.#owned
        // The one that has waited longest: none may be left out for long by chance.
        const longest = Math.min(...choice.map(({ polledAt }) => polledAt))
        const from = choice.filter(({ polledAt }) => polledAt === longest)
        const owned = must(from[prng.below(from.length)], 'a partition')
        owned.polledAt = ++this.#turns
        const leader = client.leaderOf(owned.topic, owned.partition)
        const next = this.#later(() => {
          if (++this.#polls % this.#options.pollsPerCommit === 0) this.#commit(() => {})
          this.#poll()
        })
        const topics = [...new Set(this.#options.partitions.map(({ topic }) => topic))]
        if (leader === null) client.refresh(topics, next)
        else
          readOn(
            owned,
            { ...this.#with, name: this.#options.name, leader, later: (what) => this.#later(what) },
            (served) => {
              if (!served) return client.refresh(topics, next)
              this.#tellIfCaughtUp(owned)
              next()
            },
          )
      }),
    )
  }

  #tellIfCaughtUp({ topic, partition, seen, committed }: Owned): void {
    // There is nothing to commit in an empty partition.
    if (seen !== null && Math.max(committed, 0) >= seen.mark)
      this.#with.caughtUp(`${topic}/${partition}`, seen.mark, seen.askedAtMs)
  }

  #commit(done: () => void): void {
    const { clock, emit } = this.#with
    const { group, name: client, instanceId } = this.#options
    const moved = this.#owned
      .filter(({ position, committed }) => position > committed && position > 0)
      .map((owned) => ({ owned, offset: owned.position }))
    if (moved.length === 0 || this.#committing) return done()
    this.#committing = true
    const topics = [...new Set(moved.map(({ owned }) => owned.topic))].map((name) => ({
      name,
      partitions: moved
        .filter(({ owned }) => owned.topic === name)
        .map(({ owned, offset }) => ({
          partitionIndex: owned.partition,
          committedOffset: offset,
          committedMetadata: '',
        })),
    }))
    const [generation, member] = [this.#generation, this.#memberId]
    const askedAtMs = clock.now()
    const request = {
      groupId: group,
      generationIdOrMemberEpoch: generation,
      memberId: member,
      groupInstanceId: instanceId,
      topics,
    }
    this.#coordination.request(apis.offsetCommit, VERSION.commit, request, TIMEOUT_MS, (answer) => {
      // What became of it is a fact, whatever this member is by now; what follows from it is only for who is still there.
      let worst: ReturnType<Coordination['meaningOf']> = answer === null ? 'again' : 'ok'
      for (const { owned, offset } of moved) {
        const { topic, partition } = owned
        const code = answer?.topics
          .find(({ name }) => name === topic)
          ?.partitions.find(({ partitionIndex }) => partitionIndex === partition)?.errorCode
        const meaning =
          code === undefined ? 'again' : this.#coordination.meaningOf(code, `a commit of ${topic}/${partition}`)
        const committed = { client, group, topic, partition, offset, askedAtMs }
        if (meaning === 'ok') {
          emit({ type: 'group-committed', member, generation, ...committed })
          owned.committed = Math.max(owned.committed, offset)
        } else {
          worst = meaning
          if (meaning === 'again') emit({ type: 'group-commit-unknown', ...committed })
        }
      }
      settle(worst)
    })
    const settle = this.#later((meaning: ReturnType<Coordination['meaningOf']>) => {
      this.#committing = false
      if (meaning === 'ok') for (const owned of this.#owned) this.#tellIfCaughtUp(owned)
      if (meaning === 'ok') done()
      else if (meaning === 'again') this.#elsewhere(done)
      else this.#react(meaning)
    })
  }
}
