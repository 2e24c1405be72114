/**
 * Every state that three replicas can reach within bounds, and what must hold in each.
 *
 * A seed tries one order of events; here all of them are tried. It works because the core is a pure function of its inputs and
 * the bounds are small: a few terms, a few entries, one misfortune. Most defects of consensus protocols that were ever found
 * need no more than that, only the right order.
 *
 *     state of the cluster = three replica states (`replica-states.ts`) + messages on the way + the referee's memory + budgets
 *
 * **Steps.** A message arrives, whichever; a replica's oldest write completes; a replica's patience ends; a leader takes a
 * proposal; and, as budgets allow: a crash (what was not on disk is gone; the others see the session end), a restart, a lost
 * session, a leader that resigns. Each is one turn: `ready` is taken after each input.
 *
 * **The network never forgets.** Whatever was sent in a session may arrive at any time, in any order, any number of times, or
 * never. That is far more than the product's connections allow (they keep order, and lose nothing without ending), and it
 * holds every path with one message lost or duplicated, and every other number of them. It also makes *fewer* states: which
 * messages have arrived is written in their receivers and nowhere else. What a loss does in this product is to end a session,
 * for nothing is ever sent again within one; that is a step of its own, and takes what is between the two with it.
 *
 * **Symmetry.** Replicas differ by their names only. Of the six states that differ by names one is remembered.
 *
 * **What is outside.** No beat is ever heard, so leases and stickiness are not explored (they refuse; here everybody may), nor
 * several inputs within one turn, membership, or transfers. Bounds are bounds: what needs more of anything is not found.
 */
import { assert, must } from '../../src/stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../../src/storage/index.ts'
import { Violation } from '../violation.ts'
import { ClusterRules } from './cluster-rules.ts'
import type { OpenedCore } from './opened-core.ts'
import { Input, ReplicaStates, type Send, SHARD } from './replica-states.ts'
import { StateSet } from './state-set.ts'

export interface Bounds {
  /** Elections are started up to so many terms above the one that the disks begin with. */
  readonly terms: number
  /** Entries that clients add; each leadership adds one of its own. */
  readonly proposals: number
  readonly crashes: number
  /** Sessions that end, and everything on the way between the two with them. */
  readonly lostSessions: number
  readonly resignations: number
  /**
   * `ordered`: each of the two connections between two replicas keeps its order, as the product's do, and what follows are
   * exceptions from that. `unordered`: whatever was sent in a session may arrive at any time and any number of times.
   */
  readonly network: 'ordered' | 'unordered'
  /** With more messages than this on the way, the next step is an arrival. */
  readonly messagesMax: number
  /** With more writes than this on the way, on all disks together, the next step is a completion. */
  readonly writesMax: number
  /** Messages that vanish although their connection goes on. */
  readonly lostMessages: number
  readonly duplicates: number
  /** Messages that arrive before earlier ones of their connection. */
  readonly overtakings: number
  /** How often anybody's patience may end, counted only with pre-votes: without, terms are the bound. */
  readonly campaigns: number
  /**
   * False: whoever's patience ends takes a new term at once, as if a quorum had been asked and had said yes. All that an
   * election can do happens, but for what the questions themselves change.
   */
  readonly preVote: boolean
  /** The terms of the entries on each disk at the beginning. */
  readonly disks?: readonly [readonly number[], readonly number[], readonly number[]]
  /** Begins with a leader in the first term, its first entry committed and nothing on the way. */
  readonly led?: boolean
  readonly singleEntryAppends?: boolean
  /** Without, what is said too early must show in what becomes of it. */
  readonly checkPromises?: boolean
  /** Gives up, and says so. */
  readonly maxStates?: number
}

export interface Exploration {
  readonly exhausted: boolean
  readonly states: number
  readonly transitions: number
  /** The longest path taken; depth first, so not the shortest to anything. */
  readonly depth: number
  readonly replicaStates: number
  readonly messages: number
  /** The most that any history has committed: an exploration that commits nothing proves little. */
  readonly committed: number
  readonly bytes: number
  readonly violation: Violation | null
  /** The steps that led to it. */
  readonly path: readonly string[]
}

export interface Progress {
  readonly states: number
  readonly depth: number
}

const REPLICAS = [0, 1, 2] as const
const LEADERS = 3
const COMMITTED = 4
const BUDGET = 5
const NETWORK = 6
/** Kinds of steps beside those of `Input`. */
const DUPLICATE = 9
const LOSE_SESSION = 10
const LOSE_MESSAGE = 11
const OVERTAKE = 12
const ALL_PEERS = 6
const PROGRESS_EVERY = 1 << 16

/** Which node takes the place of 0, 1 and 2, and whether that turns the ring around. */
const WAYS: readonly (readonly [number, number, number, number])[] = [
  [0, 1, 2, 0],
  [1, 2, 0, 0],
  [2, 0, 1, 0],
  [0, 2, 1, 1],
  [1, 0, 2, 1],
  [2, 1, 0, 1],
]

interface Frame {
  readonly state: Int32Array
  readonly steps: readonly number[]
  next: number
}

/** Each budget has three bits. */
const BUDGETS = [
  'proposals',
  'crashes',
  'lostSessions',
  'resignations',
  'lostMessages',
  'duplicates',
  'overtakings',
  'campaigns',
] as const
type Budget = (typeof BUDGETS)[number]
const BUDGET_BITS = 3
const SHIFT = Object.fromEntries(BUDGETS.map((name, i) => [name, i * BUDGET_BITS])) as Readonly<Record<Budget, number>>

export function explore(core: OpenedCore, bounds: Bounds, progress: (at: Progress) => void = () => {}): Exploration {
  return new Explorer(core, bounds).run(progress)
}

class Explorer {
  readonly #bounds: Bounds
  readonly #replicas: ReplicaStates
  readonly #rules: ClusterRules
  readonly #seen = new StateSet()
  readonly #firstTerm: number
  readonly #network: number[] = []
  #transitions = 0

  constructor(core: OpenedCore, bounds: Bounds) {
    const { checkPromises = true, singleEntryAppends = false } = bounds
    this.#bounds = bounds
    this.#replicas = new ReplicaStates({ core, checkPromises, singleEntryAppends, preVote: bounds.preVote })
    this.#rules = new ClusterRules(this.#replicas.numbers)
    this.#firstTerm = (bounds.disks ?? []).flat().reduce((most, term) => Math.max(most, term), 0)
  }

  run(progress: (at: Progress) => void): Exploration {
    const frames: Frame[] = []
    let depth = 0
    let violation: Violation | null = null
    let exhausted = true
    const enter = (state: Int32Array): void => {
      if (!this.#seen.add(this.#canonical(state))) return
      const [a, b, c] = [state[0]!, state[1]!, state[2]!]
      const replicas = this.#replicas
      this.#rules.check([replicas.facts(a), replicas.facts(b), replicas.facts(c)], state[COMMITTED]!)
      frames.push({ state, steps: this.#steps(state), next: 0 })
      depth = Math.max(depth, frames.length)
      if (this.#seen.size % PROGRESS_EVERY === 0) progress({ states: this.#seen.size, depth: frames.length })
    }
    try {
      enter(this.#bounds.led === true ? this.#led(this.#first()) : this.#first())
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const step = frame.steps[frame.next]
        if (step === undefined) {
          frames.pop()
          continue
        }
        if (this.#seen.size >= (this.#bounds.maxStates ?? Number.POSITIVE_INFINITY)) {
          exhausted = false
          break
        }
        frame.next++
        this.#transitions++
        enter(this.#after(frame.state, step))
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      violation = error
      exhausted = false
    }
    return {
      exhausted,
      states: this.#seen.size,
      transitions: this.#transitions,
      depth,
      replicaStates: this.#replicas.size,
      messages: this.#replicas.messages.size,
      committed: this.#rules.longest,
      bytes: this.#seen.bytes,
      violation,
      path: violation === null ? [] : frames.map(({ steps, next }) => this.#describe(must(steps[next - 1], 'a step'))),
    }
  }

  #first(): Int32Array {
    const { disks = [[], [], []] } = this.#bounds
    const state = new Int32Array(NETWORK)
    for (const node of REPLICAS) {
      const root = this.#replicas.root({ term: this.#firstTerm, vote: 0, entries: logOf(disks[node]) })
      state[node] = this.#replicas.step(root, ReplicaStates.input(Input.restart, 0, ALL_PEERS)).state
    }
    for (const name of BUDGETS) {
      const budget = this.#bounds[name]
      assert(budget >= 0 && budget < 1 << BUDGET_BITS, () => `${name}: a budget has ${BUDGET_BITS} bits`)
      state[BUDGET] = state[BUDGET]! | (budget << SHIFT[name])
    }
    return state
  }

  /** Node 1 campaigns, and then all that is on the way arrives and completes. */
  #led(first: Int32Array): Int32Array {
    let state = this.#after(first, Input.timeout)
    for (;;) {
      const step = this.#steps(state).find((each) => (each & 15) === Input.deliver || (each & 15) === Input.persisted)
      if (step === undefined) return state
      state = this.#after(state, step)
    }
  }

  #has(state: Int32Array, budget: Budget): boolean {
    return ((state[BUDGET]! >>> SHIFT[budget]) & ((1 << BUDGET_BITS) - 1)) > 0
  }

  /** What can happen next: kind, node (or the one that a pair leaves out), message on the way. */
  #steps(state: Int32Array): number[] {
    const steps: number[] = []
    const { messagesMax, writesMax } = this.#bounds
    let writes = 0
    for (const node of REPLICAS) writes += this.#replicas.facts(state[node]!).writes
    if (writes > writesMax) {
      for (const node of REPLICAS)
        if (this.#replicas.facts(state[node]!).writes > 0) steps.push(Input.persisted | (node << 4))
      return steps
    }
    if (this.#bounds.network === 'ordered') this.#orderedArrivals(state, steps)
    else this.#arrivals(state, steps)
    if (state.length - NETWORK > messagesMax) return steps
    const mayCampaign = !this.#bounds.preVote || this.#has(state, 'campaigns')
    for (const node of REPLICAS) {
      const { up, role, term, writes: pending } = this.#replicas.facts(state[node]!)
      const at = node << 4
      if (!up) {
        steps.push(Input.restart | at)
        continue
      }
      if (pending > 0) steps.push(Input.persisted | at)
      if (mayCampaign && role !== 2 && term < this.#firstTerm + this.#bounds.terms) steps.push(Input.timeout | at)
      if (role === 2 && this.#has(state, 'proposals')) steps.push(Input.propose | at)
      if (role === 2 && this.#has(state, 'resignations')) steps.push(Input.resign | at)
      if (this.#has(state, 'crashes')) steps.push(Input.crash | at)
      const [a, b] = [state[(node + 1) % 3]!, state[(node + 2) % 3]!]
      if (this.#has(state, 'lostSessions') && this.#replicas.facts(a).up && this.#replicas.facts(b).up)
        steps.push(LOSE_SESSION | at)
    }
    return steps
  }

  #arrivals(state: Int32Array, steps: number[]): void {
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      const to = flight & 3
      const { state: after, sends } = this.#replicas.step(state[to]!, arrival(flight))
      // It would change nothing and goes on being there: no step.
      if (after !== state[to] || this.#hasNew(state, to, sends)) steps.push(Input.deliver | (flight << 8))
    }
  }

  #orderedArrivals(state: Int32Array, steps: number[]): void {
    const [lose, duplicate] = [this.#has(state, 'lostMessages'), this.#has(state, 'duplicates')]
    const overtake = this.#has(state, 'overtakings')
    let connection = -1
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      const first = this.#connection(flight) !== connection
      connection = this.#connection(flight)
      if (first) steps.push(Input.deliver | (flight << 8))
      else if (overtake) steps.push(OVERTAKE | (flight << 8))
      if (first && lose) steps.push(LOSE_MESSAGE | (flight << 8))
      if (first && duplicate) steps.push(DUPLICATE | (flight << 8))
    }
  }

  /** Sender, receiver, and which of their two connections: appends have one for themselves. */
  #connection(flight: number): number {
    return ((flight & 15) << 1) | (this.#replicas.messages.isData(flight >> 4) ? 1 : 0)
  }

  #after(before: Int32Array, step: number): Int32Array {
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
        if (kind === Input.resign) spend(state, 'resignations')
        this.#give(state, node, ReplicaStates.input(kind as Input))
    }
    this.#forgetDetails(state)
    const after = new Int32Array(NETWORK + network.length)
    after.set(state)
    for (let i = 0; i < network.length; i++) after[NETWORK + i] = network[i]!
    this.#sort(after.subarray(NETWORK))
    return after
  }

  #arrive(state: Int32Array, kind: number, flight: number): void {
    if (kind === DUPLICATE) spend(state, 'duplicates')
    else if (this.#bounds.network === 'ordered') this.#network.splice(this.#network.indexOf(flight), 1)
    if (kind === OVERTAKE) spend(state, 'overtakings')
    if (kind === LOSE_MESSAGE) spend(state, 'lostMessages')
    else this.#give(state, flight & 3, arrival(flight))
  }

  /** By connection, and there in order of sending where that counts. Stable, and mostly sorted. */
  #sort(network: Int32Array): void {
    const ordered = this.#bounds.network === 'ordered'
    for (let i = 1; i < network.length; i++) {
      const flight = network[i]!
      const key = ordered ? this.#connection(flight) : flight
      let at = i
      for (; at > 0; at--) {
        const before = network[at - 1]!
        if ((ordered ? this.#connection(before) : before) <= key) break
        network[at] = before
      }
      network[at] = flight
    }
  }

  #giveIfUp(state: Int32Array, node: number, input: number): void {
    if (this.#replicas.facts(state[node]!).up) this.#give(state, node, input)
  }

  #give(state: Int32Array, node: number, input: number): void {
    const { state: after, sends } = this.#replicas.step(state[node]!, input)
    state[node] = after
    for (const { to, message } of sends) {
      const target = (node + to) % 3
      const flight = (message << 4) | (node << 2) | target
      if (!this.#replicas.facts(state[target]!).up) continue
      if (this.#bounds.network === 'ordered' || !this.#network.includes(flight)) this.#network.push(flight)
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
      const flight = (message << 4) | (node << 2) | target
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
      const { type, term } = messages.get(flight >> 4)
      const receiver = this.#replicas.facts(state[flight & 3]!)
      // Whoever asks is answered in any term; answers and news of an earlier term are dropped (`Raft.step`), and terms only
      // rise, but by a crash, which takes everything on the way with it.
      const asks = type === 'pre-vote' || type === 'vote' || type === 'append'
      if (!asks && term < receiver.term) continue
      // A refusal in the present term changes nothing but patience, and `moved` speaks to those who are behind.
      if (term <= receiver.term && (type === 'moved' || messages.isRefusal(flight >> 4))) continue
      // Who is no candidate in a term can become one only in a later one.
      if (type === 'vote-reply' && term === receiver.term && receiver.role !== 1) continue
      network[kept++] = term < receiver.term ? (messages.stale(flight >> 4) << 4) | (flight & 15) : flight
    }
    network.length = kept
  }

  /** Whatever is on the way between the two is gone. */
  #forget(a: number, b: number): void {
    const [there, back] = [(a << 2) | b, (b << 2) | a]
    let kept = 0
    for (const flight of this.#network) {
      if ((flight & 15) !== there && (flight & 15) !== back) this.#network[kept++] = flight
    }
    this.#network.length = kept
  }

  /** The smallest of the six that differ by the replicas' names. */
  #canonical(state: Int32Array): Int32Array {
    const smallest = [0, 0, 0]
    let best: Int32Array | null = null
    // The replicas decide, and only where two of the six agree in them the rest does.
    for (let look = 0; look < 2; look++) {
      for (let way = 0; way < WAYS.length; way++) {
        const [a, b, c, reflected] = WAYS[way]!
        const x = this.#seenAs(state[a]!, reflected)
        const y = this.#seenAs(state[b]!, reflected)
        const z = this.#seenAs(state[c]!, reflected)
        const order = x - smallest[0]! || y - smallest[1]! || z - smallest[2]!
        if (look === 0) {
          if (way > 0 && order >= 0) continue
          smallest[0] = x
          smallest[1] = y
          smallest[2] = z
        } else if (order === 0) {
          const renamed = this.#renamed(state, a, b, smallest)
          if (best === null || isLess(renamed, best)) best = renamed
        }
      }
    }
    return must(best, 'one of six')
  }

  #seenAs(replica: number, reflected: number): number {
    return reflected === 0 ? replica : this.#replicas.mirrored(replica)
  }

  #renamed(state: Int32Array, a: number, b: number, replicas: readonly number[]): Int32Array {
    const renamed = new Int32Array(state.length)
    renamed.set(replicas)
    let leaders = 0
    for (let shift = 0, rest = state[LEADERS]!; rest !== 0; shift += 2, rest >>>= 2)
      if ((rest & 3) !== 0) leaders |= (renamedNode((rest & 3) - 1, a, b) + 1) << shift
    renamed[LEADERS] = leaders
    renamed[COMMITTED] = state[COMMITTED]!
    renamed[BUDGET] = state[BUDGET]!
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      renamed[at] = (flight & ~15) | (renamedNode((flight >> 2) & 3, a, b) << 2) | renamedNode(flight & 3, a, b)
    }
    this.#sort(renamed.subarray(NETWORK))
    return renamed
  }

  #describe(step: number): string {
    const kind = step & 15
    const node = ((step >> 4) & 15) + 1
    const flight = step >> 8
    switch (kind) {
      case Input.deliver:
      case DUPLICATE:
      case OVERTAKE:
      case LOSE_MESSAGE:
        return `${ARRIVALS[kind]}${((flight >> 2) & 3) + 1} -> ${(flight & 3) + 1}: ${this.#replicas.messages.text(flight >> 4)}`
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
}

/** A message that arrives, as its receiver sees it. */
function arrival(flight: number): number {
  const from = (flight >> 2) & 3
  const to = flight & 3
  return ReplicaStates.input(Input.deliver, (from - to + 3) % 3, flight >> 4)
}

function renamedNode(node: number, a: number, b: number): number {
  return node === a ? 0 : node === b ? 1 : 2
}

function spend(state: Int32Array, budget: Budget): void {
  state[BUDGET] = state[BUDGET]! - (1 << SHIFT[budget])
}

function isLess(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!
  return false
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
