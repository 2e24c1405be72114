/**
 * Systems that are right by construction, and the histories they leave: what every checker must accept.
 *
 * Each operation has its effect at one moment between its call and its return, on one state. Clients are concurrent, some
 * answers are lost (the effect may come much later, or never), some requests are refused. A client is a generator: it yields
 * what it does, and goes on when that is over.
 */
import { Prng } from '../../src/stdx/index.ts'
import type { Input, Operation, Output } from './history.ts'

export interface Shape {
  readonly clients: number
  readonly operations: number
  readonly keys: number
  readonly unknownPermille: number
  readonly refusedPermille: number
}

export const SHAPE: Shape = { clients: 5, operations: 120, keys: 2, unknownPermille: 40, refusedPermille: 30 }

interface Step {
  readonly process: string
  readonly input: Input
  /** Nothing can go wrong with it. */
  readonly sure?: boolean
  /** At one moment, and what it answers then. */
  readonly effect: () => Output
}

/** Yields what it does or how long it waits; is told how that ended. */
type Client = Generator<Step | number, void, Operation | undefined>

class World {
  readonly prng: Prng
  readonly #shape: Shape
  readonly operations: Operation[] = []
  #events: { at: number; order: number; what: () => void }[] = []
  #order = 0
  #nextId = 1
  now = 0

  constructor(seed: string, shape: Shape) {
    this.prng = new Prng(seed)
    this.#shape = shape
  }

  /** All clients to their ends, then what is still to come. */
  run(clients: readonly Client[]): Operation[] {
    for (const client of clients) this.#at(1 + this.prng.below(20), () => this.#resume(client, undefined))
    for (;;) {
      let first = 0
      for (let i = 1; i < this.#events.length; i++) {
        const [a, b] = [this.#events[i]!, this.#events[first]!]
        if (a.at < b.at || (a.at === b.at && a.order < b.order)) first = i
      }
      const event = this.#events[first]
      if (event === undefined) break
      this.#events.splice(first, 1)
      this.now = event.at
      event.what()
    }
    return this.operations.sort((a, b) => a.call - b.call || a.id - b.id)
  }

  #at(at: number, what: () => void): void {
    this.#events.push({ at, order: this.#order++, what })
  }

  #resume(client: Client, ended: Operation | undefined): void {
    const { value, done } = client.next(ended)
    if (done === true) return
    if (typeof value === 'number') this.#at(this.now + value, () => this.#resume(client, undefined))
    else this.#call(client, value as Step)
  }

  #call(client: Client, { process, input, sure, effect }: Step): void {
    const { prng } = this
    const { unknownPermille, refusedPermille } = this.#shape
    const luck = sure === true ? 1000 : prng.below(1000)
    const call = this.now
    const end = call + 2 + prng.below(prng.below(10) === 0 ? 120 : 20)
    const operation = { id: this.#nextId++, process, call, return: end, input, output: null as Output | null }
    this.operations.push(operation)
    if (luck < unknownPermille) {
      operation.return = Number.POSITIVE_INFINITY
      if (prng.below(3) > 0) this.#at(call + 1 + prng.below(prng.below(2) === 0 ? 30 : 400), () => void effect())
    } else if (luck >= unknownPermille + refusedPermille) {
      this.#at(call + 1 + prng.below(end - call - 1), () => {
        operation.output = effect()
      })
    }
    this.#at(end, () => this.#resume(client, operation))
  }
}

const isLost = (operation: Operation | undefined): boolean => operation?.return === Number.POSITIVE_INFINITY

/** Registers by key, all ordered by one log; every value is written once. */
export function goodRegisters(seed: number, shape: Shape = SHAPE): Operation[] {
  const world = new World(`${seed}/registers`, shape)
  const { prng } = world
  const state = new Map<string, string>()
  let index = 0
  let nextValue = 1
  function* client(name: string): Client {
    for (let i = 0, lives = 0; i < shape.operations / shape.clients; i++) {
      const key = `k${prng.below(shape.keys)}`
      const draw = prng.below(10)
      const value = `v${nextValue++}`
      // Mostly what is there, so that some apply.
      const expected = prng.below(4) > 0 ? (state.get(key) ?? null) : `v${1 + prng.below(nextValue)}`
      const input: Input =
        draw < 4 ? { f: 'read', key } : draw < 8 ? { f: 'write', key, value } : { f: 'cas', key, expected, value }
      const effect = (): Output => {
        if (input.f === 'read') return { f: 'read', value: state.get(key) ?? null, index }
        if (input.f === 'cas' && (state.get(key) ?? null) !== expected) return { f: 'cas', applied: false, index }
        state.set(key, value)
        index++
        return input.f === 'cas' ? { f: 'cas', applied: true, index } : { f: 'write', index }
      }
      if (isLost(yield { process: `${name}.${lives}`, input, effect })) lives++
      yield 1 + prng.below(8)
    }
  }
  return world.run(Array.from({ length: shape.clients }, (_, i) => client(`c${i}`)))
}

interface Partition {
  readonly name: string
  readonly log: string[]
  start: number
}

/**
 * A partitioned log: ordered producers, readers that go through it and back, cuts by request, and a group whose members take
 * turns. In the end everything has been read.
 */
export function goodLog(seed: number, shape: Shape = SHAPE): Operation[] {
  const world = new World(`${seed}/log`, shape)
  const { prng } = world
  const partitions: Partition[] = Array.from({ length: shape.keys }, (_, i) => ({ name: `t/${i}`, log: [], start: 0 }))
  const any = (): Partition => partitions[prng.below(partitions.length)]!
  const rounds = Math.ceil(shape.operations / 6)
  let nextValue = 1

  function* producer(name: string): Client {
    for (let i = 0, lives = 0; i < rounds; i++) {
      const { log, name: partition } = any()
      const values = Array.from({ length: 1 + prng.below(3) }, () => `v${nextValue++}`)
      const effect = (): Output => ({ f: 'send', offset: log.push(...values) - values.length })
      const input: Input = { f: 'send', partition, values, ordered: true }
      // What may still come would come behind later sends of the same name.
      if (isLost(yield { process: `${name}.${lives}`, input, effect })) lives++
      yield 1 + prng.below(6)
    }
  }

  /** Reads once from `position`; answers where the next reading begins. */
  function* poll(
    process: string,
    partition: Partition,
    position: number,
    most: number,
  ): Generator<Step, number, Operation | undefined> {
    const effect = (): Output => {
      // Cut meanwhile: an empty answer says where the log starts now.
      const from = position < partition.start ? partition.log.length : position
      const records = partition.log.slice(from, from + most).map((value, i) => [from + i, value] as const)
      return { f: 'poll', records, highWatermark: partition.log.length, logStart: partition.start }
    }
    const { output } = (yield {
      process,
      input: { f: 'poll', partition: partition.name, position },
      sure: true,
      effect,
    })!
    const last = output?.f === 'poll' ? output.records.at(-1) : undefined
    return last === undefined ? position : last[0] + 1
  }

  function* seek(process: string, partition: string, position: number): Generator<Step, void, Operation | undefined> {
    yield { process, input: { f: 'seek', partition, position }, sure: true, effect: () => ({ f: 'seek' }) }
  }

  function* reader(name: string): Client {
    const positions = new Map<string, number>()
    for (let i = 0; i < rounds; i++) {
      const partition = any()
      let position = positions.get(partition.name) ?? 0
      const back = prng.below(10) === 0 && position > 0
      if (back || position < partition.start) {
        position = back ? Math.max(partition.start, prng.below(position)) : partition.start
        yield* seek(name, partition.name, position)
      }
      positions.set(partition.name, yield* poll(name, partition, position, 5))
      yield 1 + prng.below(6)
    }
  }

  function* trimmer(): Client {
    for (let i = 0; i < 2; i++) {
      yield 100 + prng.below(200)
      const partition = any()
      const before = prng.below(partition.log.length + 1)
      const effect = (): Output => {
        partition.start = Math.max(partition.start, before)
        return { f: 'trim', start: partition.start }
      }
      yield { process: 'admin', input: { f: 'trim', partition: partition.name, before }, sure: true, effect }
    }
  }

  /** All members in turn: a generation, then some reading and committing, then the next. */
  function* group(): Client {
    const offsets = new Map<string, number>()
    for (let generation = 1; generation <= 4; generation++) {
      const members = ['m0', 'm1', 'm2'].slice(0, 1 + prng.below(3))
      for (const [i, member] of members.entries()) {
        const owned = partitions.filter((_, at) => at % members.length === i).map(({ name }) => name)
        const effect = (): Output => ({ f: 'assign', generation, partitions: owned })
        yield { process: member, input: { f: 'assign', group: 'g', member }, sure: true, effect }
      }
      for (const [i, partition] of partitions.entries()) {
        const member = members[i % members.length]!
        const { name } = partition
        const told = (): Output => ({ f: 'committed', offset: offsets.get(name) ?? -1 })
        yield { process: member, input: { f: 'committed', group: 'g', partition: name }, sure: true, effect: told }
        let position = Math.max(0, offsets.get(name) ?? 0, partition.start)
        yield* seek(member, name, position)
        for (let round = 0; round < 3; round++) {
          position = yield* poll(member, partition, position, 4)
          if (position <= (offsets.get(name) ?? 0)) continue
          const offset = position
          const effect = (): Output => {
            offsets.set(name, offset)
            return { f: 'commit' }
          }
          const input: Input = { f: 'commit', group: 'g', member, generation, partition: name, offset }
          yield { process: member, input, sure: true, effect }
        }
      }
      yield 1 + prng.below(60)
    }
  }

  function* last(partition: Partition): Client {
    yield 100_000
    for (let at = partition.start; at < partition.log.length; ) at = yield* poll('last', partition, at, 7)
  }

  return world.run([
    ...['p0', 'p1', 'p2'].map(producer),
    ...['r0', 'r1', 'r2'].map(reader),
    trimmer(),
    group(),
    ...partitions.map(last),
  ])
}
