/**
 * Connections that end badly, are not read, or bring something else than what was sent (F1, F3, F4, F10, F11). The tap on each
 * connection (`network/taps.ts`) does it; here is when, for how long, and what must come of it:
 *
 *   - a frame with a flipped bit is refused and its connection ends: looked at when all has healed (`Faults`);
 *   - an old session that is played again is believed by nobody, neither by the acceptor nor by the dialler: a violation at the
 *     first frame that answers it;
 *   - lost, repeated and late messages of replication harm nothing; the connections are reset in the end, as a stream that lost
 *     bytes would be.
 */
import { BitFlips, Disorder, MidFrame } from '../network/meddlers.ts'
import { OldAnswers, play, type RecordedSession, SessionRecorder } from '../network/replay.ts'
import type { Target } from '../scenario/scenario.ts'
import { Violation } from '../violation.ts'
import { PEER_PORT } from '../world.ts'
import { CLIENTS, type Family, host, type Injection } from './injection.ts'

export type StreamFault =
  /** `b` 0: the clients. */
  | { readonly kind: 'reset'; readonly atMs: number; readonly a: number; readonly b: number }
  /** Only `a` is told that its connections with `b` are gone. */
  | { readonly kind: 'half-open'; readonly atMs: number; readonly a: number; readonly b: number }
  | { readonly kind: 'reset-in-frame'; readonly atMs: number; readonly from: number; readonly to: number }
  | {
      readonly kind: 'bit-flips'
      readonly atMs: number
      readonly from: number
      readonly to: number
      readonly count: number
    }
  /** `by` 0: the clients leave what the node sends unread. */
  | {
      readonly kind: 'slow-reader'
      readonly atMs: number
      readonly target: Target
      readonly by: number
      readonly forMs: number
    }
  | {
      readonly kind: 'disorder'
      readonly atMs: number
      readonly from: number
      readonly to: number
      readonly losePermille: number
      readonly repeatPermille: number
      readonly latePermille: number
      readonly lateMs: number
      readonly forMs: number
    }
  /**
   * What `from` had said to `to`: the so-manieth of the sessions that are remembered, counted from the youngest. The larger of the
   * two dials; if it is the other one that is repeated, then as an answer to the next attempt.
   */
  | {
      readonly kind: 'replay'
      readonly atMs: number
      readonly from: number
      readonly to: number
      readonly back: number
    }

/** No frame may come for so long that flips are waiting for one. */
const FLIPS_WAIT_MS = 3000
const REPLAY_LASTS_MS = 1500

export const streamFaults: Family<StreamFault['kind']> = {
  reset: {
    draw: ({ atMs, node, prng, nodes }) => ({ kind: 'reset', atMs, a: node(), b: prng.below(nodes + 1) }),
    inject: ({ a, b }, { world }) => {
      const other = b === 0 ? CLIENTS : host(b)
      world.note(a, `connections with ${other} are reset`)
      world.network.reset(host(a), other)
      return true
    },
  },

  'half-open': {
    draw: ({ atMs, node, prng, nodes }) => ({ kind: 'half-open', atMs, a: node(), b: prng.below(nodes + 1) }),
    inject: ({ a, b }, { world }) => {
      const other = b === 0 ? CLIENTS : host(b)
      const machine = world.machine(a)
      const taps = world.taps.of(host(a), other)
      if (taps.length === 0 || machine.gate.paused) return false
      world.note(a, `believes that its connections with ${other} are gone; the other side does not`)
      for (const tap of taps) tap.forget()
      return true
    },
  },

  'reset-in-frame': {
    draw: ({ atMs, node }) => ({ kind: 'reset-in-frame', atMs, from: node(), to: node() }),
    inject: ({ from, to, atMs }, at) => {
      const { world } = at
      if (from === to || world.taps.isMeddledWith(host(from), host(to))) return false
      const meddler: MidFrame = new MidFrame(at.prng(`frame ${atMs}`), (tap) => {
        world.note(from, `a connection with node ${to} ends in the middle of a frame`)
        world.taps.leave(host(from), host(to), meddler)
        // What was sent of it arrives first.
        world.clock.after(20, () => tap.abort())
      })
      world.taps.meddle(host(from), host(to), meddler)
      at.after(FLIPS_WAIT_MS, () => world.taps.leave(host(from), host(to), meddler))
      return true
    },
  },

  'bit-flips': {
    draw: ({ atMs, node, prng }) => ({ kind: 'bit-flips', atMs, from: node(), to: node(), count: 1 + prng.below(4) }),
    inject: ({ from, to, count, atMs }, at) => {
      const { world } = at
      if (from === to || world.taps.isMeddledWith(host(from), host(to))) return false
      const meddler = new BitFlips(count, at.prng(`flips ${atMs}`), () =>
        world.note(from, `a bit of a frame to node ${to} is flipped on its way`),
      )
      world.taps.meddle(host(from), host(to), meddler)
      at.after(FLIPS_WAIT_MS, () => world.taps.leave(host(from), host(to), meddler))
      return true
    },
  },

  'slow-reader': {
    draw: ({ atMs, target, forMs, prng, nodes }) => ({
      kind: 'slow-reader',
      atMs,
      target,
      by: prng.below(2) === 0 ? 0 : 1 + prng.below(nodes),
      forMs,
    }),
    inject: ({ target, by, forMs }, at) => {
      const { id, state } = at.target(target)
      if (state === 'down' || by === id) return false
      const reader = by === 0 ? CLIENTS : host(by)
      at.world.note(id, `what it sends is left unread by ${reader} for ${forMs} ms`)
      at.world.taps.slow(reader, host(id), true)
      at.after(forMs, () => at.world.taps.slow(reader, host(id), false))
      return true
    },
  },

  disorder: {
    draw: ({ atMs, node, prng, forMs }) => ({
      kind: 'disorder',
      atMs,
      from: node(),
      to: node(),
      losePermille: [0, 10, 100, 300][prng.below(4)]!,
      repeatPermille: [0, 50, 300][prng.below(3)]!,
      latePermille: [0, 50, 300][prng.below(3)]!,
      lateMs: [5, 50, 2000][prng.below(3)]!,
      forMs,
    }),
    inject: (fault, at) => {
      const [from, to] = [host(fault.from), host(fault.to)]
      const { world } = at
      if (from === to || world.taps.isMeddledWith(from, to)) return false
      const meddler = new Disorder(fault, at.prng(`disorder ${fault.atMs}`), world.clock)
      world.taps.meddle(from, to, meddler)
      world.note(fault.from, `messages to node ${fault.to} are lost, repeated and late for ${fault.forMs} ms`)
      const end = (): void => {
        const { lost, repeated, late } = meddler.hits
        world.taps.leave(from, to, meddler)
        if (lost + repeated + late === 0) return
        at.count('message-lost', lost)
        at.count('message-repeated', repeated)
        at.count('message-late', late)
        world.note(
          fault.from,
          `of its messages to node ${fault.to} ${lost} were lost, ${repeated} repeated, ${late} late`,
        )
        world.network.reset(from, to)
      }
      at.lasting(fault.forMs, end)
      return true
    },
  },

  replay: {
    draw: ({ atMs, node, prng }) => ({ kind: 'replay', atMs, from: node(), to: node(), back: prng.below(4) }),
    inject: (fault, at) => {
      const { from, to } = fault
      if (from === to || at.world.machine(to).state !== 'up') return false
      return from > to ? replayDialler(fault, at) : replayAcceptor(fault, at)
    },
  },
}

type Replay = Extract<StreamFault, { readonly kind: 'replay' }>

function replayDialler(fault: Replay, at: Injection): boolean {
  const { from, to } = fault
  const { world } = at
  const session = recorded(fault, at)
  if (session === null) return false
  world.note(from, `what it said to node ${to} in an earlier session is said again`)
  const end = play(session, world.network.host(host(from)), { host: host(to), port: PEER_PORT }, () =>
    believed(fault, session, at),
  )
  at.lasting(REPLAY_LASTS_MS, end)
  return true
}

/** The connections are reset: only who dials can be deceived by an answer. */
function replayAcceptor(fault: Replay, at: Injection): boolean {
  const { from, to } = fault
  const { world } = at
  if (world.taps.isMeddledWith(host(to), host(from))) return false
  const leave = (): void => world.taps.leave(host(to), host(from), meddler)
  const meddler: OldAnswers = new OldAnswers(world.clock, () => recorded(fault, at), {
    over: () => {
      world.note(from, `what it said to node ${to} in an earlier session answers a new attempt of that node`)
      at.count('old-answers')
      leave()
    },
    believed: (session) => believed(fault, session, at),
  })
  world.taps.meddle(host(to), host(from), meddler)
  world.network.reset(host(from), host(to))
  at.lasting(REPLAY_LASTS_MS, leave)
  return true
}

function recorded({ from, to, back }: Replay, { world }: Injection): RecordedSession | null {
  const sessions = (world.taps.recorder as SessionRecorder).sessions(host(from), host(to))
  return sessions[Math.max(0, sessions.length - 1 - back)] ?? null
}

function believed({ from, to }: Replay, { incarnation }: RecordedSession, { world }: Injection): void {
  const what = `node ${to} took what process ${incarnation} of node ${from} had said for a new session`
  world.fail(new Violation('old sessions are believed by nobody', what))
}

/** Sessions are taken down from the start of a run that will replay one. */
export function recordSessions({ world }: Injection): void {
  if (world.scenario.faults.some(({ kind }) => kind === 'replay')) world.taps.recorder = new SessionRecorder()
}
