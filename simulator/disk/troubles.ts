/**
 * What ails the disk of one machine, and with which words a node on it may give up.
 *
 * A node that stops is safe only if it stops for the right reason. So each fault that touches a disk is on record here while it can
 * be felt, with the codes of the errors that it excuses; a node that stops or refuses to start with any other error, or with one
 * that names no file, has a defect, whatever its disk suffers from at the moment.
 *
 *     node ── call ──► MemoryDisk ──asks──► DiskTroubles ──► ailment, ailment, …      the first that answers decides
 *     node stops ── error ──► allows(error)?                 one of them excuses it, or it is a violation
 *
 * Ailments are of the machine, not of a process: they stay through crashes, until they end. Damage never ends.
 */
import type { DiskCall, DiskCondition, DiskTrouble } from '../../src/platform/memory/index.ts'
import { TypedError } from '../../src/stdx/index.ts'

export type Outcome = 'stopped' | 'refused'

export interface AilmentOptions {
  /** The kind of fault, for the tally. */
  readonly fault: string
  /** Codes of errors that it excuses. */
  readonly codes: ReadonlySet<string>
  /** What it does to calls, if anything. */
  readonly troubleWith?: (call: DiskCall) => DiskTrouble | null
  /** What is on the disk is not what was written. `curable`: its node gets it back; `lost`: the machine is never again what it was. */
  readonly damage?: 'curable' | 'lost'
  /** Syncs say yes and are not done: as long as that is so, its machine must not lose power. */
  readonly lies?: boolean
  /** What follows when the node has stopped because of it. */
  readonly afterStop?: { readonly power: boolean; readonly downMs: number }
}

export interface Ailment extends AilmentOptions {
  readonly outcomes: Map<Outcome, number>
}

export class DiskTroubles implements DiskCondition {
  /** In the order in which they began. */
  #ailments: Ailment[] = []
  /** Ended, but what they did may still come to light in the process that felt them. */
  #recent: Ailment[] = []
  #armed = true
  readonly #directory: string
  /** A node on this machine has given up, excused by this. */
  onStopped: (because: Ailment) => void = () => {}

  constructor(directory: string) {
    this.#directory = directory
  }

  begin(options: AilmentOptions): Ailment {
    const ailment: Ailment = { ...options, outcomes: new Map() }
    this.#ailments.push(ailment)
    return ailment
  }

  end(ailment: Ailment): void {
    if (!this.#ailments.includes(ailment)) return
    this.#ailments = this.#ailments.filter((other) => other !== ailment)
    this.#recent.push(ailment)
  }

  /** A new process felt nothing of what is over. */
  started(): void {
    this.#recent = []
  }

  get isDamaged(): boolean {
    return this.#ailments.some(({ damage }) => damage !== undefined)
  }

  get isLost(): boolean {
    return this.#ailments.some(({ damage }) => damage === 'lost')
  }

  /** What was to be done to calls and has not been done yet is not done any more. */
  disarm(): void {
    this.#armed = false
  }

  get mayLosePower(): boolean {
    return !this.#ailments.some(({ lies }) => lies === true)
  }

  troubleWith(call: DiskCall): DiskTrouble | null {
    for (const ailment of this.#ailments) {
      if (ailment.damage !== undefined && !this.#armed) continue
      const trouble = ailment.troubleWith?.(call) ?? null
      if (trouble !== null) return trouble
    }
    return null
  }

  /** Which ailment excuses that a node gives up with this error; null: none does. */
  excuse(error: Error, outcome: Outcome): Ailment | null {
    const reason = reasonOf(error)
    if (reason === null || !namesAPlace(reason, this.#directory)) return null
    const excusing = [...this.#ailments, ...this.#recent].filter(({ codes }) => codes.has(reason.code))
    const ailment = excusing.find(({ outcomes }) => outcomes.size === 0) ?? excusing[0] ?? null
    ailment?.outcomes.set(outcome, (ailment.outcomes.get(outcome) ?? 0) + 1)
    return ailment
  }
}

/** What lies at the bottom of it: a node that stops to protect its data says so, and why in the cause. */
export function reasonOf(error: Error): Reason | null {
  let reason = error
  while (isTyped(reason) && WRAPPERS.has(reason.code) && reason.cause instanceof Error) reason = reason.cause
  return isTyped(reason) ? reason : null
}

type Reason = Error & { readonly code: string }

const isTyped = (error: Error): error is Reason => error instanceof TypedError

const WRAPPERS = new Set(['STOPPED_TO_PROTECT_DATA', 'START_FAILED'])

/** Where a shard's entries do not fit together, or what others refuse, has no place in a file. */
const PLACELESS = new Set(['LOG_BROKEN', 'BELOW_LOG_START', 'OFFSET_BELOW_LOG_START', 'REFUSED_BY_CLUSTER'])

function namesAPlace(reason: Reason, directory: string): boolean {
  return PLACELESS.has(reason.code) || reason.message.includes(`${directory}/`)
}
