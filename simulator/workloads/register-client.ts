/**
 * Clients of the registers. They do not speak Kafka: a call is carried to the machine inside a node by a message that takes as
 * long as a message takes, and the answer is carried back.
 *
 *      client ── latency ──► [gate] machine.submit … applied ──► [gate] ── latency ──► client
 *
 * A process that is paused finds the call when it wakes; one that has died finds nothing, and says nothing. Then the client
 * has waited for `TIMEOUT_MS` and knows as little as any client: the operation may take effect at any time from its call on.
 *
 * Values are never used twice, so that who reads one knows which write it saw.
 */
import type { Clock } from '../../src/platform/index.ts'
import type { Shard, ShardSpec } from '../../src/replication/index.ts'
import { must, type Prng } from '../../src/stdx/index.ts'
import type { ClientEvent, RegisterEvent } from '../observer.ts'
import type { Gate } from '../revocable-platform.ts'
import { Violation } from '../violation.ts'
import { RegisterMachine, type RegisterOperation, type RegisterOutcome } from './register-machine.ts'

/** Ids between the metadata's shard and the first partition's. */
export const FIRST_REGISTER_SHARD = 8
const TIMEOUT_MS = 3000
const RETRY_MS = 40
const ATTEMPTS_MAX = 12

/** A machine in the process that runs on a node now. */
interface Seat {
  readonly machine: RegisterMachine
  readonly gate: Gate
}

/** Which machines there are in which processes. */
export class RegisterSeats {
  readonly #nodes: readonly number[]
  readonly #shards: readonly number[]
  readonly #seats = new Map<string, Seat>()

  constructor(nodes: readonly number[], shards: number) {
    this.#nodes = nodes
    this.#shards = Array.from({ length: shards }, (_, i) => FIRST_REGISTER_SHARD + i)
  }

  get shards(): readonly number[] {
    return this.#shards
  }

  get nodes(): readonly number[] {
    return this.#nodes
  }

  /** For a process that starts on `node`. */
  specs(node: number, gate: Gate): ShardSpec[] {
    return this.#shards.map((shard, i) => ({
      shard,
      // Not all of them want the same node to lead first.
      voters: this.#nodes.map((_, j) => this.#nodes[(i + j) % this.#nodes.length]!),
      learners: [],
      machine: (handle: Shard) => {
        const machine = new RegisterMachine(handle)
        this.#seats.set(`${node}/${shard}`, { machine, gate })
        return machine
      },
    }))
  }

  at(node: number, shard: number): Seat | undefined {
    return this.#seats.get(`${node}/${shard}`)
  }
}

export interface RegisterClientOptions {
  readonly name: string
  readonly intervalMs: number
  /** Per shard. */
  readonly keys: number
  readonly latencyUs: readonly [number, number]
}

export interface RegisterClientCollaborators {
  readonly seats: RegisterSeats
  readonly clock: Clock
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
}

interface Call {
  readonly shard: number
  readonly key: string
  readonly operation: RegisterOperation
  readonly calledAtMs: number
  attempts: number
  over: boolean
}

export class RegisterClient {
  readonly #options: RegisterClientOptions
  readonly #with: RegisterClientCollaborators
  readonly #leaders = new Map<number, number>()
  /** What a read of the key gave last: what a compare-and-set expects. */
  readonly #seen = new Map<string, string | null>()
  #values = 0
  #under: Call | null = null
  #stopped = false
  /** Registers that are still to be read when all is well again. */
  #lastReads: { readonly shard: number; readonly key: string }[] = []
  /** Operations by the kind of their outcome. */
  readonly outcomes: Record<RegisterOutcome['kind'], number> = {
    read: 0,
    written: 0,
    unequal: 0,
    refused: 0,
    unknown: 0,
  }

  constructor(options: RegisterClientOptions, collaborators: RegisterClientCollaborators) {
    this.#options = options
    this.#with = collaborators
  }

  start(): void {
    this.#next()
  }

  /** No new operations, but each register is read once more, until it answers. */
  stop(): void {
    this.#stopped = true
    for (const shard of this.#with.seats.shards)
      for (let i = 0; i < this.#options.keys; i++) this.#lastReads.push({ shard, key: `r${i}` })
    this.#readLast()
  }

  get drained(): boolean {
    return this.#stopped && this.#under === null && this.#lastReads.length === 0
  }

  /** What still waits for an answer, for people. */
  get waitingFor(): string {
    const under = this.#under
    const what = under === null ? `${this.#lastReads.length} reads` : `${under.operation.kind} of ${under.key}`
    return `${this.#options.name}: ${what} of shard ${under?.shard ?? this.#lastReads[0]?.shard}`
  }

  #next(): void {
    const { prng, clock } = this.#with
    if (this.#stopped) return this.#readLast()
    clock.after((this.#options.intervalMs * (50 + prng.below(101))) / 100, () => {
      if (this.#stopped) return this.#readLast()
      const { shards } = this.#with.seats
      const shard = must(shards[prng.below(shards.length)], 'a shard')
      const key = `r${prng.below(this.#options.keys)}`
      this.#call(shard, key, this.#operation(`${shard}/${key}`))
    })
  }

  #operation(register: string): RegisterOperation {
    const { prng } = this.#with
    const kind = prng.below(10)
    if (kind < 4) return { kind: 'read' }
    const value = `${this.#options.name}#${this.#values++}`
    // Half of the others compare: with what was seen last, which is mostly not what is there any more.
    if (kind < 7) return { kind: 'write', value }
    return { kind: 'cas', expected: this.#seen.get(register) ?? null, value }
  }

  #readLast(): void {
    const last = this.#lastReads[0]
    if (last !== undefined && this.#under === null) this.#call(last.shard, last.key, { kind: 'read' })
  }

  #call(shard: number, key: string, operation: RegisterOperation): void {
    const call: Call = { shard, key, operation, calledAtMs: this.#with.clock.now(), attempts: 0, over: false }
    this.#under = call
    this.#with.clock.after(TIMEOUT_MS, () => this.#finish(call, { kind: 'unknown' }))
    this.#attempt(call)
  }

  #attempt(call: Call): void {
    const { seats, clock, prng } = this.#with
    if (call.over) return
    call.attempts++
    const known = this.#leaders.get(call.shard)
    // Now and then one that is not thought to lead is asked: it must not answer.
    const astray = known === undefined || prng.below(8) === 0
    const node = astray ? must(seats.nodes[prng.below(seats.nodes.length)], 'a node') : known
    const seat = seats.at(node, call.shard)
    if (seat === undefined || seat.gate.isClosed) return this.#refused(call, null)
    // Nothing is asked twice unless it certainly did not happen: who hears nothing waits for the timeout.
    const { machine, gate } = seat
    const answered = (outcome: RegisterOutcome): void => {
      const { leader } = machine
      if (!gate.effect()) return
      clock.after(this.#latencyMs(), () => {
        if (outcome.kind === 'refused') return this.#refused(call, leader)
        this.#leaders.set(call.shard, node)
        this.#finish(call, outcome)
      })
    }
    clock.after(this.#latencyMs(), () => gate.tell(() => machine.submit(call.key, call.operation, answered)))
  }

  #refused(call: Call, leader: number | null): void {
    if (call.over) return
    if (leader === null) this.#leaders.delete(call.shard)
    else this.#leaders.set(call.shard, leader)
    if (call.attempts >= ATTEMPTS_MAX) return this.#finish(call, { kind: 'refused' })
    this.#with.clock.after(leader === null ? RETRY_MS * call.attempts : 0, () => this.#attempt(call))
  }

  #finish(call: Call, outcome: RegisterOutcome): void {
    if (call.over) return
    call.over = true
    this.#under = null
    this.outcomes[outcome.kind]++
    const { shard, key, operation, calledAtMs } = call
    const event: RegisterEvent = {
      type: 'register',
      client: this.#options.name,
      shard,
      key,
      calledAtMs,
      operation,
      outcome,
    }
    this.#with.emit(event)
    this.#learn(call, outcome)
    if (!this.#stopped) return this.#next()
    if (outcome.kind === 'read')
      this.#lastReads = this.#lastReads.filter((each) => each.shard !== shard || each.key !== key)
    this.#with.clock.after(RETRY_MS, () => this.#readLast())
  }

  #learn({ shard, key, operation }: Call, outcome: RegisterOutcome): void {
    const register = `${shard}/${key}`
    if (outcome.kind === 'unknown') this.#leaders.delete(shard)
    if (outcome.kind === 'read') this.#seen.set(register, outcome.value)
    if (outcome.kind === 'written' && operation.kind !== 'read') this.#seen.set(register, operation.value)
    const answersTheQuestion =
      outcome.kind === 'refused' ||
      outcome.kind === 'unknown' ||
      (operation.kind === 'read') === (outcome.kind === 'read')
    if (answersTheQuestion) return
    const what = `${this.#options.name} asked register ${register} for a ${operation.kind} and was told "${outcome.kind}"`
    this.#with.violated(new Violation('registers are served', what))
  }

  #latencyMs(): number {
    const [low, high] = this.#options.latencyUs
    return (low + this.#with.prng.below(high - low + 1)) / 1000
  }
}
