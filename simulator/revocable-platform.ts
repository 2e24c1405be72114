/**
 * The outside world as one simulated process sees it, and can be made to lose.
 *
 * A process that crashes in the middle of a function leaves, in a simulator, a function that runs on: its closures, timers and
 * promises are still there. If they could reach the disk or the network, code of a dead process would write to the disk of
 * its successor. So everything a node is given goes through a `Gate` that belongs to one process:
 *
 *      node ──asks──►  Gate  ──► shared clock, this machine's disk, the network
 *      node ◄──told──  Gate  ◄──
 *                       │
 *                       ├ open     both ways
 *                       ├ paused   asks nothing (it does not run); what it should be told waits, timers first, then the rest
 *                       └ closed   neither way, for ever
 *
 * Each effect (a write, a sync, a byte to somebody, a timer) is counted on its way out, which lets a crash happen exactly
 * between two effects of one function, and not only between two turns.
 */
import type {
  Address,
  Clock,
  Connection,
  ConnectionHandler,
  Disk,
  DiskCallback,
  DiskFile,
  Listener,
  Network,
  Platform,
  PlatformError,
  Random,
  Timer,
} from '../src/platform/index.ts'

const INERT: Timer = { cancel() {} }

export class Gate {
  #state: 'open' | 'paused' | 'closed' = 'open'
  /** What became due during a pause. A real event loop runs its timers before its sockets. */
  #timers: (() => void)[] = []
  #others: (() => void)[] = []
  /** Effects that this process has had. */
  effects = 0
  /** Called in the place of the effect that brings the count to `crashAt`. */
  crashAt = Number.POSITIVE_INFINITY
  onCrashPoint: () => void = () => {}
  /** The process threw what nobody caught. Not called for what a dead process' function does on its way out. */
  onError: (error: Error) => void = (error) => {
    throw error
  }
  /** Called by who closes it. */
  onClosed: () => void = () => {}

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  close(): void {
    this.#state = 'closed'
    this.#timers = []
    this.#others = []
  }

  pause(): void {
    if (this.#state === 'open') this.#state = 'paused'
  }

  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'open'
    const due = [...this.#timers, ...this.#others]
    this.#timers = []
    this.#others = []
    for (const callback of due) this.tell(callback)
  }

  /** The process does something to the world. False: it cannot any more. */
  effect(): boolean {
    if (this.#state === 'closed') return false
    this.effects++
    if (this.effects < this.crashAt) return true
    this.crashAt = Number.POSITIVE_INFINITY
    this.onCrashPoint()
    return !this.isClosed
  }

  tell(callback: () => void): void {
    if (this.#state === 'open') this.#run(callback)
    else if (this.#state === 'paused') this.#others.push(callback)
  }

  /** The end of a turn that was begun. */
  finish(callback: () => void): void {
    if (this.#state !== 'closed') this.#run(callback)
  }

  timer(callback: () => void): void {
    if (this.#state === 'paused') this.#timers.push(callback)
    else this.tell(callback)
  }

  #run(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      if (!this.isClosed) this.onError(error as Error)
    }
  }

  get paused(): boolean {
    return this.#state === 'paused'
  }
}

export interface Machine {
  readonly clock: Clock
  readonly disk: Disk
  readonly network: Network
  readonly random: Random
}

export function revocable(gate: Gate, machine: Machine): Platform {
  return {
    clock: new GatedClock(gate, machine.clock),
    disk: gatedDisk(gate, machine.disk),
    network: gatedNetwork(gate, machine.network),
    random: machine.random,
  }
}

class GatedClock implements Clock {
  readonly #gate: Gate
  readonly #clock: Clock

  constructor(gate: Gate, clock: Clock) {
    this.#gate = gate
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  wall(): number {
    return this.#clock.wall()
  }

  after(delayMs: number, callback: () => void): Timer {
    if (this.#gate.isClosed) return INERT
    let cancelled = false
    const timer = this.#clock.after(delayMs, () => this.#gate.timer(() => cancelled || callback()))
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      },
    }
  }

  every(intervalMs: number, callback: () => void): Timer {
    let current: Timer = INERT
    let cancelled = false
    const arm = (): void => {
      current = this.after(intervalMs, () => {
        callback()
        if (!cancelled) arm()
      })
    }
    arm()
    return {
      cancel: () => {
        cancelled = true
        current.cancel()
      },
    }
  }

  endOfTurn(callback: () => void): void {
    const gate = this.#gate
    if (gate.isClosed) return
    // A pause falls between turns: what was begun is finished, as bytes that were delivered are valid until then.
    if (gate.paused) this.#clock.endOfTurn(() => gate.timer(callback))
    else this.#clock.endOfTurn(() => gate.finish(callback))
  }
}

function gatedDisk(gate: Gate, disk: Disk): Disk {
  const guard =
    <T>(done: DiskCallback<T>): DiskCallback<T> =>
    (error, value) =>
      gate.tell(() => (value === undefined ? done(error) : done(error, value)))
  const may = (): boolean => gate.effect()
  return {
    makeDirectory: (path, done) => void (may() && disk.makeDirectory(path, guard(done))),
    list: (path, done) => void (may() && disk.list(path, guard(done))),
    open: (path, mode, done) => {
      if (!may()) return
      const opened = guard(done)
      disk.open(path, mode, (error, file) => opened(error, file === undefined ? file : gatedFile(gate, file)))
    },
    rename: (from, to, done) => void (may() && disk.rename(from, to, guard(done))),
    remove: (path, done) => void (may() && disk.remove(path, guard(done))),
    removeDirectory: (path, done) => void (may() && disk.removeDirectory(path, guard(done))),
    syncDirectory: (path, done) => void (may() && disk.syncDirectory(path, guard(done))),
    space: (path, done) => void (may() && disk.space(path, guard(done))),
    claim: (path, done) => void (may() && disk.claim(path, guard(done))),
  }
}

function gatedFile(gate: Gate, file: DiskFile): DiskFile {
  const guard =
    <T>(done: DiskCallback<T>): DiskCallback<T> =>
    (error, value) =>
      gate.tell(() => (value === undefined ? done(error) : done(error, value)))
  const may = (): boolean => gate.effect()
  return {
    path: file.path,
    write: (buffers, position, done) => void (may() && file.write(buffers, position, guard(done))),
    read: (into, position, done) => void (may() && file.read(into, position, guard(done))),
    datasync: (done) => void (may() && file.datasync(guard(done))),
    truncate: (length, done) => void (may() && file.truncate(length, guard(done))),
    size: (done) => void (may() && file.size(guard(done))),
    close: (done) => void (may() && file.close(guard(done))),
  }
}

function gatedNetwork(gate: Gate, network: Network): Network {
  return {
    listen: (at: Address, onConnection, done) => {
      if (!gate.effect()) return
      const accept = (connection: Connection): void => admit(gate, connection, onConnection)
      network.listen(at, accept, (error: PlatformError | null, listener?: Listener) =>
        gate.tell(() => done(error, listener)),
      )
    },
    connect: (to, done) => {
      if (!gate.effect()) return
      network.connect(to, (error, connection) => {
        if (connection === undefined) gate.tell(() => done(error))
        else if (gate.isClosed) connection.destroy()
        else admit(gate, connection, (admitted) => done(null, admitted))
      })
    },
  }
}

/** Hands a connection to its owner, at once or after the pause; what arrives meanwhile waits in the kernel's buffers. */
function admit(gate: Gate, connection: Connection, take: (connection: Connection) => void): void {
  const gated = new GatedConnection(gate, connection)
  gate.tell(() => take(gated))
}

class GatedConnection implements Connection {
  handler: ConnectionHandler = { received() {}, drained() {}, closed() {} }
  readonly #gate: Gate
  readonly #connection: Connection

  constructor(gate: Gate, connection: Connection) {
    this.#gate = gate
    this.#connection = connection
    connection.handler = {
      received: (bytes) => {
        const own = gate.paused ? Buffer.from(bytes) : bytes
        gate.tell(() => this.handler.received(own))
      },
      drained: () => gate.tell(() => this.handler.drained()),
      closed: (reason) => gate.tell(() => this.handler.closed(reason)),
    }
  }

  get remote(): Address {
    return this.#connection.remote
  }

  get queuedBytes(): number {
    return this.#connection.queuedBytes
  }

  write(bytes: Uint8Array): boolean {
    return this.#gate.effect() ? this.#connection.write(bytes) : true
  }

  pause(): void {
    this.#connection.pause()
  }

  resume(): void {
    this.#connection.resume()
  }

  end(): void {
    if (this.#gate.effect()) this.#connection.end()
  }

  destroy(): void {
    if (this.#gate.effect()) this.#connection.destroy()
  }
}
