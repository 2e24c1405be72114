/**
 * One replica with its disk as an automaton, worked out as it is needed.
 *
 * A replica is a function of its inputs, so what it does with one is worth computing once: a state of the whole cluster is
 * three numbers of replica states and the messages in between, and most of its millions of steps are looked up here.
 *
 *      (state 17, "vote of term 2 from the next one")  ──►  state 42, sends {vote-reply 9 to the next one}
 *
 * Nothing is cloned. The first time a pair is asked for, a replica is booted and led through the inputs that led to the state
 * (kept as a parent and an input per state, the shortest way known), then given the new one. Its whole state as text
 * (`canonical.ts`) decides whether the result is a state that is known already.
 *
 * All three replicas share one automaton: each calls itself 1, the next one 2 and the one after that 3. So a turn of the ring
 * changes nothing at all, and for its reflection every state knows the *mirrored* one, in which 2 and 3 have changed places.
 *
 * What a replica must never do whatever the others do is checked here, once per state and not once per cluster.
 */
import type { Message } from '../../src/replication/index.ts'
import { assert, must } from '../../src/stdx/index.ts'
import { EntryNumbers } from './canonical.ts'
import { type Disk, Input, type LivingOptions, LivingReplica } from './living-replica.ts'
import { Messages } from './messages.ts'
import { checkSaid, checkStep, type ReplicaFacts } from './replica-rules.ts'

/** Replicas kept alive at the state they are in, so that the next input needs no replay. */
const SPARES_MAX = 20_000
const NO_SENDS: readonly Send[] = Object.freeze([])

/** A message to one of the two others: 1, the next one in the ring, or 2, the one after it. */
export interface Send {
  readonly to: 1 | 2
  readonly message: number
}

export interface Step {
  readonly state: number
  readonly sends: readonly Send[]
}

interface State {
  /** −1: a disk without a process, where everything begins. */
  parent: number
  input: number
  depth: number
  mirrored: number
  readonly disk: Disk | null
  readonly facts: ReplicaFacts
  readonly steps: Map<number, Step>
}

export interface ReplicaOptions extends Omit<LivingOptions, 'numbers'> {
  /** Messages that promise something must not leave before it is on disk. Without, only the cluster can tell. */
  readonly checkPromises: boolean
}

export class ReplicaStates {
  readonly messages: Messages
  readonly numbers = new EntryNumbers()
  readonly #options: ReplicaOptions & LivingOptions
  readonly #states: State[] = []
  readonly #byText = new Map<string, number>()
  readonly #spares = new Map<number, LivingReplica>()

  constructor(options: ReplicaOptions) {
    this.#options = { ...options, numbers: this.numbers }
    this.messages = new Messages(this.numbers)
  }

  get size(): number {
    return this.#states.length
  }

  facts(state: number): ReplicaFacts {
    return this.#states[state]!.facts
  }

  mirrored(state: number): number {
    return this.#states[state]!.mirrored
  }

  /** A machine that is switched off, with this on its disk. The disk must not name another node. */
  root(disk: Disk): number {
    assert(disk.vote === 0, 'a disk to begin with names no node')
    return this.#intern(new LivingReplica(disk, this.#options), -1, -1, disk)
  }

  static input(kind: Input, from = 0, argument = 0): number {
    return kind | (from << 4) | (argument << 8)
  }

  /** Throws a `Violation` when the replica does what no replica may. */
  step(state: number, input: number): Step {
    const known = this.#states[state]!.steps.get(input)
    if (known !== undefined) return known
    const step = this.#execute(state, input)
    this.#shorten(state, input, step.state)
    const { mirrored } = this.#states[step.state]!
    if (mirrored < 0) {
      this.#execute(this.#states[state]!.mirrored, mirrorInput(input))
      // The texts have found each other, or the core does tell its peers apart by number and symmetry is not sound.
      assert(this.#states[step.state]!.mirrored >= 0, 'the mirrored history leads to the mirrored state')
    }
    return step
  }

  #execute(state: number, input: number): Step {
    const known = this.#states[state]!.steps.get(input)
    if (known !== undefined) return known
    const living = this.#living(state)
    const sends: Send[] = []
    this.#apply(living, input, sends)
    const to = this.#intern(living, state, input, null)
    const [before, after] = [this.#states[state]!.facts, this.#states[to]!.facts]
    checkStep(before, after, (input & 15) === Input.crash)
    if (this.#options.checkPromises)
      for (const { to: peer, message } of sends) checkSaid(this.messages.get(message), peer + 1, after)
    if (!this.#spares.has(to)) this.#spare(to, living)
    const step = { state: to, sends: sends.length === 0 ? NO_SENDS : sends }
    this.#states[state]!.steps.set(input, step)
    return step
  }

  /** A shorter way to a known state makes every replay through it shorter. Depths only sink, so no way runs in a circle. */
  #shorten(from: number, input: number, to: number): void {
    const [before, after] = [this.#states[from]!, this.#states[to]!]
    if (before.depth + 1 >= after.depth) return
    after.parent = from
    after.input = input
    after.depth = before.depth + 1
  }

  #spare(state: number, living: LivingReplica): void {
    if (this.#spares.size >= SPARES_MAX) this.#spares.delete(must(this.#spares.keys().next().value, 'a spare'))
    this.#spares.set(state, living)
  }

  #living(state: number): LivingReplica {
    const spare = this.#spares.get(state)
    if (spare !== undefined) {
      this.#spares.delete(state)
      return spare
    }
    const inputs: number[] = []
    let at = this.#states[state]!
    for (; at.parent >= 0; at = this.#states[at.parent]!) inputs.push(at.input)
    const living = new LivingReplica(must(at.disk, 'disk of a root'), this.#options)
    const ignored: Send[] = []
    for (let i = inputs.length - 1; i >= 0; i--) this.#apply(living, inputs[i]!, ignored)
    return living
  }

  #apply(living: LivingReplica, input: number, sends: Send[]): void {
    const kind = (input & 15) as Input
    const from = ((input >> 4) & 15) + 1
    const argument: Message | number = kind === Input.deliver ? this.messages.get(input >> 8) : input >> 8
    living.apply(kind, from, argument, (to, message) => {
      sends.push({ to: (to - 1) as 1 | 2, message: this.messages.of(message) })
    })
  }

  #intern(living: LivingReplica, parent: number, input: number, disk: Disk | null): number {
    const text = living.text(false)
    const known = this.#byText.get(text)
    if (known !== undefined) return known
    const state = this.#states.length
    const depth = parent < 0 ? 0 : this.#states[parent]!.depth + 1
    const facts = living.facts()
    const mirror = living.text(true)
    const mirrored = mirror === text ? state : (this.#byText.get(mirror) ?? -1)
    this.#states.push({ parent, input, depth, mirrored, disk, facts, steps: new Map() })
    if (mirrored >= 0 && mirrored !== state) this.#states[mirrored]!.mirrored = state
    this.#byText.set(text, state)
    return state
  }
}

/** The same thing happening from the other side. */
export function mirrorInput(input: number): number {
  const kind = (input & 15) as Input
  const from = (input >> 4) & 15
  const argument = input >> 8
  if (kind === Input.restart) return ReplicaStates.input(kind, 0, ((argument & 2) << 1) | ((argument & 4) >> 1))
  return ReplicaStates.input(kind, from === 0 ? 0 : 3 - from, argument)
}
