/**
 * The dialling half of the handshake: one dialer per peer with a smaller id, which tries until there is a session and again
 * when it ends.
 *
 * Attempts are spaced by 20 ms, doubling up to 250 ms, each stretched by a random part, so that the peers of a restarted node
 * do not knock in step. A session that lasted an election timeout resets the spacing; one that ends at once does not, or two
 * nodes that disagree would meet in a tight loop. A node that was refused asks again every second: reasons can go away.
 */
import type { Address, Connection, Network, PlatformError, Random, Timer } from '../platform/index.ts'
import {
  agreedVersion,
  type ChannelRole,
  decodeHello,
  decodeRefusal,
  encodeConfirm,
  encodeHello,
  encodeRefusal,
  type Hello,
} from './handshake.ts'
import type { HandshakeParty } from './handshake-party.ts'
import { type ChannelOwner, PeerChannel } from './peer-channel.ts'
import { type FrameDefect, FrameKind } from './peer-wire.ts'

export interface DialOptions {
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly refusedRetryMs: number
  /** From the first dialled byte to the second welcome. */
  readonly timeoutMs: number
  /** A session that lasted this long was a good one. */
  readonly steadyMs: number
}

export interface DialCollaborators {
  readonly network: Network
  readonly random: Random
  readonly party: HandshakeParty
}

type AttemptEnd = { readonly reason: string; readonly refused: boolean }

export class PeerDialer {
  readonly #node: number
  readonly #options: DialOptions
  readonly #with: DialCollaborators
  #address: Address
  #attempt: Attempt | null = null
  #retry: Timer | null = null
  #failures = 0
  #up = false
  #stopped = false

  constructor(node: number, address: Address, options: DialOptions, collaborators: DialCollaborators) {
    this.#node = node
    this.#address = address
    this.#options = options
    this.#with = collaborators
  }

  /** Used from the next attempt on; a session that is up stays. */
  setAddress(address: Address): void {
    this.#address = address
  }

  start(): void {
    if (this.#stopped || this.#up || this.#attempt !== null) return
    this.#retry?.cancel()
    this.#retry = null
    const { party, random } = this.#with
    if (random.chance('cluster/dial-given-up')) return this.#failed({ reason: 'given up', refused: false })
    const nonce = random.bytes(8).toString('hex')
    this.#attempt = new Attempt(this.#node, nonce, this.#options.timeoutMs, party, {
      done: (hello, control, data) => {
        this.#attempt = null
        this.#up = true
        party.established(hello, control, data)
      },
      failed: (end) => this.#failed(end),
    })
    this.#attempt.dial(this.#with.network, this.#address)
  }

  #failed({ reason, refused }: AttemptEnd): void {
    this.#attempt = null
    if (this.#stopped) return
    const delayMs = this.#schedule(refused)
    this.#with.party.unreachable(this.#node, reason, delayMs)
  }

  #schedule(refused: boolean): number {
    const { reconnectMinMs, reconnectMaxMs, refusedRetryMs } = this.#options
    const base = refused ? refusedRetryMs : Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(this.#failures, 16))
    this.#failures++
    const delayMs = base + this.#with.random.below(Math.max(1, Math.ceil(base / 2)))
    this.#retry = this.#with.party.clock.after(delayMs, () => this.start())
    return delayMs
  }

  sessionDown(lastedMs: number): void {
    if (!this.#up) return
    this.#up = false
    if (this.#stopped) return
    if (lastedMs >= this.#options.steadyMs) this.#failures = 0
    this.#schedule(false)
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#attempt?.abandon()
    this.#attempt = null
  }
}

interface AttemptEvents {
  done(hello: Hello, control: PeerChannel, data: PeerChannel): void
  failed(end: AttemptEnd): void
}

/** One attempt: two connections, two welcomes, or nothing. */
class Attempt implements ChannelOwner {
  readonly #node: number
  readonly #nonce: string
  readonly #party: HandshakeParty
  readonly #events: AttemptEvents
  readonly #deadline: Timer
  readonly #roles = new Map<PeerChannel, ChannelRole>()
  readonly #welcomes = new Map<ChannelRole, { readonly hello: Hello; readonly channel: PeerChannel }>()
  #over = false

  constructor(node: number, nonce: string, timeoutMs: number, party: HandshakeParty, events: AttemptEvents) {
    this.#node = node
    this.#nonce = nonce
    this.#party = party
    this.#events = events
    this.#deadline = party.clock.after(timeoutMs, () => this.#fail(`no answer within ${timeoutMs} ms`))
  }

  dial(network: Network, address: Address): void {
    for (const role of ['control', 'data'] as const) {
      network.connect(address, (error, connection) => this.#connected(role, error, connection))
    }
  }

  #connected(role: ChannelRole, error: PlatformError | null, connection?: Connection): void {
    if (this.#over || error !== null || connection === undefined) {
      connection?.destroy()
      this.#fail(error?.message ?? 'the attempt is over')
      return
    }
    const channel = new PeerChannel(this.#party.clock, connection, this)
    this.#roles.set(channel, role)
    channel.write(
      encodeHello(this.#party.hello(role, this.#nonce, this.#node), FrameKind.hello, this.#party.lamport.tick()),
    )
  }

  frame(channel: PeerChannel, kind: FrameKind, stamp: number, frame: Buffer): void {
    if (this.#over) return
    this.#party.lamport.observe(stamp)
    if (kind === FrameKind.refusal) {
      const refused = decodeRefusal(frame)
      this.#fail(refused === null ? 'a refusal that cannot be read' : `refused: ${refused.refusal.message}`, true)
      if (refused !== null) this.#party.refusedBy(refused.by, refused.refusal)
      return
    }
    const role = this.#roles.get(channel)
    const hello = kind === FrameKind.welcome ? decodeHello(frame) : null
    if (
      role === undefined ||
      hello === null ||
      hello.node !== this.#node ||
      hello.nonce !== this.#nonce ||
      hello.role !== role ||
      this.#welcomes.has(role)
    ) {
      this.#party.damaged(this.#node, `frame kind ${kind} instead of a welcome`)
      this.#fail('no valid welcome')
      return
    }
    const refusal = this.#party.judge(hello, 'dialer')
    if (refusal !== null) {
      channel.write(encodeRefusal(refusal, this.#party.self, this.#party.lamport.tick()))
      channel.end()
      this.#fail(`this node refuses it: ${refusal.message}`, true)
      this.#party.refused(hello, refusal)
      return
    }
    this.#welcomes.set(role, { hello, channel })
    this.#settle()
  }

  #settle(): void {
    const control = this.#welcomes.get('control')
    const data = this.#welcomes.get('data')
    if (control === undefined || data === undefined) return
    if (control.hello.processIncarnation !== data.hello.processIncarnation) {
      this.#fail('the peer restarted in the middle of the handshake')
      return
    }
    this.#over = true
    this.#deadline.cancel()
    const { lamport } = this.#party
    for (const { hello, channel } of [control, data])
      channel.write(encodeConfirm(hello.challenge ?? '', agreedVersion(hello), lamport.tick()))
    this.#events.done(control.hello, control.channel, data.channel)
  }

  ended(_channel: PeerChannel, reason: string, defect: FrameDefect | null): void {
    if (defect !== null) this.#party.damaged(this.#node, `damaged frame (${defect})`)
    this.#fail(reason)
  }

  #fail(reason: string, refused = false): void {
    if (this.#over) return
    this.abandon()
    this.#events.failed({ reason, refused })
  }

  abandon(): void {
    this.#over = true
    this.#deadline.cancel()
    for (const channel of this.#roles.keys()) channel.destroy()
  }
}

/** Shows this node to whoever listens at `address`, and asks who that is: how a node that knows one address finds the rest. */
export function introduce(
  address: Address,
  timeoutMs: number,
  collaborators: DialCollaborators,
  done: (failure: string | null, hello?: Hello) => void,
): void {
  const { network, party, random } = collaborators
  const nonce = random.bytes(8).toString('hex')
  let over = false
  let channel: PeerChannel | null = null
  const finish = (failure: string | null, hello?: Hello): void => {
    if (over) return
    over = true
    deadline.cancel()
    channel?.destroy()
    done(failure, hello)
  }
  const deadline = party.clock.after(timeoutMs, () => finish(`no answer within ${timeoutMs} ms`))
  network.connect(address, (error, connection) => {
    if (over || error !== null || connection === undefined) {
      connection?.destroy()
      finish(error?.message ?? 'too late')
      return
    }
    channel = new PeerChannel(party.clock, connection, {
      frame: (_channel, kind, stamp, frame) => {
        party.lamport.observe(stamp)
        const refused = kind === FrameKind.refusal ? decodeRefusal(frame) : null
        const hello = kind === FrameKind.welcome ? decodeHello(frame) : null
        if (refused !== null) party.refusedBy(refused.by, refused.refusal)
        if (hello !== null && hello.nonce === nonce) finish(null, hello)
        else finish(refused?.refusal.message ?? 'no valid welcome')
      },
      ended: (_channel, reason) => finish(reason),
    })
    channel.write(encodeHello(party.hello('introduction', nonce, 0), FrameKind.hello, party.lamport.tick()))
  })
}
