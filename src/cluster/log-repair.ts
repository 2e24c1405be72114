/**
 * Fetches from other replicas what is damaged in this node's shard logs, and gives others what is damaged in theirs.
 *
 *     damage ─► a range whose end is known ─► ask a peer, a piece at a time ─► verify ─► a new file ─► in the old one's place
 *                        ▲                         │ it has nothing, or something else
 *                        └── later ◄── all asked ──┘ the next peer
 *
 * What compaction has left is no range of entries: it is fetched as a whole (part-fetch.ts), and so is what no other replica has as it
 * was committed any more, because compaction has gone over it there.
 *
 * One range at a time, for repairs are rare and the pieces large. What a peer sends is believed because it fits between what this
 * node knows itself (storage/segment-repair.ts), so any replica will do, leader or not. A peer that does not fit may be the damaged
 * one, or we hold the wrong end: everybody is asked before it is given up for the time being. It is never given up for good: a
 * replica that has the range may come back.
 */
import type { Clock, Timer } from '../platform/index.ts'
import type { NodeId, ShardId } from '../replication/index.ts'
import {
  type Caretaker,
  ENTRY_BYTES_MAX,
  type Entry,
  type LogDamage,
  type LogStart,
  readU64,
  type SegmentRepair,
  StorageError,
  writeU64,
} from '../storage/index.ts'
import { entriesIn, PIECE_BYTES } from './entry-pieces.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import type { PartFetch, PartQuestion } from './part-fetch.ts'
import type { Asking, RequestDone } from './peer-requests.ts'

const METHOD = 'log-entries'
const REQUEST_BYTES = 32
const ASK_TIMEOUT_MS = 5000
const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 30_000
/** Cut off, or damaged here as well: it is known by now, and being repaired, from whoever has it. */
const LOST: ReadonlySet<string> = new Set(['BELOW_LOG_START', 'SHARD_LOG_DAMAGED', 'SHARD_LOG_MISSING'])

export type EntriesDone = (error: Error | null, entries: readonly Entry[] | null) => void

export interface LogRepairCollaborators {
  readonly self: NodeId
  readonly clock: Clock
  readonly caretaker: Caretaker
  readonly mesh: Asking
  /** Committed entries of this node's log from `index` on; none when it starts above; null when it does not reach up to there. */
  readonly read: (shard: ShardId, index: number, maxBytes: number, done: EntriesDone) => void
  readonly parts: PartFetch
  /** Who has a replica of the shard, whoever is likely to answer first. */
  readonly replicasOf: (shard: ShardId) => readonly NodeId[]
  /** All others say that they have not what is damaged: where the shard's state says as much, its log is to start where that stands. */
  readonly startAtState: (shard: ShardId) => void
  /** The shard's log can be read again where it could not. */
  readonly repaired: (shard: ShardId) => void
  readonly trace: (event: ClusterEvent) => void
}

/** Damage that is known of and not repaired yet, and why, if it was tried. */
export interface OpenDamage extends LogDamage {
  readonly unrepaired: string | null
}

export class LogRepair {
  readonly #the: LogRepairCollaborators
  readonly #due = new Set<ShardId>()
  /** Why the last attempt for a shard has failed. */
  readonly #failures = new Map<ShardId, string>()
  #busy = false
  #stopped = false
  /** Of the repair that is under way: a replica did not say what it has. */
  #unheard = false
  #retry: Timer | null = null
  #retryMs = RETRY_MIN_MS
  /** Ranges, since the start of this node. */
  found = 0
  repaired = 0

  constructor(collaborators: LogRepairCollaborators) {
    this.#the = collaborators
    collaborators.mesh.handle(METHOD, (_from, body, reply) => this.#give(body, reply))
    collaborators.caretaker.onDamage = (shard) => {
      this.found++
      this.#retryMs = RETRY_MIN_MS
      this.#due.add(shard)
      this.#next()
    }
  }

  get damages(): readonly OpenDamage[] {
    return this.#the.caretaker.damages.map((damage) => ({
      ...damage,
      unrepaired: this.#failures.get(damage.shard) ?? null,
    }))
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
  }

  #next(): void {
    if (this.#busy || this.#stopped) return
    const [shard] = this.#due
    if (shard === undefined) return this.#tryAgainLater()
    this.#due.delete(shard)
    this.#busy = true
    this.#unheard = false
    const part = this.#the.caretaker.lostPart(shard)
    if (part !== null) return this.#fetchPart(part, (reason) => this.#failed(shard, reason))
    this.#the.caretaker.beginRepair(shard, (repair) => {
      if (this.#stopped) return
      const waits = 'what it ends with is not known, or what has come in its place waits for a checkpoint'
      if (repair === null) this.#over(shard, this.#isDamaged(shard) ? waits : null)
      else this.#fetch(repair, this.#peers(shard))
    })
  }

  #peers(shard: ShardId): NodeId[] {
    return this.#the.replicasOf(shard).filter((node) => node !== this.#the.self)
  }

  #isDamaged(shard: ShardId): boolean {
    return this.#the.caretaker.damages.some((damage) => damage.shard === shard)
  }

  #tryAgainLater(): void {
    if (this.#failures.size === 0 || this.#retry !== null) return
    this.#retry = this.#the.clock.after(this.#retryMs, () => {
      this.#retry = null
      for (const shard of this.#failures.keys()) this.#due.add(shard)
      this.#next()
    })
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS)
  }

  /** `failure`: why it is not repaired; null: it is, or need not be. */
  #over(shard: ShardId, failure: string | null): void {
    this.#busy = false
    if (failure === null) this.#failures.delete(shard)
    else this.#failures.set(shard, failure)
    this.#next()
  }

  /** Nobody has these entries; somebody may have what compaction has left of them. */
  #giveUp(repair: SegmentRepair, reason: string): void {
    const { shard, firstIndex, lastIndex } = repair.range
    const { caretaker } = this.#the
    repair.discard(() => {
      if (this.#stopped) return
      const mayBe = (floor: LogStart): boolean => caretaker.mayReplace(shard, firstIndex, floor)
      const question = { shard, floor: null, startOffset: caretaker.startOffset(shard), mayBe }
      this.#fetchPart(question, () => this.#failed(shard, `entries ${firstIndex} to ${lastIndex}: ${reason}`))
    })
  }

  #fetchPart(question: PartQuestion, failed: (reason: string) => void): void {
    const { shard } = question
    this.#the.parts.fetch(question, (reason, part, floor) => {
      if (this.#stopped) return
      if (part === undefined) return failed(reason!)
      this.#the.caretaker.adoptPart(shard, part, floor!)
      this.repaired++
      this.#the.repaired(shard)
      // Until a checkpoint names it; and there may be more.
      this.#over(shard, this.#isDamaged(shard) ? 'what has come in its place waits for a checkpoint' : null)
    })
  }

  #failed(shard: ShardId, failure: string): void {
    const file = this.#the.caretaker.damages.find((damage) => damage.shard === shard)?.file
    if (this.#failures.get(shard) !== failure && file !== undefined)
      this.#the.trace({ type: 'log-unrepaired', shard, file, reason: failure })
    if (!this.#unheard) this.#the.startAtState(shard)
    // Where the log was cut, here or everywhere, this node's files may only not know yet.
    this.#the.caretaker.checkpoint()
    this.#over(shard, file === undefined ? null : failure)
  }

  /** The first of `peers` is asked, and the others when it has nothing. */
  #fetch(
    repair: SegmentRepair,
    peers: readonly NodeId[],
    reason = 'no other replica answers',
    carry: Buffer = Buffer.alloc(0),
  ): void {
    const [peer, ...others] = peers
    if (peer === undefined) return this.#giveUp(repair, reason)
    const { shard } = repair.range
    const body = encodeRequest(shard, repair.nextIndex, repair.lastIndex, carry.length)
    this.#the.mesh.request(peer, METHOD, body, ASK_TIMEOUT_MS, (error, answer) => {
      if (this.#stopped) return
      if (error !== null) {
        this.#unheard = true
        return this.#fetch(repair, others, error.message)
      }
      if (answer === undefined || answer.length === 0)
        return this.#fetch(repair, others, `node ${peer} has no entry ${repair.nextIndex}`)
      const bytes = carry.length === 0 ? answer : Buffer.concat([carry, answer])
      const { entries, rest, defect } = entriesIn(bytes)
      if (defect !== null) return this.#fetch(repair, others, `node ${peer} sent what is no entry (${defect})`)
      repair.add(entries, (failure) => {
        if (this.#stopped) return
        if (failure !== null) {
          // What this disk does not take says nothing of what the others have.
          if (!(failure instanceof StorageError && failure.code === 'REPAIR_REFUSED')) this.#unheard = true
          this.#startAnew(repair, others, `${failure.message} (from node ${peer})`)
        } else if (repair.complete) this.#complete(repair, peers)
        else this.#fetch(repair, peers, reason, rest)
      })
    })
  }

  /** What was taken from this peer before may be as wrong as what was refused: only the end tells. */
  #startAnew(repair: SegmentRepair, others: readonly NodeId[], reason: string): void {
    const { shard } = repair.range
    if (others.length === 0) return this.#giveUp(repair, reason)
    repair.discard(() => {
      if (this.#stopped) return
      this.#the.caretaker.beginRepair(shard, (next) => {
        if (this.#stopped) return
        if (next === null) this.#over(shard, this.#isDamaged(shard) ? reason : null)
        else this.#fetch(next, others, reason)
      })
    })
  }

  #complete(repair: SegmentRepair, peers: readonly NodeId[]): void {
    const { shard } = repair.range
    this.#the.caretaker.completeRepair(repair, (error, outcome) => {
      if (this.#stopped) return
      if (error !== null) {
        this.#unheard = true
        return this.#giveUp(repair, error.message)
      }
      if (outcome === 'more') return this.#fetch(repair, peers)
      if (outcome === 'done') {
        this.repaired++
        this.#the.repaired(shard)
      }
      // There may be more of it.
      if (this.#isDamaged(shard)) this.#due.add(shard)
      this.#over(shard, null)
    })
  }

  #give(body: Buffer, reply: RequestDone): void {
    const wanted = decodeRequest(body)
    if (wanted === null) {
      const details = { code: 'BAD_RESPONSE', node: this.#the.self, method: METHOD } as const
      return reply(new ClusterError(details, `a request for entries that cannot be read`))
    }
    const { shard, from, through, skip } = wanted
    this.#the.read(shard, from, skip + PIECE_BYTES, (error, entries) => {
      // Nothing is said only by who has it no more: where all say so, whoever asks may give up what it lacks for good.
      const lost = error instanceof StorageError && LOST.has(error.code)
      if (!lost && (error !== null || entries === null)) return reply(this.#notKnown(shard, from, error))
      if (entries?.[0]?.index !== from) return reply(null, Buffer.alloc(0))
      const bytes = Buffer.concat(entries.filter(({ index }) => index <= through).map((entry) => entry.bytes))
      reply(null, bytes.subarray(skip, skip + PIECE_BYTES))
    })
  }

  #notKnown(shard: ShardId, index: number, error: Error | null): ClusterError {
    const node = this.#the.self
    const why = error?.message ?? 'its replica does not reach up to there yet'
    const what = `node ${node} cannot say whether it has entry ${index} of shard ${shard}`
    return new ClusterError({ code: 'ENTRY_NOT_KNOWN', node, shard, index }, `${what}: ${why}`)
  }
}

/** u32 shard, u64 from, u64 through, u64 bytes from the beginning of `from` that are there already. */
function encodeRequest(shard: ShardId, from: number, through: number, skip: number): Buffer {
  const body = Buffer.alloc(REQUEST_BYTES)
  body.writeUInt32LE(shard, 0)
  writeU64(body, from, 8)
  writeU64(body, through, 16)
  writeU64(body, skip, 24)
  return body
}

function decodeRequest(body: Buffer): { shard: ShardId; from: number; through: number; skip: number } | null {
  if (body.length !== REQUEST_BYTES) return null
  const [from, through, skip] = [readU64(body, 8), readU64(body, 16), readU64(body, 24)]
  if (from < 1 || through < from || skip < 0 || skip > ENTRY_BYTES_MAX) return null
  return { shard: body.readUInt32LE(0), from, through, skip }
}
