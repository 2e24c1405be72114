/**
 * What a node does for its disk while nobody asks for anything: it reads through its files at a pace that nobody notices, and has
 * what turns out to be damaged repaired by its peers.
 */
import type { LogRepair } from './cluster/index.ts'
import type { FilesStatus } from './gateways/http/index.ts'
import type { Clock, Random, Timer } from './platform/index.ts'
import type { Caretaker } from './storage/index.ts'

export interface CareOptions {
  /** Between the end of one pass and the beginning of the next; the first begins after a random part of it. */
  readonly scrubPauseMs: number
}

export const CARE_DEFAULTS: CareOptions = { scrubPauseMs: 600_000 }

/** Between two steps at least, so that passing over many small files is no load either. */
const STEP_PAUSE_MS = 5

export class NodeCare {
  readonly #options: CareOptions & { readonly scrubBytesPerSecond: number }
  readonly #clock: Clock
  readonly #caretaker: Caretaker
  readonly #repair: LogRepair
  #timer: Timer | null = null
  #stopped = false
  #bytes = 0
  #passes = 0
  /** Files that were written again from what this node knew of them. */
  readonly #rewritten: () => number

  constructor(
    options: CareOptions & { readonly scrubBytesPerSecond: number },
    collaborators: {
      clock: Clock
      random: Random
      caretaker: Caretaker
      repair: LogRepair
      rewritten: () => number
    },
  ) {
    this.#options = options
    this.#clock = collaborators.clock
    this.#caretaker = collaborators.caretaker
    this.#repair = collaborators.repair
    this.#rewritten = collaborators.rewritten
    if (options.scrubBytesPerSecond > 0) this.#after(collaborators.random.below(Math.max(1, options.scrubPauseMs)))
  }

  get status(): FilesStatus {
    const { found, repaired, damages } = this.#repair
    const { scrubBytesPerSecond: bytesPerSecond } = this.#options
    const scrub = { bytesPerSecond, bytes: this.#bytes, passes: this.#passes }
    return { found, repaired, rewritten: this.#rewritten(), damages, scrub }
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#repair.stop()
  }

  #after(pauseMs: number): void {
    this.#timer = this.#clock.after(pauseMs, () => this.#step())
  }

  #step(): void {
    this.#caretaker.scrubber.step((bytes, passDone) => {
      if (this.#stopped) return
      this.#bytes += bytes
      if (passDone) this.#passes++
      const { scrubBytesPerSecond, scrubPauseMs } = this.#options
      this.#after(passDone ? scrubPauseMs : Math.max(STEP_PAUSE_MS, (bytes / scrubBytesPerSecond) * 1000))
    })
  }
}
