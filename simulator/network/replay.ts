/**
 * What was said in an earlier session, said once more (F4: replay of old messages, minutes old, of a previous process).
 *
 * For each link the recorder keeps the last sessions, as either side spoke: two connections with one nonce, each from its hello or
 * welcome on.
 *
 * *What the dialler had said.* A replay opens two connections of its own from the same machine, and waits for the two welcomes as
 * a dialler would before it says the rest:
 *
 *      then   hello(nonce 7, process A) ──► welcome ──► confirm · beats · appends · votes …   recorded
 *      now    hello(nonce 7, process A) ──► welcome ──► confirm · beats · appends · votes …   must be believed by nobody
 *
 * An acceptor that believed it would take a dead process for its peer, end the session with the living one, and count answers
 * to beats that it never sent. It gives itself away at once: whoever has a session sends frames of the kind `control`.
 *
 * *What the acceptor had said.* The connections are reset, and the dialler's next attempt is answered with old words. The acceptor
 * hears nothing of it:
 *
 *      then   hello(nonce 7) ──► welcome(nonce 7, process B)    recorded
 *      now    hello(nonce 8) ─✗  welcome(nonce 7, process B)    must not be confirmed
 */
import { type ChannelRole, decodeHello } from '../../src/cluster/handshake.ts'
import { CONTROL_FRAME_BYTES_MAX, FrameKind, FrameReader, WIRE_VERSION_MAX } from '../../src/cluster/peer-wire.ts'
import type { Clock, Connection, Network } from '../../src/platform/index.ts'
import type { Meddler, Recorder, Tap } from './taps.ts'

/** One connection from its first byte. */
interface Recording {
  readonly nonce: string
  readonly pieces: Buffer[]
  bytes: number
}

/** What one side said on two connections of one attempt, until the first of them ended. */
export interface RecordedSession {
  readonly incarnation: string
  readonly connections: readonly Buffer[]
}

const RECORDING_BYTES_MAX = 64 << 10
const SESSIONS_KEPT = 4

export class SessionRecorder implements Recorder {
  readonly #open = new Map<Tap, Recording>()
  /** Ended sessions by link and direction, the oldest first. */
  readonly #sessions = new Map<string, RecordedSession[]>()

  wrote(tap: Tap, bytes: Uint8Array): void {
    let recording = this.#open.get(tap)
    if (recording === undefined) {
      const hello = decodeHello(bytes as Buffer)
      if (hello === null) return
      recording = { nonce: hello.nonce, pieces: [], bytes: 0 }
      this.#open.set(tap, recording)
    }
    if (recording.bytes >= RECORDING_BYTES_MAX) return
    recording.pieces.push(Buffer.from(bytes))
    recording.bytes += bytes.length
  }

  ended(tap: Tap): void {
    const recording = this.#open.get(tap)
    this.#open.delete(tap)
    if (recording === undefined) return
    const link = `${tap.local}>${tap.remoteHost}`
    const other = [...this.#open].find(
      ([each, { nonce }]) =>
        each.local === tap.local && each.remoteHost === tap.remoteHost && nonce === recording.nonce,
    )
    // The second of the two ends later and has no partner then: the session is taken down once.
    if (other === undefined) return
    this.#open.delete(other[0])
    const sessions = this.#sessions.get(link) ?? []
    this.#sessions.set(link, sessions)
    const connections = [recording, other[1]].map(({ pieces }) => Buffer.concat(pieces))
    sessions.push({ incarnation: decodeHello(connections[0]!)?.processIncarnation ?? '', connections })
    if (sessions.length > SESSIONS_KEPT) sessions.shift()
  }

  sessions(from: string, to: string): readonly RecordedSession[] {
    return this.#sessions.get(`${from}>${to}`) ?? []
  }
}

/** Plays what a dialler said to whoever listens there. `believed` when that side takes it for a session. Returns how to end it. */
export function play(
  session: RecordedSession,
  network: Network,
  to: { readonly host: string; readonly port: number },
  believed: () => void,
): () => void {
  const open: Connection[] = []
  let welcomes = 0
  const rest = session.connections.map((bytes) => bytes.subarray(firstFrameOf(bytes).length))
  const heard = (kind: FrameKind): void => {
    if (kind === FrameKind.control || kind === FrameKind.data) believed()
    if (kind !== FrameKind.welcome || ++welcomes !== session.connections.length) return
    for (const [i, connection] of open.entries()) connection.write(rest[i]!)
  }
  for (const bytes of session.connections) {
    network.connect(to, (_error, connection) => {
      if (connection === undefined) return
      open.push(connection)
      // Sums count here, too: in a frame that was damaged on its way any kind may stand.
      const reader = new FrameReader({ frame: heard })
      reader.version = WIRE_VERSION_MAX
      reader.limitBytes = CONTROL_FRAME_BYTES_MAX
      connection.handler = {
        received: (piece) => {
          if (reader.push(piece) !== null) connection.destroy()
        },
        drained() {},
        closed() {},
      }
      connection.write(firstFrameOf(bytes))
    })
  }
  return () => {
    for (const connection of open) connection.destroy()
  }
}

export interface OldAnswersEvents {
  /** Both connections of an attempt have had their answers. */
  over(): void
  /** The dialler has taken them for an answer to itself. */
  believed(session: RecordedSession): void
}

/** The next attempt to connect is answered with what the acceptor said in an earlier session. Stands at the dialler. */
export class OldAnswers implements Meddler {
  readonly #clock: Clock
  readonly #pick: () => RecordedSession | null
  readonly #events: OldAnswersEvents
  #session: RecordedSession | null = null
  readonly #answered = new Set<Tap>()

  /** The session is picked at the first hello: it may be the one that has just ended. */
  constructor(clock: Clock, pick: () => RecordedSession | null, events: OldAnswersEvents) {
    this.#clock = clock
    this.#pick = pick
    this.#events = events
  }

  frame(frame: Buffer, tap: Tap): void {
    const kind = frame[9]
    const hello = kind === FrameKind.hello ? decodeHello(frame) : null
    if (hello !== null && hello.role !== 'introduction') return this.#answer(hello.role, frame, tap)
    if (!this.#answered.has(tap)) return tap.send(frame)
    // Whoever is not deceived says why, or nothing.
    if (kind !== FrameKind.refusal) this.#events.believed(this.#session!)
  }

  #answer(role: ChannelRole, frame: Buffer, tap: Tap): void {
    this.#session ??= this.#pick()
    const said = this.#session?.connections.find((bytes) => decodeHello(bytes)?.role === role)
    if (said === undefined || this.#answered.size === 2) return tap.send(frame)
    this.#answered.add(tap)
    this.#clock.after(1, () => tap.received(firstFrameOf(said)))
    if (this.#answered.size < 2) return
    this.#events.over()
    // What is said on these two is still of interest.
    for (const each of this.#answered) each.meddler = this
  }
}

function firstFrameOf(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.readUInt32LE(0))
}
