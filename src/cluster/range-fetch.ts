/**
 * One range of a log on its way from whoever has it, a piece at a time.
 *
 *     sources 2, 3, itself ─► ask the first ─► it has what comes next ─► taken ─► it goes on, and all are sources again
 *                                    ▲      ├─ it has not, or does not answer ─► the next source
 *                                    └──────┘
 *                                           └─ what it sent does not fit ─► over: from the beginning, without it
 *
 * Where every replica is damaged, each at another place, every entry is still whole on most of them: so whoever lacked one is asked for
 * the next. The last source is this node's own file, which is whole before the damage and behind it; it is asked when all others have
 * said that they have nothing.
 */
import type { NodeId } from '../replication/index.ts'
import { type SegmentRepair, StorageError } from '../storage/index.ts'
import { entriesIn } from './entry-pieces.ts'

/** `skip` bytes of the next entry are there already. No bytes: it has not that entry. */
export type AskSource = (
  source: NodeId,
  repair: SegmentRepair,
  skip: number,
  done: (error: Error | null, bytes?: Buffer) => void,
) => void

/** `refused`: by a check of what it sent, or by this node's disk. */
export type FetchOutcome = 'complete' | 'nobody-has-it' | 'refused'

export type FetchDone = (outcome: FetchOutcome, fetch: RangeFetch) => void

export class RangeFetch {
  readonly repair: SegmentRepair
  /** Why it is not complete. */
  reason = 'no other replica answers'
  /** Somebody did not say what he has, or this disk did not take it: that nobody has it is not known. */
  unheard = false
  /** Who sent what was refused. */
  refused: NodeId | null = null
  readonly #self: NodeId
  readonly #others: readonly NodeId[]
  readonly #ask: AskSource
  readonly #done: FetchDone
  /** Still to be asked for what comes next. */
  #sources: readonly NodeId[]
  #carry: Buffer = Buffer.alloc(0)

  constructor(repair: SegmentRepair, self: NodeId, others: readonly NodeId[], ask: AskSource, done: FetchDone) {
    this.repair = repair
    this.#self = self
    this.#others = others
    this.#ask = ask
    this.#done = done
    this.#sources = this.#all
  }

  /** Goes on, until it is over. Not again before that. */
  next(): void {
    const [source] = this.#sources
    // A node's own file says nothing of what those have who did not answer, and without them it is damaged as before.
    if (source === undefined || (source === this.#self && this.unheard)) return this.#done('nobody-has-it', this)
    this.#ask(source, this.repair, this.#carry.length, (error, bytes) => {
      if (error !== null) {
        this.unheard = true
        this.#pass(error.message)
      } else if (bytes === undefined || bytes.length === 0)
        this.#pass(`node ${source} has no entry ${this.repair.nextIndex}`)
      else this.#take(source, this.#carry.length === 0 ? bytes : Buffer.concat([this.#carry, bytes]))
    })
  }

  get #all(): readonly NodeId[] {
    return this.#others.length === 0 ? [] : [...this.#others, this.#self]
  }

  #pass(reason: string): void {
    // What it would have been asked last says nothing that the others have not said.
    if (this.#sources[0] !== this.#self) this.reason = reason
    this.#sources = this.#sources.slice(1)
    this.#carry = Buffer.alloc(0)
    this.next()
  }

  #take(source: NodeId, bytes: Buffer): void {
    const { entries, rest, defect } = entriesIn(bytes)
    if (defect !== null) return this.#pass(`node ${source} sent what is no entry (${defect})`)
    this.repair.add(entries, (failure) => {
      if (failure !== null) {
        // What this disk does not take says nothing of what the others have.
        if (!(failure instanceof StorageError && failure.code === 'REPAIR_REFUSED')) this.unheard = true
        this.reason = `${failure.message} (from node ${source})`
        this.refused = source
        return this.#done('refused', this)
      }
      this.#carry = rest
      if (entries.length > 0) this.#sources = [source, ...this.#all.filter((other) => other !== source)]
      if (this.repair.complete) this.#done('complete', this)
      else this.next()
    })
  }
}
