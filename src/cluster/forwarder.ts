/**
 * Any node takes any command; this brings it to the controller, wherever that is, and the answer back.
 *
 *      submit ──► controller known? ──no──► parked ◄──────────────┐ (a new leader, or a moment later)
 *                        │ yes                                    │
 *                        ▼                                        │
 *                here, or over the wire ──► not-controller ───────┤
 *                        │                ─► lost, peer down ─────┘ it may have been done
 *                        ▼ done, index
 *                local metadata applied index ──► answer
 *
 * Every attempt names the same request, by which the controller knows it again (`outcomes.ts`).
 * The last step makes answers and local reads agree: whoever creates a topic through this node finds it on this node.
 * All of it ends at the command's deadline, with an error that says whether the command may still come true.
 */
import type { Clock, Timer } from '../platform/index.ts'
import type { Command, CommandError, CommandReply } from './commands.ts'

export type CommandDone = Extract<CommandReply, { outcome: 'done' }>

/** How requests travel between nodes; the peer mesh is one. */
export interface RequestWire {
  request(
    to: number,
    method: string,
    body: Uint8Array,
    timeoutMs: number,
    done: (error: Error | null, body?: Buffer) => void,
  ): void
}

export interface ForwarderCollaborators {
  readonly self: number
  readonly clock: Clock
  readonly chance: (site: string) => boolean
  readonly wire: RequestWire
  /** The node that leads the metadata shard and can be reached, if one is known. */
  readonly controller: () => number | null
  readonly local: (command: Command, done: (reply: CommandReply) => void) => void
  readonly appliedIndex: () => number
  /** How many outcomes the local metadata have seen. */
  readonly outcomesSeen: () => number
}

/** After an answer that proves what was known of the controller wrong, and no better news yet. */
const RETRY_MS = 30

/** `since`: see `OnceOnly`. `remainingMs`: until nobody waits for the answer any more. */
export type CommandBuilder = (since: number, remainingMs: number) => Command

const FORGOTTEN: CommandError = {
  code: 'TIMED_OUT',
  message: 'the answer was lost on its way, and too much was done since to tell what it was; it may be done',
}

/** "Done" promises that this node shows it (as in Kafka, whose brokers wait for the same). */
const BEHIND: CommandError = {
  code: 'TIMED_OUT',
  message: 'the controller has decided, and this node has not heard of it in time: ask again, or another node',
}

interface Errand {
  readonly build: CommandBuilder
  readonly done: (error: CommandError | null, reply: CommandDone | null) => void
  readonly deadline: number
  since: number
  /** An attempt may have been carried out. */
  doubtful: boolean
  state: 'parked' | 'under-way' | 'applying' | 'over'
  reply: CommandDone | null
  timer: Timer | null
}

export class Forwarder {
  readonly #with: ForwarderCollaborators
  readonly #errands = new Set<Errand>()
  #retry: Timer | null = null

  constructor(collaborators: ForwarderCollaborators) {
    this.#with = collaborators
  }

  submit(
    build: CommandBuilder,
    timeoutMs: number,
    done: (error: CommandError | null, reply: CommandDone | null) => void,
  ): void {
    const deadline = this.#with.clock.now() + timeoutMs
    const since = this.#with.outcomesSeen()
    const errand: Errand = { build, done, deadline, since, doubtful: false, state: 'parked', reply: null, timer: null }
    errand.timer = this.#with.clock.after(timeoutMs, () => this.#expire(errand))
    this.#errands.add(errand)
    this.#attempt(errand)
  }

  /** The controller, or what is known of it, changed. */
  controllerChanged(): void {
    for (const errand of [...this.#errands]) if (errand.state === 'parked') this.#attempt(errand)
  }

  /** The local metadata moved on. */
  applied(): void {
    const index = this.#with.appliedIndex()
    for (const errand of [...this.#errands]) {
      if (errand.state === 'applying' && errand.reply!.index <= index) this.#finish(errand, null, errand.reply)
    }
  }

  stop(): void {
    this.#retry?.cancel()
    for (const errand of [...this.#errands]) this.#expire(errand)
  }

  #attempt(errand: Errand): void {
    const controller = this.#with.controller()
    if (controller === null) return
    errand.state = 'under-way'
    if (this.#with.chance('cluster/forward-late')) return this.#replied(errand, { outcome: 'not-controller' })
    const remainingMs = Math.max(1, Math.ceil(errand.deadline - this.#with.clock.now()))
    const command = errand.build(errand.since, remainingMs)
    if (controller === this.#with.self) {
      this.#with.local(command, (reply) => this.#replied(errand, reply))
      return
    }
    const body = Buffer.from(JSON.stringify(command))
    this.#with.wire.request(controller, command.type, body, remainingMs, (error, answer) => {
      const lost = error !== null || this.#with.chance('cluster/reply-lost')
      this.#replied(errand, lost ? { outcome: 'lost' } : parseReply(answer!))
    })
  }

  #replied(errand: Errand, reply: CommandReply): void {
    if (errand.state !== 'under-way') return
    if (reply.outcome === 'done') {
      if (reply.index <= this.#with.appliedIndex()) {
        this.#finish(errand, null, reply)
        return
      }
      errand.state = 'applying'
      errand.reply = reply
      return
    }
    if (reply.outcome === 'lost') errand.doubtful = true
    else if (reply.outcome === 'forgotten') {
      if (errand.doubtful) return this.#finish(errand, FORGOTTEN, null)
      // Nothing was done so far, so it may be as if asked only now.
      errand.since = reply.since
    }
    errand.state = 'parked'
    this.#retry ??= this.#with.clock.after(RETRY_MS, () => {
      this.#retry = null
      this.controllerChanged()
    })
  }

  #expire(errand: Errand): void {
    if (errand.state === 'applying') this.#finish(errand, BEHIND, null)
    else if (errand.state === 'under-way' || errand.doubtful) {
      this.#finish(
        errand,
        { code: 'TIMED_OUT', message: 'the controller did not answer in time; it may still be done' },
        null,
      )
    } else {
      this.#finish(errand, { code: 'NO_CONTROLLER', message: 'no node leads the metadata: nothing was done' }, null)
    }
  }

  #finish(errand: Errand, error: CommandError | null, reply: CommandDone | null): void {
    if (errand.state === 'over') return
    errand.state = 'over'
    errand.timer?.cancel()
    this.#errands.delete(errand)
    errand.done(error, reply)
  }
}

/** A reply that cannot be read is no proof of anything, so it counts as lost. */
function parseReply(body: Buffer): CommandReply {
  try {
    const reply = JSON.parse(body.toString()) as CommandReply
    if (reply.outcome === 'not-controller') return reply
    if (reply.outcome === 'forgotten' && Number.isSafeInteger(reply.since)) return reply
    if (reply.outcome === 'done' && Number.isSafeInteger(reply.index) && Array.isArray(reply.results)) return reply
  } catch {
    // Falls through: not JSON.
  }
  return { outcome: 'lost' }
}
