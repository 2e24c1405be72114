/**
 * What was said in an earlier session, said once more (F4: replay of old messages, minutes old, of a previous process).
 *
 * For each link the recorder keeps the last attempts of the dialler: two connections with one nonce, each from its hello on. A
 * replay opens two connections of its own from the same machine, and waits for the two welcomes as a dialler would before it
 * says the rest:
 *
 *      then   hello(nonce 7, process A) ──► welcome ──► confirm · beats · appends · votes …   recorded
 *      now    hello(nonce 7, process A) ──► welcome ──► confirm · beats · appends · votes …   must be believed by nobody
 *
 * An acceptor that believed it would take a dead process for its peer, end the session with the living one, and count answers
 * to beats that it never sent. It gives itself away at once: whoever has a session sends frames of the kind `control`.
 */
import { decodeHello } from '../../src/cluster/handshake.ts'
import { FrameKind } from '../../src/cluster/peer-wire.ts'
import type { Connection, Network } from '../../src/platform/index.ts'
import type { Recorder, Tap } from './taps.ts'

/** One connection from its first byte. */
interface Recording {
  readonly nonce: string
  readonly pieces: Buffer[]
  bytes: number
}

/** Two connections of one attempt, as they were when the first of them ended. */
export interface RecordedSession {
  readonly incarnation: string
  readonly connections: readonly Buffer[]
}

const RECORDING_BYTES_MAX = 64 << 10
const SESSIONS_KEPT = 4

export class SessionRecorder implements Recorder {
  readonly #open = new Map<Tap, Recording>()
  /** Ended sessions by link, the oldest first. */
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

/** Plays the session to whoever listens there. `believed` when the other side takes it for one. Returns how to end it. */
export function play(
  session: RecordedSession,
  network: Network,
  to: { readonly host: string; readonly port: number },
  believed: (kind: number) => void,
): () => void {
  const open: Connection[] = []
  let welcomes = 0
  const rest = session.connections.map((bytes) => bytes.subarray(bytes.readUInt32LE(0)))
  const proceed = (): void => {
    for (const [i, connection] of open.entries()) connection.write(rest[i]!)
  }
  for (const bytes of session.connections) {
    network.connect(to, (_error, connection) => {
      if (connection === undefined) return
      open.push(connection)
      let heard = Buffer.alloc(0)
      connection.handler = {
        received: (piece) => {
          heard = Buffer.concat([heard, piece])
          while (heard.length >= 10 && heard.length >= heard.readUInt32LE(0)) {
            const kind = heard[9]!
            if (kind === FrameKind.welcome && ++welcomes === session.connections.length) proceed()
            if (kind === FrameKind.control || kind === FrameKind.data) believed(kind)
            heard = heard.subarray(heard.readUInt32LE(0))
          }
        },
        drained() {},
        closed() {},
      }
      connection.write(bytes.subarray(0, bytes.readUInt32LE(0)))
    })
  }
  return () => {
    for (const connection of open) connection.destroy()
  }
}
