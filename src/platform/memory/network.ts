/**
 * A network inside the process: hosts by name, byte streams between them, and the ways in which such streams fail.
 *
 *     const network = new MemoryNetwork({}, { clock })
 *     const one = network.host('one')      // a Network, as node 1 sees it
 *     network.cut('one', 'two')            // bytes of one to two stay on the way; two hears silence, not an error
 *     network.heal()                       // they arrive after all, as TCP would send them again
 *     network.reset('one', 'two')          // every connection between them ends at once
 *     network.crash('two')                 // two is gone: nothing on it is called any more, its peers are told or not
 *
 * Bytes are copied on delivery, as the kernel does: sender and receiver never share memory. With `scribble` the copy is
 * overwritten when its turn ends, so whoever kept a slice of it finds out in a test.
 */
import type { Clock } from '../clock.ts'
import { PlatformError } from '../errors.ts'
import type { Address, Connection, Listener, Network } from '../network.ts'
import type { Random } from '../random.ts'
import { connectedPair, type MemoryConnection } from './connection.ts'

export interface MemoryNetworkOptions {
  /** Above this many queued bytes `write` answers false. */
  readonly highWaterBytes?: number
  /** What the wire and a receiver that paused hold together, before the sender has to queue. */
  readonly windowBytes?: number
  /** Travel time of so many bytes; without it they arrive at the end of the turn. */
  readonly latencyMs?: (from: string, to: string, bytes: number) => number
  readonly connectTimeoutMs?: number
  /** Overwrite delivered buffers when their turn ends. */
  readonly scribble?: boolean
}

export interface MemoryNetworkCollaborators {
  readonly clock: Clock
  /** When given, bytes arrive in pieces of random size. */
  readonly random?: Random
}

/** What connections need from the network around them. */
export interface Wire extends MemoryNetworkCollaborators {
  readonly highWaterBytes: number
  readonly windowBytes: number
  readonly scribble: boolean
  /** Something listens on it. */
  isUp(host: string): boolean
  isCut(from: string, to: string): boolean
  latencyMs(from: string, to: string, bytes: number): number
  forget(connection: MemoryConnection): void
}

interface Bound {
  readonly onConnection: (connection: Connection) => void
}

type Connected = (error: PlatformError | null, connection?: Connection) => void

const LOCAL = new Set(['', '*', '0.0.0.0', '::', '127.0.0.1', '::1', 'localhost'])
const EPHEMERAL_PORT_FIRST = 40_000

export class MemoryNetwork {
  readonly #clock: Clock
  readonly #connectTimeoutMs: number
  readonly #wire: Wire
  readonly #listeners = new Map<string, Bound>()
  readonly #connections = new Set<MemoryConnection>()
  /** By host, how often it has crashed. */
  readonly #lives = new Map<string, number>()
  /** Directions in which nothing arrives, as `from>to`. */
  readonly #cuts = new Set<string>()
  #nextPort = EPHEMERAL_PORT_FIRST

  constructor(options: MemoryNetworkOptions, collaborators: MemoryNetworkCollaborators) {
    this.#clock = collaborators.clock
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 5000
    const latencyMs = options.latencyMs ?? (() => 0)
    this.#wire = {
      ...collaborators,
      highWaterBytes: options.highWaterBytes ?? 1024 * 1024,
      windowBytes: options.windowBytes ?? 256 * 1024,
      scribble: options.scribble ?? false,
      isUp: (host) => this.#isUp(host),
      isCut: (from, to) => this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`),
      latencyMs,
      forget: (connection) => this.#connections.delete(connection),
    }
  }

  /** The network as the machine of this name sees it. Loopback and wildcard addresses mean the machine itself. */
  host(name: string): Network {
    return {
      listen: (at, onConnection, done) => this.#listen(name, at, onConnection, done),
      connect: (to, done) => this.#connect(name, to, done),
    }
  }

  /** Nothing that `from` sends reaches `to`, and neither side is told. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  /** Ends one cut, or all of them. */
  heal(from?: string, to?: string): void {
    if (from !== undefined && to !== undefined) this.#cuts.delete(`${from}>${to}`)
    else this.#cuts.clear()
    for (const connection of this.#connections) connection.pump()
  }

  #isUp(host: string): boolean {
    for (const key of this.#listeners.keys()) if (key.startsWith(`${host}:`)) return true
    return false
  }

  reset(a: string, b: string): void {
    for (const connection of [...this.#connections]) {
      const { local, peer } = connection.hosts
      if ((local === a && peer === b) || (local === b && peer === a)) connection.lost('connection reset')
    }
  }

  /**
   * A `silent` crash is a lost machine: whoever is connected to it hears nothing, until it is back, as a machine that something listens on,
   * and is sent something of which it knows nothing. Otherwise the process died and its kernel says so.
   */
  crash(host: string, options: { silent?: boolean } = {}): void {
    this.#lives.set(host, (this.#lives.get(host) ?? 0) + 1)
    for (const key of [...this.#listeners.keys()]) if (key.startsWith(`${host}:`)) this.#listeners.delete(key)
    for (const connection of [...this.#connections]) {
      if (connection.hosts.local === host) connection.vanish()
      else if (connection.hosts.peer === host && !options.silent) connection.lost('connection reset')
    }
  }

  #listen(
    host: string,
    at: Address,
    onConnection: (connection: Connection) => void,
    done: (error: PlatformError | null, listener?: Listener) => void,
  ): void {
    const life = this.#lives.get(host)
    this.#clock.endOfTurn(() => {
      // Whoever asked is dead, and its successor may want the same port.
      if (this.#lives.get(host) !== life) return
      const port = at.port === 0 ? this.#freePort(host) : at.port
      const key = `${host}:${port}`
      if (!LOCAL.has(at.host) && at.host !== host) {
        const reason = `cannot listen on ${at.host}:${port}: ${host} has no such address`
        return done(new PlatformError({ code: 'ADDRESS_INVALID', host: at.host, port }, reason))
      }
      if (this.#listeners.has(key)) {
        const reason = `cannot listen on ${at.host}:${port}: another program uses this port`
        return done(new PlatformError({ code: 'ADDRESS_IN_USE', host: at.host, port }, reason))
      }
      const bound: Bound = { onConnection }
      this.#listeners.set(key, bound)
      // Whoever still waits for the machine's former life sends once more, and is told.
      for (const connection of this.#connections) if (connection.hosts.peer === host) connection.pump()
      done(null, {
        address: { host: at.host, port },
        close: (closed) => {
          if (this.#listeners.get(key) === bound) this.#listeners.delete(key)
          this.#clock.endOfTurn(closed)
        },
      })
    })
  }

  #freePort(host: string): number {
    while (this.#listeners.has(`${host}:${this.#nextPort}`)) this.#nextPort++
    return this.#nextPort++
  }

  #connect(from: string, to: Address, done: Connected): void {
    const target = LOCAL.has(to.host) ? from : to.host
    if (!Number.isInteger(to.port) || to.port < 1 || to.port > 65_535) {
      const reason = `cannot connect to ${to.host}:${to.port}: no such port`
      const error = new PlatformError({ code: 'ADDRESS_INVALID', host: to.host, port: to.port }, reason)
      this.#clock.endOfTurn(() => done(error))
      return
    }
    if (this.#wire.isCut(from, target) || this.#wire.isCut(target, from)) {
      const reason = `no answer in ${this.#connectTimeoutMs} ms`
      const text = `cannot connect to ${to.host}:${to.port}: ${reason}`
      const error = new PlatformError({ code: 'CONNECTION_LOST', reason }, text)
      this.#clock.after(this.#connectTimeoutMs, () => done(error))
      return
    }
    const roundTripMs = this.#wire.latencyMs(from, target, 0) + this.#wire.latencyMs(target, from, 0)
    const arrive = (): void => this.#establish(from, target, to, done)
    if (roundTripMs > 0) this.#clock.after(roundTripMs, arrive)
    else this.#clock.endOfTurn(arrive)
  }

  #establish(from: string, target: string, to: Address, done: Connected): void {
    const bound = this.#listeners.get(`${target}:${to.port}`)
    if (bound === undefined) {
      const text = `cannot connect to ${to.host}:${to.port}: nothing listens there`
      done(new PlatformError({ code: 'CONNECTION_REFUSED', host: to.host, port: to.port }, text))
      return
    }
    const [near, far] = connectedPair(
      this.#wire,
      { local: from, peer: target, remote: { host: to.host, port: to.port } },
      { local: target, peer: from, remote: { host: from, port: this.#nextPort++ } },
    )
    this.#connections.add(near).add(far)
    bound.onConnection(far)
    done(null, near)
  }
}
