/**
 * A consumer group whose members come and go: they leave and come back, fall silent for less or more than their session, end
 * without a word, and are replaced (a static member's new process while the old one still runs, which must then be fenced).
 *
 *      seat 0   ▓▓▓▓▓▓▓▓▓▓▓░░░▓▓▓▓▓▓▓▓▓▓▓      leaves, comes back
 *      seat 1   ▓▓▓▓▓▓▓▓┄┄┄┄┄┄┄┄▓▓▓▓▓▓▓▓      silent: wakes with a generation that is long over
 *      seat 2   ░░░▓▓▓▓▓▓✗   ▓▓▓▓▓▓▓▓▓▓▓      ends; another process takes the seat
 *
 * Until the healing it only tells what it was told; checkers conclude. At the end everybody stays, and the group must read every
 * partition to its end and commit that; then somebody who was never in it asks what is committed, and once more after all nodes have
 * started anew from their disks.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { ClientEvent } from '../observer.ts'
import { Coordination, type CoordinationCollaborators } from './group-coordination.ts'
import { GroupMember } from './group-member.ts'

export interface GroupOptions {
  readonly name: string
  readonly members: number
  /** Seats with a name of their own, which outlives their processes. */
  readonly staticMembers: boolean
  readonly pollMs: number
  readonly pollsPerCommit: number
  /** A seat stays as it is for about so long. */
  readonly stayMs: number
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
}

export interface GroupCollaborators extends Omit<CoordinationCollaborators, 'client'> {
  readonly prng: Prng
  /** A process has connections of its own. */
  readonly newClient: (name: string) => KafkaClient
  readonly emit: (event: ClientEvent) => void
}

interface Seat {
  readonly name: string
  readonly instanceId: string | null
  processes: number
  member: GroupMember
}

const POSITIONS_VERSION = 8
const TIMEOUT_MS = 4000
/** A seat is looked after this often when everybody is to stay. */
const TEND_MS = 500
const DEEDS = ['leave', 'leave', 'silence', 'silence', 'vanish', 'replace'] as const
export type GroupDeed = (typeof DEEDS)[number]

export class Group {
  readonly #options: GroupOptions
  readonly #with: GroupCollaborators
  readonly #seats: Seat[]
  readonly #places: readonly { readonly topic: string; readonly partition: number }[]
  #stopped = false
  /** From then on the logs end where they end. */
  #finishedAtMs = Number.POSITIVE_INFINITY
  /** Partitions that are read and committed to their end. */
  readonly #done = new Map<string, number>()
  #auditing = false
  #audits = 0
  readonly deeds = new Map<GroupDeed, number>()
  /** Commits that were acknowledged. */
  commits = 0

  constructor(options: GroupOptions, collaborators: GroupCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#places = options.topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    )
    this.#seats = Array.from({ length: options.members }, (_, i) => {
      const name = `${options.name}/m${i}`
      const instanceId = options.staticMembers ? `${options.name}-seat-${i}` : null
      return { name, instanceId, processes: 0, member: this.#process(name, instanceId, 0) }
    })
  }

  start(): void {
    for (const seat of this.#seats) {
      this.#with.clock.after(this.#with.prng.below(1000), () => {
        seat.member.join()
        this.#stay(seat)
      })
    }
  }

  /** Nobody goes any more, and whoever is away comes back. */
  stop(): void {
    this.#stopped = true
    for (const seat of this.#seats) this.#tend(seat)
  }

  /** Nothing more is produced: read to the end, and commit it. */
  finish(): void {
    if (this.#finishedAtMs === Number.POSITIVE_INFINITY) this.#finishedAtMs = this.#with.clock.now()
    if (this.#done.size === this.#places.length && !this.#auditing) this.#audit()
  }

  get drained(): boolean {
    return this.#audits > 0
  }

  /** How often somebody was told what is committed. */
  get audits(): number {
    return this.#audits
  }

  /** All nodes start from their disks: what is committed must be what it was. */
  auditAgain(): void {
    this.#audit()
  }

  /** What is missing, for people. */
  get waitingFor(): string {
    const missing = this.#places.filter(({ topic, partition }) => !this.#done.has(`${topic}/${partition}`))
    const places = missing.map(({ topic, partition }) => `${topic}/${partition}`).join(', ')
    const states = this.#seats.map(({ member }) => member.state).join(', ')
    return `${this.#options.name} (${states}): ${places === '' ? 'what is committed in the end' : `the end of ${places}`}`
  }

  #process(name: string, instanceId: string | null, process: number): GroupMember {
    const { newClient, clock, violated, prng } = this.#with
    const { name: group, pollMs, pollsPerCommit } = this.#options
    const client = `${name}.${process}`
    return new GroupMember(
      { group, name: client, instanceId, partitions: this.#places, pollMs, pollsPerCommit },
      {
        client: newClient(client),
        clock,
        prng: new Prng(`${client}/${prng.below(1 << 30)}`),
        violated,
        emit: (event) => {
          if (event.type === 'group-committed') this.commits++
          this.#with.emit(event)
        },
        caughtUp: (place, mark, askedAtMs) => {
          if (askedAtMs >= this.#finishedAtMs) this.#done.set(place, mark)
        },
      },
    )
  }

  #stay(seat: Seat): void {
    const { clock, prng } = this.#with
    clock.after((this.#options.stayMs * (50 + prng.below(101))) / 100, () => {
      if (!this.#stopped) this.#do(seat, DEEDS[prng.below(DEEDS.length)]!)
    })
  }

  #do(seat: Seat, deed: GroupDeed): void {
    const { clock, prng } = this.#with
    this.deeds.set(deed, (this.deeds.get(deed) ?? 0) + 1)
    const { member } = seat
    const back = (afterMs: number, how: () => void): void => {
      clock.after(afterMs, () => {
        if (this.#stopped) return
        how()
        this.#stay(seat)
      })
    }
    switch (deed) {
      case 'leave':
        return member.leave(() => back(prng.below(3000), () => member.join()))
      case 'silence':
        member.fallSilent()
        return back(prng.below(2) === 0 ? prng.below(3000) : 6000 + prng.below(4000), () => member.wake())
      case 'vanish':
        member.vanish()
        return back(prng.below(4000), () => this.#succeed(seat))
      case 'replace': {
        // The old process does not know of the new one. Without a name it stays a member of its own for a while.
        this.#succeed(seat)
        const old = member
        return back(2000 + prng.below(6000), () => old.vanish())
      }
    }
  }

  #succeed(seat: Seat): void {
    seat.member = this.#process(seat.name, seat.instanceId, ++seat.processes)
    seat.member.join()
  }

  #tend(seat: Seat): void {
    const { member } = seat
    member.wake()
    if (member.state === 'fenced' || member.state === 'gone') this.#succeed(seat)
    else if (member.state === 'out') member.join()
    this.#with.clock.after(TEND_MS, () => this.#tend(seat))
  }

  #audit(): void {
    this.#auditing = true
    const { clock, emit, newClient } = this.#with
    const { name: group } = this.#options
    const client = `${group}/auditor`
    const coordination = new Coordination(group, client, { ...this.#with, client: newClient(client) })
    const attempt = (): void => {
      const askedAtMs = clock.now()
      const request = { groups: [{ groupId: group, topics: null }], requireStable: false }
      coordination.request(apis.offsetFetch, POSITIONS_VERSION, request, TIMEOUT_MS, (answer) => {
        const found = answer?.groups[0]
        if (found === undefined || found.errorCode !== 0) return coordination.lookElsewhere(attempt)
        for (const { topic, partition } of this.#places) {
          const there = found.topics
            .find(({ name }) => name === topic)
            ?.partitions.find(({ partitionIndex }) => partitionIndex === partition)
          // A place that is not in the answer has no position: that, too, is told to those who know better.
          const offset = there?.committedOffset ?? -1
          emit({ type: 'group-position', client, group, topic, partition, offset, askedAtMs })
        }
        this.#audits++
      })
    }
    attempt()
  }
}
