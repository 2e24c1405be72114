/**
 * Consumer groups, at the event at which it shows (§4.2 b; the whole history is judged once more at the end):
 *
 *   - in one generation a partition belongs to one member;
 *   - a member's generation only grows;
 *   - a commit is not taken in a generation when a later one was known to have begun before it was sent;
 *   - a position is one that somebody committed, and not below what a commit had reached before it was asked for, unless one
 *     without an answer came late.
 */
import type { Checker, ClientEvent, GroupClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Reached {
  readonly atMs: number
  readonly value: number
}

interface Position {
  /** Offsets that somebody tried to commit, */
  readonly sent: Set<number>
  /** and of them those without an answer. */
  readonly lost: Set<number>
  /** What was acknowledged. */
  readonly known: Reached[]
}

class GroupState {
  /** By generation and partition. */
  readonly owners = new Map<string, string>()
  readonly generations = new Map<string, number>()
  readonly known: Reached[] = []
  readonly positions = new Map<string, Position>()
}

export class Groups implements Checker {
  readonly property = 'groups: one owner, no commit lost'
  readonly #now: () => number
  readonly #groups = new Map<string, GroupState>()
  /** Positions that some commit has to turn out to account for. */
  readonly #open: { readonly by: Set<number>; readonly offset: number; readonly wrong: string }[] = []

  constructor(now: () => number) {
    this.#now = now
  }

  client(event: ClientEvent): void {
    if (event.type === 'group-assigned') this.#assigned(event)
    else if (event.type === 'group-committed') this.#committed(event)
    else if (event.type === 'group-commit-unknown') {
      const { sent, lost } = this.#position(event)
      sent.add(event.offset)
      lost.add(event.offset)
    } else if (event.type === 'group-position') this.#told(event)
  }

  #assigned({ group, member, instance, generation, partitions }: GroupClientEvent & { type: 'group-assigned' }): void {
    const state = this.#group(group)
    // A process that takes over a name takes over what it owns, within the generation.
    const owner = instance ?? member
    for (const partition of partitions) {
      const key = `${generation} ${partition}`
      const other = state.owners.get(key)
      if (other !== undefined && other !== owner) {
        const what = `${group}: in generation ${generation} ${partition} belongs to ${other} and to ${owner}`
        throw new Violation(this.property, what)
      }
      state.owners.set(key, owner)
    }
    const before = state.generations.get(member) ?? 0
    if (generation < before)
      throw new Violation(this.property, `${group}: ${member} is in generation ${generation} after ${before}`)
    state.generations.set(member, generation)
    learn(state.known, this.#now(), generation)
  }

  #committed(event: GroupClientEvent & { type: 'group-committed' }): void {
    const { group, member, generation, offset, askedAtMs } = event
    const known = before(this.#group(group).known, askedAtMs)
    if (generation < known) {
      const what = `${group}: a commit of ${member} in generation ${generation} was taken; ${known} had begun before it was sent`
      throw new Violation(this.property, what)
    }
    const position = this.#position(event)
    position.sent.add(offset)
    learn(position.known, this.#now(), offset)
  }

  #told(event: GroupClientEvent & { type: 'group-position' }): void {
    const { group, topic, partition, offset, askedAtMs } = event
    const { sent, lost, known } = this.#position(event)
    const due = before(known, askedAtMs)
    const where = `${group}, ${topic}/${partition}`
    // A commit may be without an answer still, and come late: that is known for certain only in the end.
    if (offset < due)
      this.#open.push({ by: lost, offset, wrong: `${where}: the position is ${offset}; ${due} was committed before` })
    else if (offset > due)
      this.#open.push({ by: sent, offset, wrong: `${where}: the position is ${offset}, which nobody committed` })
  }

  finish(): void {
    for (const { by, offset, wrong } of this.#open) if (!by.has(offset)) throw new Violation(this.property, wrong)
  }

  #group(name: string): GroupState {
    let state = this.#groups.get(name)
    if (state === undefined) {
      state = new GroupState()
      this.#groups.set(name, state)
    }
    return state
  }

  #position({
    group,
    topic,
    partition,
  }: {
    readonly group: string
    readonly topic: string
    readonly partition: number
  }): Position {
    const { positions } = this.#group(group)
    const place = `${topic}/${partition}`
    let position = positions.get(place)
    if (position === undefined) {
      position = { sent: new Set(), lost: new Set(), known: [] }
      positions.set(place, position)
    }
    return position
  }
}

/** Both rise: what is known only grows. */
function learn(known: Reached[], atMs: number, value: number): void {
  if (value > (known.at(-1)?.value ?? -1)) known.push({ atMs, value })
}

/** What was known strictly before `atMs`; −1: nothing. */
function before(known: readonly Reached[], atMs: number): number {
  for (let i = known.length - 1; i >= 0; i--) if (known[i]!.atMs < atMs) return known[i]!.value
  return -1
}
