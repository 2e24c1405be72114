/**
 * Fetches from other replicas what is damaged in this node's shard logs, and gives others what is damaged in theirs.
 *
 *     damage ─► a range whose end is known ─► fetched (range-fetch.ts) and verified ─► a new file ─► in the old one's place
 *                        ▲                              │ nobody has it
 *                        └── later ◄── all tried ◄──────┴──► the shard's next damaged file
 *
 * What compaction has left is no range of entries: it is fetched as a whole (part-fetch.ts), and so is what no other replica has as it
 * was committed any more, because compaction has gone over it there.
 *
 * One range at a time, the shards in turn, for repairs are rare and the pieces large. What a peer sends is believed because it fits
 * between what this node knows itself (storage/segment-repair.ts), so any replica will do, leader or not. A peer that does not fit may
 * be the damaged one, or we hold the wrong end: everybody is asked before it is given up for the time being. It is never given up for
 * good: a replica that has the range may come back.
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
import { PIECE_BYTES } from './entry-pieces.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import type { PartFetch, PartQuestion } from './part-fetch.ts'
import type { Asking, RequestDone } from './peer-requests.ts'
import { type AskSource, RangeFetch } from './range-fetch.ts'

const METHOD = 'log-entries'
const REQUEST_BYTES = 32
const ASK_TIMEOUT_MS = 5000
const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 30_000
const WAITS = 'what it ends with is not known, or what has come in its place waits for a checkpoint'
const NOBODY: ReadonlySet<NodeId> = new Set()
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

/** One go at everything that is damaged in a shard's log: each file once, so that one that nobody has keeps none of the others waiting. */
interface Round {
  readonly shard: ShardId
  /** Files. */
  readonly tried: Set<string>
  /** Some of them in vain. */
  failed: boolean
  /** A replica did not say what it has. */
  unheard: boolean
}

interface Failure {
  readonly shard: ShardId
  readonly reason: string
}

export class LogRepair {
  readonly #the: LogRepairCollaborators
  readonly #due = new Set<ShardId>()
  /** Begun, and not over. */
  readonly #rounds = new Map<ShardId, Round>()
  /** Why the last attempt has failed, by the damaged file. */
  readonly #failures = new Map<string, Failure>()
  #busy = false
  #stopped = false
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
      unrepaired: this.#failures.get(damage.file)?.reason ?? null,
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
    const round = this.#rounds.get(shard) ?? { shard, tried: new Set(), failed: false, unheard: false }
    this.#rounds.set(shard, round)
    const { caretaker } = this.#the
    const part = caretaker.lostPart(shard)
    if (part === null || round.tried.has(part.file)) this.#beginRange(round, NOBODY)
    else
      this.#fetchPart(round, part.file, part, (reason) => {
        this.#failed(round, part.file, reason)
      })
  }

  /** Without asking those in `without` for the range of `file`. */
  #beginRange(round: Round, without: ReadonlySet<NodeId>, file?: string): void {
    this.#the.caretaker.beginRepair(round.shard, round.tried, (repair) => {
      if (this.#stopped) return
      if (repair === null) this.#over(round)
      else this.#fetchRange(round, repair, repair.range.file === file ? without : NOBODY)
    })
  }

  #damagesOf(shard: ShardId): readonly LogDamage[] {
    return this.#the.caretaker.damages.filter((damage) => damage.shard === shard)
  }

  #tryAgainLater(): void {
    if (this.#failures.size === 0 || this.#retry !== null) return
    this.#retry = this.#the.clock.after(this.#retryMs, () => {
      this.#retry = null
      for (const { shard } of this.#failures.values()) this.#due.add(shard)
      this.#next()
    })
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS)
  }

  /** The round goes on after those of other shards. */
  #turn({ shard }: Round): void {
    this.#busy = false
    this.#due.add(shard)
    this.#next()
  }

  #failed(round: Round, file: string, reason: string): void {
    const { shard } = round
    round.tried.add(file)
    round.failed = true
    if (this.#failures.get(file)?.reason !== reason) this.#the.trace({ type: 'log-unrepaired', shard, file, reason })
    this.#failures.set(file, { shard, reason })
    this.#turn(round)
  }

  #over({ shard, failed, unheard }: Round): void {
    this.#rounds.delete(shard)
    if (failed) {
      if (!unheard) this.#the.startAtState(shard)
      // Where the log was cut, here or everywhere, this node's files may only not know yet.
      this.#the.caretaker.checkpoint()
    }
    const left = this.#damagesOf(shard)
    const damaged = new Set(left.map(({ file }) => file))
    for (const [file, failure] of this.#failures)
      if (failure.shard === shard && !damaged.has(file)) this.#failures.delete(file)
    for (const file of damaged) if (!this.#failures.has(file)) this.#failures.set(file, { shard, reason: WAITS })
    if (left.length === 0) this.#the.repaired(shard)
    this.#busy = false
    this.#next()
  }

  #fetchRange(round: Round, repair: SegmentRepair, without: ReadonlySet<NodeId>): void {
    const { self, replicasOf } = this.#the
    const others = replicasOf(round.shard).filter((node) => node !== self && !without.has(node))
    const ask: AskSource = (source, of, skip, done) => this.#ask(source, of, skip, done)
    const fetch = new RangeFetch(repair, self, others, ask, (outcome) => {
      if (this.#stopped) return
      round.unheard ||= fetch.unheard
      if (outcome === 'complete') this.#complete(round, fetch)
      // What was taken from others before may be as wrong as what was refused: only the end tells.
      else if (outcome === 'refused' && fetch.refused !== self && others.length > 1)
        repair.discard(() => {
          if (!this.#stopped) this.#beginRange(round, new Set([...without, fetch.refused!]), repair.range.file)
        })
      else this.#giveUp(round, repair, fetch.reason)
    })
    fetch.next()
  }

  #ask(source: NodeId, { range, nextIndex, lastIndex }: SegmentRepair, skip: number, done: RequestDone): void {
    const { self, mesh, caretaker } = this.#the
    const { shard } = range
    const heard: RequestDone = (error, bytes) => (this.#stopped ? undefined : done(error, bytes))
    if (source !== self)
      return mesh.request(source, METHOD, encodeRequest(shard, nextIndex, lastIndex, skip), ASK_TIMEOUT_MS, heard)
    caretaker.readOwn(shard, nextIndex, skip + PIECE_BYTES, (entries) =>
      heard(null, pieceOf(entries, nextIndex, lastIndex, skip)),
    )
  }

  #complete(round: Round, fetch: RangeFetch): void {
    const { repair } = fetch
    this.#the.caretaker.completeRepair(repair, (error, outcome) => {
      if (this.#stopped) return
      if (error !== null) {
        round.unheard = true
        return this.#giveUp(round, repair, error.message)
      }
      if (outcome === 'more') return fetch.next()
      if (outcome === 'done') {
        this.repaired++
        this.#the.repaired(round.shard)
      }
      this.#turn(round)
    })
  }

  /** Nobody has these entries; somebody may have what compaction has left of them. */
  #giveUp(round: Round, repair: SegmentRepair, reason: string): void {
    const { shard, firstIndex, lastIndex, file } = repair.range
    const { caretaker } = this.#the
    repair.discard(() => {
      if (this.#stopped) return
      const mayBe = (floor: LogStart): boolean => caretaker.mayReplace(shard, firstIndex, floor)
      const question = { shard, floor: null, startOffset: caretaker.startOffset(shard), mayBe }
      this.#fetchPart(round, file, question, () =>
        this.#failed(round, file, `entries ${firstIndex} to ${lastIndex}: ${reason}`),
      )
    })
  }

  #fetchPart(round: Round, file: string, question: PartQuestion, failed: (reason: string) => void): void {
    const { shard } = round
    this.#the.parts.fetch(question, (reason, part, floor) => {
      if (this.#stopped) return
      if (part === undefined) return failed(reason!)
      this.#the.caretaker.adoptPart(shard, part, floor!)
      this.repaired++
      this.#the.repaired(shard)
      // Until a checkpoint names it.
      round.tried.add(file)
      this.#failures.delete(file)
      this.#turn(round)
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
      reply(null, pieceOf(entries ?? [], from, through, skip))
    })
  }

  #notKnown(shard: ShardId, index: number, error: Error | null): ClusterError {
    const node = this.#the.self
    const why = error?.message ?? 'its replica does not reach up to there yet'
    const what = `node ${node} cannot say whether it has entry ${index} of shard ${shard}`
    return new ClusterError({ code: 'ENTRY_NOT_KNOWN', node, shard, index }, `${what}: ${why}`)
  }
}

/** Of the bytes of entries `from` to `through`; none where there is no `from`. */
function pieceOf(entries: readonly Entry[], from: number, through: number, skip: number): Buffer {
  if (entries[0]?.index !== from) return Buffer.alloc(0)
  const bytes = Buffer.concat(entries.filter(({ index }) => index <= through).map((entry) => entry.bytes))
  return bytes.subarray(skip, skip + PIECE_BYTES)
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
