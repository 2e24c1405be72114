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
import type { HardState, Raft, Ready } from '../../src/replication/raft.ts'
import { ORIGIN } from '../../src/replication/raft-log.ts'
import { AssertionFailed, assert, must } from '../../src/stdx/index.ts'
import { type Entry, EntryKind } from '../../src/storage/index.ts'
import { Violation } from '../violation.ts'
import { canonical, EntryNumbers } from './canonical.ts'
import { Messages } from './messages.ts'
import type { OpenedCore } from './opened-core.ts'
import { checkSaid, checkStep, type Disk, type ReplicaFacts, type Role } from './replica-rules.ts'

export const SHARD = 16
/** Ticks until any replica campaigns: patience is one tick, stretched by a few where one made way. */
const TICKS_MAX = 100
/** Replicas kept alive at the state they are in, so that the next input needs no replay. */
const SPARES_MAX = 20_000
const NO_SENDS: readonly Send[] = Object.freeze([])

/** What can happen to one replica; packed into one number. */
export const Input = {
  deliver: 0,
  persisted: 1,
  timeout: 2,
  propose: 3,
  crash: 4,
  restart: 5,
  peerDown: 6,
  peerUp: 7,
  resign: 8,
} as const
export type Input = (typeof Input)[keyof typeof Input]

/** A message to one of the two others: 1, the next one in the ring, or 2, the one after it. */
export interface Send {
  readonly to: 1 | 2
  readonly message: number
}

export interface Step {
  readonly state: number
  readonly sends: readonly Send[]
}

interface Write {
  readonly sequence: number
  readonly hardState: HardState | null
  readonly entries: readonly Entry[]
}

interface Living {
  raft: Raft | null
  disk: Disk
  writes: Write[]
  campaigned: boolean
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

export interface ReplicaOptions {
  readonly core: OpenedCore
  /** Messages that promise something must not leave before it is on disk. Without, only the cluster can tell. */
  readonly checkPromises: boolean
  /** One entry per append instead of all that are due. */
  readonly singleEntryAppends: boolean
  readonly preVote: boolean
}

export class ReplicaStates {
  readonly messages: Messages
  readonly numbers = new EntryNumbers()
  readonly #options: ReplicaOptions
  readonly #states: State[] = []
  readonly #byText = new Map<string, number>()
  readonly #spares = new Map<number, Living>()
  /** Inputs that the core itself was given. */
  executed = 0

  constructor(options: ReplicaOptions) {
    this.#options = options
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
    const living: Living = { raft: null, disk: copyOf(disk), writes: [], campaigned: false }
    return this.#intern(living, -1, -1, disk)
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
    const before = this.#states[state]!.facts
    checkStep(before, this.#states[to]!.facts, (input & 15) === Input.crash)
    if (this.#options.checkPromises)
      for (const { to: peer, message } of sends)
        checkSaid(this.messages.get(message), peer + 1, living.disk, living.raft)
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

  #spare(state: number, living: Living): void {
    if (this.#spares.size >= SPARES_MAX) this.#spares.delete(must(this.#spares.keys().next().value, 'a spare'))
    this.#spares.set(state, living)
  }

  #living(state: number): Living {
    const spare = this.#spares.get(state)
    if (spare !== undefined) {
      this.#spares.delete(state)
      return spare
    }
    const inputs: number[] = []
    let at = this.#states[state]!
    for (; at.parent >= 0; at = this.#states[at.parent]!) inputs.push(at.input)
    const living: Living = { raft: null, disk: copyOf(must(at.disk, 'disk of a root')), writes: [], campaigned: false }
    const ignored: Send[] = []
    for (let i = inputs.length - 1; i >= 0; i--) this.#apply(living, inputs[i]!, ignored)
    return living
  }

  #apply(living: Living, input: number, sends: Send[]): void {
    this.executed++
    const from = ((input >> 4) & 15) + 1
    const argument = input >> 8
    try {
      switch ((input & 15) as Input) {
        case Input.deliver:
          raftOf(living).step(from, this.messages.get(argument))
          break
        case Input.persisted: {
          const write = must(living.writes.shift(), 'a write')
          applyWrite(living.disk, write)
          raftOf(living).persisted(write.sequence)
          break
        }
        case Input.timeout: {
          living.campaigned = false
          if (!this.#options.preVote) {
            coreOf(raftOf(living)).campaign('vote')
            break
          }
          for (let ticks = 0; !living.campaigned; ticks++) {
            assert(ticks < TICKS_MAX, 'a replica without a leader never campaigns')
            raftOf(living).tick()
          }
          break
        }
        case Input.propose: {
          const raft = raftOf(living)
          const stamp = raft.log.lastIndex + 1
          raft.propose({ kind: EntryKind.data, recordCount: 1, payload: [Buffer.of(1)], stamp })
          break
        }
        case Input.crash:
          living.raft = null
          living.writes = []
          return
        case Input.restart:
          living.raft = this.#boot(living)
          for (const peer of [2, 3]) if ((argument & (1 << (peer - 1))) !== 0) living.raft.peerUp(peer)
          break
        case Input.peerDown:
          raftOf(living).peerDown(from)
          break
        case Input.peerUp:
          raftOf(living).peerUp(from)
          break
        case Input.resign:
          raftOf(living).stepDown()
          break
      }
      this.#drain(living, sends)
    } catch (error) {
      if (error instanceof AssertionFailed) throw new Violation('the core’s own assertions', error.message)
      throw error
    }
  }

  #drain(living: Living, sends: Send[]): void {
    const raft = raftOf(living)
    while (raft.hasReady()) {
      const ready: Ready = raft.ready()
      const { persistSequence: sequence, hardState, entries } = ready
      if (sequence !== 0) living.writes.push({ sequence, hardState, entries })
      for (const { to, message } of ready.messages)
        sends.push({ to: (to - 1) as 1 | 2, message: this.messages.of(message) })
      assert(ready.reads.length === 0, 'nothing is ever below the tail here')
    }
  }

  #boot(living: Living): Raft {
    const { Raft: OpenedRaft, RaftLog: OpenedLog } = this.#options.core
    const { disk } = living
    const log = new OpenedLog({ shard: SHARD, anchor: ORIGIN, epochs: [], entries: disk.entries })
    return new OpenedRaft(
      {
        shard: SHARD,
        self: 1,
        voters: [1, 2, 3],
        learners: [],
        electionTicksMin: 1,
        electionTicksMax: 1,
        electionTimeoutMs: 1000,
        maxInflightBytes: 1 << 20,
        maxAppendBytes: this.#options.singleEntryAppends ? 1 : 1 << 16,
        snapshotChunkBytes: 1 << 16,
      },
      { term: disk.term, vote: disk.vote, commit: 0, log },
      {
        // No beat is ever heard: nobody is protected, whoever wants to may campaign.
        contact: { alive: () => false, answeredAt: () => Number.NEGATIVE_INFINITY },
        random: { below: () => 0, bytes: (length) => Buffer.alloc(length), chance: () => false },
        now: () => 0,
        stamp: () => log.lastIndex + 1,
        trace: (event) => {
          if (event.type === 'campaign-started') living.campaigned = true
        },
      },
    )
  }

  #intern(living: Living, parent: number, input: number, disk: Disk | null): number {
    const text = this.#text(living, false)
    const known = this.#byText.get(text)
    if (known !== undefined) return known
    const state = this.#states.length
    const depth = parent < 0 ? 0 : this.#states[parent]!.depth + 1
    const facts = this.#factsOf(living)
    const mirror = this.#text(living, true)
    const mirrored = mirror === text ? state : (this.#byText.get(mirror) ?? -1)
    this.#states.push({ parent, input, depth, mirrored, disk, facts, steps: new Map() })
    if (mirrored >= 0 && mirrored !== state) this.#states[mirrored]!.mirrored = state
    this.#byText.set(text, state)
    return state
  }

  #text({ raft, disk, writes }: Living, exchanged: boolean): string {
    const core = raft === null ? null : coreOf(raft)
    const completed = core?.persistence.open$completed ?? 0
    return canonical([core, disk, writes], { numbers: this.numbers, completed, exchanged })
  }

  #factsOf({ raft, disk, writes }: Living): ReplicaFacts {
    const diskLog = disk.entries.map((entry) => this.numbers.of(entry))
    const { term: diskTerm, vote: diskVote } = disk
    if (raft === null) {
      return {
        up: false,
        term: diskTerm,
        vote: diskVote,
        role: 0,
        log: diskLog,
        commit: 0,
        diskTerm,
        diskVote,
        diskLog,
        writes: 0,
      }
    }
    const log = raft.log.slice(1).map((entry) => this.numbers.of(entry))
    const role: Role = raft.role === 'leader' ? 2 : raft.role === 'candidate' ? 1 : 0
    const { term, vote, commit } = raft
    return { up: true, term, vote, role, log, commit, diskTerm, diskVote, diskLog, writes: writes.length }
  }
}

/** Of an opened `Raft`. */
interface OpenedRaftCore {
  readonly persistence: { readonly open$completed: number }
  campaign(kind: 'vote'): void
}

function coreOf(raft: Raft): OpenedRaftCore {
  return (raft as unknown as { readonly open$core: OpenedRaftCore }).open$core
}

function raftOf(living: Living): Raft {
  return must(living.raft, 'a running replica')
}

function copyOf(disk: Disk): Disk {
  return { ...disk, entries: [...disk.entries] }
}

/** In the journal, a later entry replaces everything from its index on. */
function applyWrite(disk: Disk, write: Write): void {
  if (write.hardState !== null) {
    disk.term = write.hardState.term
    disk.vote = write.hardState.vote
  }
  for (const entry of write.entries) {
    disk.entries.length = entry.index - 1
    disk.entries.push(entry)
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
