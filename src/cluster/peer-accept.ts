/**
 * The accepting half of the handshake: connections come in one by one, and two that belong to one attempt become a session.
 *
 * Nothing is known of whoever connects, so everything is bounded: the number of handshakes in progress, the time each may
 * take, and the size of a frame (by the channel's reader).
 */
import type { Connection, Timer } from '../platform/index.ts'
import {
  agreedVersion,
  type ChannelRole,
  decodeConfirm,
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  type Hello,
} from './handshake.ts'
import type { HandshakeParty } from './handshake-party.ts'
import { type ChannelOwner, PeerChannel } from './peer-channel.ts'
import { type FrameDefect, FrameKind } from './peer-wire.ts'

const HANDSHAKES_MAX = 1024

/** The connections of one attempt. */
interface Pair {
  readonly key: string
  readonly hello: Hello
  /** In both welcomes; whoever confirms has read one of them. */
  readonly challenge: string
  readonly channels: Map<ChannelRole, PeerChannel>
}

interface Guest {
  readonly deadline: Timer
  pair: Pair | null
}

export class PeerAcceptor implements ChannelOwner {
  readonly #timeoutMs: number
  readonly #party: HandshakeParty
  readonly #guests = new Map<PeerChannel, Guest>()
  readonly #pairs = new Map<string, Pair>()

  constructor(timeoutMs: number, party: HandshakeParty) {
    this.#timeoutMs = timeoutMs
    this.#party = party
  }

  accept(connection: Connection): void {
    if (this.#guests.size >= HANDSHAKES_MAX) {
      connection.destroy()
      return
    }
    const channel = new PeerChannel(this.#party.clock, connection, this)
    const deadline = this.#party.clock.after(this.#timeoutMs, () => this.#drop(channel))
    this.#guests.set(channel, { deadline, pair: null })
  }

  frame(channel: PeerChannel, kind: FrameKind, stamp: number, frame: Buffer): void {
    const guest = this.#guests.get(channel)
    if (guest === undefined) return
    this.#party.lamport.observe(stamp)
    if (kind === FrameKind.hello && guest.pair === null) this.#greet(channel, guest, frame)
    else if (kind === FrameKind.confirm && guest.pair !== null) this.#establish(channel, guest.pair, frame)
    else {
      const refused = kind === FrameKind.refusal ? decodeRefusal(frame) : null
      if (refused === null) this.#party.damaged(guest.pair?.hello.node ?? 0, `frame kind ${kind} in the handshake`)
      this.#drop(channel)
      if (refused !== null) this.#party.refusedBy(refused.by, refused.refusal)
    }
  }

  #greet(channel: PeerChannel, guest: Guest, frame: Buffer): void {
    const hello = decodeHello(frame)
    if (hello === null) {
      this.#party.damaged(0, `no hello from ${channel.remote}`)
      this.#drop(channel)
      return
    }
    const refusal = this.#party.judge(hello, 'acceptor')
    const { lamport } = this.#party
    if (refusal !== null) {
      channel.write(encodeRefusal(refusal, this.#party.self, lamport.tick()))
      this.#leave(channel, guest)
      channel.end()
      this.#party.refused(hello, refusal)
      return
    }
    const welcome = this.#party.hello(hello.role, hello.nonce, hello.node)
    if (hello.role === 'introduction') {
      channel.write(encodeHello(welcome, FrameKind.welcome, lamport.tick()))
      this.#leave(channel, guest)
      channel.end()
      this.#party.introduced(hello)
      return
    }
    const key = `${hello.node}/${hello.processIncarnation}/${hello.nonce}`
    let pair = this.#pairs.get(key)
    if (pair === undefined) {
      pair = { key, hello, challenge: this.#party.challenge(), channels: new Map() }
      this.#pairs.set(key, pair)
    }
    guest.pair = pair
    if (pair.channels.has(hello.role)) {
      this.#party.damaged(hello.node, `two ${hello.role} connections in one attempt`)
      this.#drop(channel)
      return
    }
    pair.channels.set(hello.role, channel)
    channel.reader.version = agreedVersion(hello)
    channel.write(encodeHello({ ...welcome, challenge: pair.challenge }, FrameKind.welcome, lamport.tick()))
  }

  #establish(channel: PeerChannel, pair: Pair, frame: Buffer): void {
    if (decodeConfirm(frame) !== pair.challenge) {
      this.#party.damaged(pair.hello.node, 'a confirm of another session')
      this.#drop(channel)
      return
    }
    const control = pair.channels.get('control')
    const data = pair.channels.get('data')
    if (control === undefined || data === undefined) {
      this.#party.damaged(pair.hello.node, 'a confirm before both connections were welcome')
      this.#drop(channel)
      return
    }
    for (const member of [control, data]) this.#leave(member, this.#guests.get(member)!)
    this.#pairs.delete(pair.key)
    this.#party.established(pair.hello, control, data)
  }

  ended(channel: PeerChannel, _reason: string, defect: FrameDefect | null): void {
    if (defect !== null)
      this.#party.damaged(this.#guests.get(channel)?.pair?.hello.node ?? 0, `damaged frame (${defect})`)
    this.#drop(channel)
  }

  #leave(channel: PeerChannel, guest: Guest): void {
    guest.deadline.cancel()
    this.#guests.delete(channel)
  }

  /** One connection of a pair is nothing: both go. */
  #drop(channel: PeerChannel): void {
    const guest = this.#guests.get(channel)
    if (guest === undefined) return
    const { pair } = guest
    this.#leave(channel, guest)
    channel.destroy()
    if (pair === null) return
    this.#pairs.delete(pair.key)
    for (const other of pair.channels.values()) this.#drop(other)
  }

  stop(): void {
    for (const channel of [...this.#guests.keys()]) this.#drop(channel)
  }
}
