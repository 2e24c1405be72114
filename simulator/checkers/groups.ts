/**
 * Consumer groups, at the event at which it shows (§4.2 b; the whole history is judged once more at the end):
 *
 *   - in one generation a partition belongs to one member;
 *   - a member's generation only grows;
 *   - a commit is not taken in a generation when a later one was known to have begun before it was sent;
 *   - a position is one that somebody committed, and not below what a commit had reached before it was asked for.
 */
import type { Checker, ClientEvent, GroupClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Reached {
  readonly atMs: number
  readonly value: number
}

class GroupState {
  /** By generation and partition. */
  readonly owners = new Map<string, string>()
  readonly generations = new Map<string, number>()
  readonly known: Reached[] = []
  readonly positions = new Map<string, { readonly sent: Set<number>; readonly known: Reached[] }>()
}

export class Groups implements Checker {
  readonly property = 'groups: one owner, no commit lost'
  readonly #now: () => number
  readonly #groups = new Map<string, GroupState>()

  constructor(now: () => number) {
    this.#now = now
  }

  client(event: ClientEvent): void {
    if (event.type === 'group-assigned') this.#assigned(event)
    else if (event.type === 'group-committed') this.#committed(event)
    else if (event.type === 'group-commit-unknown') this.#position(event).sent.add(event.offset)
    else if (event.type === 'group-position') this.#told(event)
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
    const { sent, known } = this.#position(event)
    const due = before(known, askedAtMs)
    const where = `${group}, ${topic}/${partition}`
    if (offset < due)
      throw new Violation(this.property, `${where}: the position is ${offset}; ${due} was committed before it was asked for`)
    // A commit may have been sent and be without an answer still; then nobody has told of it yet.
    if (offset > due && offset >= 0) this.#unheard.push({ where, offset, sent })
  }

  /** Positions above all that was acknowledged: somebody has to turn out to have sent them. */
  readonly #unheard: { readonly where: string; readonly offset: number; readonly sent: Set<number> }[] = []

  finish(): void {
    for (const { where, offset, sent } of this.#unheard) {
      if (!sent.has(offset)) throw new Violation(this.property, `${where}: the position was ${offset}, which nobody committed`)
    }
  }

  #group(name: string): GroupState {
    let state = this.#groups.get(name)
    if (state === undefined) {
      state = new GroupState()
      this.#groups.set(name, state)
    }
    return state
  }

  #position({ group, topic, partition }: { readonly group: string; readonly topic: string; readonly partition: number }) {
    const { positions } = this.#group(group)
    const place = `${topic}/${partition}`
    let position = positions.get(place)
    if (position === undefined) {
      position = { sent: new Set(), known: [] }
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
