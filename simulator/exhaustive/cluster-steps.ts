/**
 * What can happen in a state of the cluster, and to which state it leads.
 *
 * A step is one number: its kind, the node that it happens to (or, for a pair, the one that is left out), the message that
 * arrives. Each is one turn of one replica; a crash, a restart and a lost session are told to all whom they concern at once.
 */
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../../src/storage/index.ts'
import { type Bounds, type Budget, isLeft, packBudgets, spent } from './bounds.ts'
import type { ClusterRules } from './cluster-rules.ts'
import {
  BUDGET,
  type ClusterShape,
  COMMITTED,
  flightOf,
  LEADERS,
  messageOf,
  NETWORK,
  REPLICAS,
  receiverOf,
  senderOf,
} from './cluster-state.ts'
import { Input, SHARD } from './living-replica.ts'
import { ReplicaStates, type Send } from './replica-states.ts'

/** Kinds of steps beside those of `Input`. */
const DUPLICATE = 9
const LOSE_SESSION = 10
const LOSE_MESSAGE = 11
const OVERTAKE = 12
const ALL_PEERS = 6

export interface StepCollaborators {
  readonly replicas: ReplicaStates
  readonly rules: ClusterRules
  readonly shape: ClusterShape
}

export class ClusterSteps {
  readonly #bounds: Bounds
  readonly #replicas: ReplicaStates
  readonly #rules: ClusterRules
  readonly #shape: ClusterShape
  readonly #ordered: boolean
  readonly #firstTerm: number
  /** What is on the way in the state being made. */
  readonly #network: number[] = []

  constructor(bounds: Bounds, { replicas, rules, shape }: StepCollaborators) {
    this.#bounds = bounds
    this.#replicas = replicas
    this.#rules = rules
    this.#shape = shape
    this.#ordered = bounds.network === 'ordered'
    this.#firstTerm = (bounds.disks ?? []).flat().reduce((most, term) => Math.max(most, term), 0)
  }

  first(): Int32Array {
    return this.#bounds.led === true ? this.#led() : this.#empty()
  }

  #empty(): Int32Array {
    const { disks = [[], [], []] } = this.#bounds
    const state = new Int32Array(NETWORK)
    for (const node of REPLICAS) {
      const root = this.#replicas.root({ term: this.#firstTerm, vote: 0, base: null, entries: logOf(disks[node]) })
      state[node] = this.#replicas.step(root, ReplicaStates.input(Input.restart, 0, ALL_PEERS)).state
    }
    state[BUDGET] = packBudgets(this.#bounds)
    return state
  }

  /** Node 1 has campaigned, and all that was on the way has arrived and completed. No budget was spent on that. */
  #led(): Int32Array {
    let state = this.after(this.#empty(), Input.timeout)
    for (;;) {
      const step = this.steps(state).find((each) => (each & 15) === Input.deliver || (each & 15) === Input.persisted)
      if (step === undefined) break
      state = this.after(state, step)
    }
    state[BUDGET] = packBudgets(this.#bounds)
    return state
  }

  /** What can happen next: kind, node (or the one that a pair leaves out), message on the way. */
  steps(state: Int32Array): number[] {
    const steps: number[] = []
    const { messagesMax, writesMax } = this.#bounds
    let writes = 0
    for (const node of REPLICAS) writes += this.#replicas.facts(state[node]!).writes
    if (writes > writesMax) {
      for (const node of REPLICAS)
        if (this.#replicas.facts(state[node]!).writes > 0) steps.push(Input.persisted | (node << 4))
      return steps
    }
    if (this.#ordered) this.#orderedArrivals(state, steps)
    else this.#arrivals(state, steps)
    if (state.length - NETWORK > messagesMax) return steps
    const mayCampaign = !this.#bounds.preVote || isLeft(state[BUDGET]!, 'campaigns')
    for (const node of REPLICAS) {
      const { up, role, term, writes: pending, installs, commit } = this.#replicas.facts(state[node]!)
      const at = node << 4
      if (!up) {
        steps.push(Input.restart | at)
        continue
      }
      if (pending > 0) steps.push(Input.persisted | at)
      if (installs > 0) steps.push(Input.installed | at)
      if (mayCampaign && role !== 2 && term < this.#firstTerm + this.#bounds.terms) steps.push(Input.timeout | at)
      if (role === 2 && isLeft(state[BUDGET]!, 'proposals')) steps.push(Input.propose | at)
      if (role === 2 && commit > 0 && isLeft(state[BUDGET]!, 'cuts')) steps.push(Input.cut | at)
      if (role === 2 && isLeft(state[BUDGET]!, 'resignations')) steps.push(Input.resign | at)
      if (isLeft(state[BUDGET]!, 'crashes')) steps.push(Input.crash | at)
      const [a, b] = [state[(node + 1) % 3]!, state[(node + 2) % 3]!]
      if (isLeft(state[BUDGET]!, 'lostSessions') && this.#replicas.facts(a).up && this.#replicas.facts(b).up)
        steps.push(LOSE_SESSION | at)
    }
    return steps
  }

  #arrivals(state: Int32Array, steps: number[]): void {
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      const to = receiverOf(flight)
      const { state: after, sends } = this.#replicas.step(state[to]!, arrival(flight))
      // It would change nothing and goes on being there: no step.
      if (after !== state[to] || this.#hasNew(state, to, sends)) steps.push(Input.deliver | (flight << 8))
    }
  }

  #orderedArrivals(state: Int32Array, steps: number[]): void {
    const [lose, duplicate] = [isLeft(state[BUDGET]!, 'lostMessages'), isLeft(state[BUDGET]!, 'duplicates')]
    const overtake = isLeft(state[BUDGET]!, 'overtakings')
    let connection = -1
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      const first = this.#shape.connection(flight) !== connection
      connection = this.#shape.connection(flight)
      if (first) steps.push(Input.deliver | (flight << 8))
      else if (overtake) steps.push(OVERTAKE | (flight << 8))
      if (first && lose) steps.push(LOSE_MESSAGE | (flight << 8))
      if (first && duplicate) steps.push(DUPLICATE | (flight << 8))
    }
  }

  after(before: Int32Array, step: number): Int32Array {
    const kind = step & 15
    const node = (step >> 4) & 15
    const network = this.#network
    network.length = 0
    for (let at = NETWORK; at < before.length; at++) network.push(before[at]!)
    const state = before.slice(0, NETWORK)
    const [next, last] = [(node + 1) % 3, (node + 2) % 3]
    switch (kind) {
      case Input.deliver:
      case DUPLICATE:
      case OVERTAKE:
      case LOSE_MESSAGE:
        this.#arrive(state, kind, step >> 8)
        break
      case Input.crash:
        spend(state, 'crashes')
        this.#forget(node, next)
        this.#forget(node, last)
        this.#give(state, node, ReplicaStates.input(Input.crash))
        this.#giveIfUp(state, next, ReplicaStates.input(Input.peerDown, 2))
        this.#giveIfUp(state, last, ReplicaStates.input(Input.peerDown, 1))
        break
      case Input.restart: {
        const up = [next, last].map((other, i) => (this.#replicas.facts(state[other]!).up ? 2 << i : 0))
        this.#give(state, node, ReplicaStates.input(Input.restart, 0, up[0]! | up[1]!))
        this.#giveIfUp(state, next, ReplicaStates.input(Input.peerUp, 2))
        this.#giveIfUp(state, last, ReplicaStates.input(Input.peerUp, 1))
        break
      }
      case LOSE_SESSION:
        spend(state, 'lostSessions')
        this.#forget(next, last)
        for (const input of [Input.peerDown, Input.peerUp]) {
          this.#give(state, next, ReplicaStates.input(input, 1))
          this.#give(state, last, ReplicaStates.input(input, 2))
        }
        break
      default:
        if (kind === Input.timeout && this.#bounds.preVote) spend(state, 'campaigns')
        if (kind === Input.propose) spend(state, 'proposals')
        if (kind === Input.cut) spend(state, 'cuts')
        if (kind === Input.resign) spend(state, 'resignations')
        this.#give(state, node, ReplicaStates.input(kind as Input))
    }
    this.#forgetDetails(state)
    const after = new Int32Array(NETWORK + network.length)
    after.set(state)
    for (let i = 0; i < network.length; i++) after[NETWORK + i] = network[i]!
    this.#shape.sort(after.subarray(NETWORK))
    return after
  }

  #arrive(state: Int32Array, kind: number, flight: number): void {
    if (kind === DUPLICATE) spend(state, 'duplicates')
    else if (this.#ordered) this.#network.splice(this.#network.indexOf(flight), 1)
    if (kind === OVERTAKE) spend(state, 'overtakings')
    if (kind === LOSE_MESSAGE) spend(state, 'lostMessages')
    else this.#give(state, receiverOf(flight), arrival(flight))
  }

  #giveIfUp(state: Int32Array, node: number, input: number): void {
    if (this.#replicas.facts(state[node]!).up) this.#give(state, node, input)
  }

  #give(state: Int32Array, node: number, input: number): void {
    const { state: after, sends } = this.#replicas.step(state[node]!, input)
    state[node] = after
    for (const { to, message } of sends) {
      const target = (node + to) % 3
      const flight = flightOf(message, node, target)
      if (!this.#replicas.facts(state[target]!).up) continue
      if (this.#ordered || !this.#network.includes(flight)) this.#network.push(flight)
    }
    const facts = this.#replicas.facts(after)
    if (!facts.up) return
    state[LEADERS] = this.#rules.leaders(state[LEADERS]!, node, facts, this.#firstTerm)
    state[COMMITTED] = this.#rules.committed(state[COMMITTED]!, node, facts)
  }

  /** Something is sent that is not on the way already. */
  #hasNew(state: Int32Array, node: number, sends: readonly Send[]): boolean {
    for (const { to, message } of sends) {
      const target = (node + to) % 3
      const flight = flightOf(message, node, target)
      if (this.#replicas.facts(state[target]!).up && state.indexOf(flight, NETWORK) < 0) return true
    }
    return false
  }

  /** What nobody will ever look at makes no difference, and must not make two states of one. */
  #forgetDetails(state: Int32Array): void {
    const { messages } = this.#replicas
    const network = this.#network
    let kept = 0
    for (const flight of network) {
      const { type, term } = messages.get(messageOf(flight))
      const receiver = this.#replicas.facts(state[receiverOf(flight)]!)
      // Whoever asks is answered in any term; answers and news of an earlier term are dropped (`Raft.step`), and terms only
      // rise, but by a crash, which takes everything on the way with it.
      const asks = type === 'pre-vote' || type === 'vote' || type === 'append' || type === 'snapshot'
      if (!asks && term < receiver.term) continue
      // A refusal in the present term changes nothing but patience, and `moved` speaks to those who are behind.
      if (term <= receiver.term && (type === 'moved' || messages.isRefusal(messageOf(flight)))) continue
      // Who is no candidate in a term can become one only in a later one.
      if (type === 'vote-reply' && term === receiver.term && receiver.role !== 1) continue
      const told =
        term < receiver.term
          ? flightOf(messages.stale(messageOf(flight)), senderOf(flight), receiverOf(flight))
          : flight
      const twin = this.#ordered ? -1 : network.indexOf(told)
      if (twin < 0 || twin >= kept) network[kept++] = told
    }
    network.length = kept
  }

  /** Whatever is on the way between the two is gone. */
  #forget(a: number, b: number): void {
    const [there, back] = [flightOf(0, a, b), flightOf(0, b, a)]
    let kept = 0
    for (const flight of this.#network) {
      if ((flight & 15) !== there && (flight & 15) !== back) this.#network[kept++] = flight
    }
    this.#network.length = kept
  }

  describe(step: number): string {
    const kind = step & 15
    const node = ((step >> 4) & 15) + 1
    const flight = step >> 8
    switch (kind) {
      case Input.deliver:
      case DUPLICATE:
      case OVERTAKE:
      case LOSE_MESSAGE:
        return `${ARRIVALS[kind]}${senderOf(flight) + 1} -> ${receiverOf(flight) + 1}: ${this.#replicas.messages.text(messageOf(flight))}`
      case LOSE_SESSION:
        return `nodes ${(node % 3) + 1} and ${((node + 1) % 3) + 1} lose their session and find each other again`
      default:
        return `node ${node}: ${KIND_NAMES[kind]}`
    }
  }
}

const ARRIVALS: Readonly<Record<number, string>> = {
  [Input.deliver]: '',
  [DUPLICATE]: 'and will arrive again: ',
  [OVERTAKE]: 'before its time: ',
  [LOSE_MESSAGE]: 'is lost: ',
}
const KIND_NAMES: Readonly<Record<number, string>> = {
  [Input.persisted]: 'its oldest write completes',
  [Input.timeout]: 'campaigns',
  [Input.propose]: 'takes a proposal',
  [Input.crash]: 'loses power',
  [Input.restart]: 'starts again',
  [Input.resign]: 'resigns',
  [Input.cut]: 'proposes to cut what is committed',
  [Input.installed]: 'has installed a snapshot',
}

/** A message that arrives, as its receiver sees it. */
function arrival(flight: number): number {
  const from = (senderOf(flight) - receiverOf(flight) + 3) % 3
  return ReplicaStates.input(Input.deliver, from, messageOf(flight))
}

function spend(state: Int32Array, budget: Budget): void {
  state[BUDGET] = spent(state[BUDGET]!, budget)
}

/** Logs with the same terms are the same bytes. */
function logOf(terms: readonly number[]): Entry[] {
  const entries: Entry[] = []
  for (const [i, term] of terms.entries()) {
    const before = entries.at(-1)
    entries.push(
      encodeEntry({
        kind: EntryKind.data,
        shard: SHARD,
        term,
        index: i + 1,
        stamp: i + 1,
        firstOffset: before === undefined ? 0 : nextOffsetAfter(before),
        recordCount: 1,
        previousCrc: before?.crc ?? 0,
        payload: [Buffer.of(0)],
      }),
    )
  }
  return entries
}
