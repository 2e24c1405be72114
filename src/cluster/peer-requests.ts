/**
 * Questions between nodes: forwarding, status, allocation of ids. A request goes out on the control connection with a number,
 * the answer comes back with it. Every request ends exactly once: answered, timed out, or failed with its session. After the
 * last two nobody knows whether it was carried out, so what is asked must bear being asked twice.
 */
import type { Clock, Timer } from '../platform/index.ts'
import type { NodeId } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import { ClusterError, type ClusterFailure } from './errors.ts'
import type { PeerSession } from './peer-session.ts'

/** One frame on the connection that carries the beats, so it must not take long. */
export const REQUEST_BYTES_MAX = 16 << 20

export type RequestDone = (error: ClusterError | null, body?: Buffer) => void
/** `reply` is called once, now or later. */
export type RequestHandler = (from: NodeId, body: Buffer, reply: RequestDone) => void

interface Pending {
  readonly session: PeerSession
  readonly method: string
  readonly done: RequestDone
  readonly deadline: Timer
}

/** What of the mesh those need who ask and answer. */
export interface Asking {
  handle(method: string, handler: RequestHandler): void
  request(to: NodeId, method: string, body: Uint8Array, timeoutMs: number, done: RequestDone): void
}

export class PeerRequests {
  readonly #self: NodeId
  readonly #clock: Clock
  readonly #handlers = new Map<string, RequestHandler>()
  readonly #pending = new Map<number, Pending>()
  #lastId = 0

  constructor(self: NodeId, clock: Clock) {
    this.#self = self
    this.#clock = clock
  }

  handle(method: string, handler: RequestHandler): void {
    assert(!this.#handlers.has(method), () => `two handlers for '${method}'`)
    this.#handlers.set(method, handler)
  }

  /** `session` is null when there is none. `done` is never called before this returns. */
  request(
    to: NodeId,
    session: PeerSession | null,
    method: string,
    body: Uint8Array,
    timeoutMs: number,
    done: RequestDone,
  ): void {
    if (session === null) {
      this.#later(done, peerDown(to, method))
      return
    }
    if (body.length > REQUEST_BYTES_MAX) {
      this.#later(done, tooLarge(to, method, body.length))
      return
    }
    const id = this.#nextId()
    const deadline = this.#clock.after(timeoutMs, () => {
      this.#pending.delete(id)
      const details = { code: 'REQUEST_TIMEOUT', node: to, method, timeoutMs } as const
      done(
        new ClusterError(
          details,
          `node ${to} has not answered '${method}' within ${timeoutMs} ms; it may still carry it out`,
        ),
      )
    })
    this.#pending.set(id, { session, method, done, deadline })
    session.requestOut(id, method, body)
  }

  #later(done: RequestDone, error: ClusterError): void {
    this.#clock.endOfTurn(() => done(error))
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0
    while (this.#pending.has(this.#lastId))
    return this.#lastId
  }

  received(session: PeerSession, id: number, method: string, body: Buffer): void {
    let replied = false
    const reply: RequestDone = (error, answer) => {
      assert(!replied, () => `two replies to '${method}'`)
      replied = true
      if (session.closed) return
      const bytes = answer ?? Buffer.alloc(0)
      const failure = error ?? (bytes.length > REQUEST_BYTES_MAX ? tooLarge(this.#self, method, bytes.length) : null)
      if (failure === null) session.responseOut(id, false, bytes)
      else
        session.responseOut(
          id,
          true,
          Buffer.from(JSON.stringify({ details: failure.details, message: failure.message })),
        )
    }
    const handler = this.#handlers.get(method)
    if (handler !== undefined) {
      handler(session.node, body, reply)
      return
    }
    const details = { code: 'UNKNOWN_METHOD', node: this.#self, method } as const
    reply(
      new ClusterError(details, `node ${this.#self} does not know the request '${method}'; it runs another version`),
    )
  }

  answered(session: PeerSession, id: number, failed: boolean, body: Buffer): void {
    const pending = this.#pending.get(id)
    if (pending === undefined || pending.session !== session) return // after its timeout
    this.#pending.delete(id)
    pending.deadline.cancel()
    if (!failed) pending.done(null, body)
    else pending.done(readError(session.node, pending.method, body))
  }

  sessionDown(session: PeerSession): void {
    for (const [id, pending] of this.#pending) {
      if (pending.session !== session) continue
      this.#pending.delete(id)
      pending.deadline.cancel()
      pending.done(peerDown(session.node, pending.method))
    }
  }

  stop(): void {
    const all = [...this.#pending.values()]
    this.#pending.clear()
    for (const pending of all) {
      pending.deadline.cancel()
      pending.done(new ClusterError({ code: 'MESH_STOPPED' }, `this node is stopping; '${pending.method}' is given up`))
    }
  }
}

function peerDown(node: NodeId, method: string): ClusterError {
  return new ClusterError(
    { code: 'PEER_DOWN', node },
    `cannot ask node ${node} for '${method}': there is no session with it`,
  )
}

function tooLarge(node: NodeId, method: string, bytes: number): ClusterError {
  const details = { code: 'REQUEST_TOO_LARGE', node, method, bytes, bytesMax: REQUEST_BYTES_MAX } as const
  return new ClusterError(details, `'${method}' with ${bytes} bytes; the limit between nodes is ${REQUEST_BYTES_MAX}`)
}

function readError(node: NodeId, method: string, body: Buffer): ClusterError {
  try {
    const { details, message } = JSON.parse(body.toString()) as { details: ClusterFailure; message: string }
    if (typeof details.code === 'string' && typeof message === 'string') return new ClusterError(details, message)
  } catch {
    // Falls through to the answer for what cannot be read.
  }
  return new ClusterError(
    { code: 'BAD_RESPONSE', node, method },
    `the answer of node ${node} to '${method}' cannot be read`,
  )
}
