/**
 * Fetches what compaction has left of a log below a floor from another replica, and gives it to others.
 *
 *     lacks it ─► ask a peer: which floor, which cleaning? ─► piece by piece ─► a part of its own, for a checkpoint to name
 *                      ▲                                            │ another cleaning now, or the session has ended
 *                      └──────── the next peer, from the beginning ─┘
 *
 * All of a part is from one cleaning of one replica (storage/part-arrival.ts says why), so every answer names the cleaning that it
 * was read from, and a replica that gives puts its next cleaning off for a while. Any replica will do whose own floor is that high.
 */
import type { Clock } from '../platform/index.ts'
import type { NodeId, ShardId } from '../replication/index.ts'
import {
  type Caretaker,
  type CleanedPart,
  ENTRY_BYTES_MAX,
  type Entry,
  type LogStart,
  type PartArrival,
  readU64,
  type WantedPart,
  writeU64,
} from '../storage/index.ts'
import { entriesIn, PIECE_BYTES } from './entry-pieces.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import type { Asking, RequestDone } from './peer-requests.ts'

const METHOD = 'cleaned-part'
const ASK_TIMEOUT_MS = 5000
const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 5000
const SMALL_PIECE_BYTES = 300
/**
 * A piece that is not answered is asked for again for so long before all that has come is given up: it may be late, or the peer be started
 * anew. Hardly longer than one question takes, since whoever waits has other peers.
 */
const PIECE_PATIENCE_MS = 6000
/** u32 shard, u64 floor's index (0: the giver's), its offset, from offset, bytes of the entry there that have come already. */
const QUESTION_BYTES = 36
/** u64 cleaning, floor's index, its offset; then entries. Without any: there is nothing from there on. */
const ANSWER_HEADER_BYTES = 24

/** What this node has of a shard's log, as far as others may want it. */
export interface PartSource {
  /** A null floor: it was never compacted. */
  readonly cleaned: { readonly floor: LogStart | null; readonly generation: number }
  readonly startOffset: number
  /** It is not to be cleaned again for a while. */
  hold(): void
  /** Null: this replica has not come to start there. */
  readBelow(
    floor: LogStart,
    offset: number,
    maxBytes: number,
    done: (error: Error | null, entries: readonly Entry[] | null) => void,
  ): void
}

export interface PartFetchCollaborators {
  readonly self: NodeId
  readonly clock: Clock
  readonly caretaker: Caretaker
  readonly mesh: Asking
  readonly source: (shard: ShardId) => PartSource | null
  /** Who has a replica of the shard, whoever is likely to answer first. */
  readonly replicasOf: (shard: ShardId) => readonly NodeId[]
  readonly trace: (event: ClusterEvent) => void
  /** `Random.chance`. */
  readonly chance: (site: string) => boolean
}

/** Of which log: `floor` null is the giver's, as long as `mayBe` agrees. */
export interface PartQuestion {
  readonly shard: ShardId
  readonly floor: LogStart | null
  readonly startOffset: number
  readonly mayBe?: (floor: LogStart) => boolean
}

/** Adopted, or named with a snapshot, by whoever asked, before this returns. */
export type PartDone = (reason: string | null, part?: CleanedPart, floor?: LogStart) => void

interface Answer {
  readonly generation: number
  readonly floor: LogStart
  readonly bytes: Buffer
}

export class PartFetch {
  readonly #the: PartFetchCollaborators
  #stopped = false

  constructor(collaborators: PartFetchCollaborators) {
    this.#the = collaborators
    collaborators.mesh.handle(METHOD, (_from, body, reply) => this.#give(body, reply))
  }

  stop(): void {
    this.#stopped = true
  }

  /** As often as it takes, or until nobody wants it any more. */
  fetchUntil(wanted: WantedPart, isWanted: () => boolean, done: (part: CleanedPart) => void): void {
    const attempt = (waitMs: number): void => {
      if (this.#stopped || !isWanted()) return
      this.fetch(wanted, (reason, part) => {
        if (part !== undefined) return done(part)
        const { shard, floor } = wanted
        this.#the.trace({ type: 'part-not-fetched', shard, index: floor.index, reason: reason! })
        this.#the.clock.after(waitMs, () => attempt(Math.min(2 * waitMs, RETRY_MAX_MS)))
      })
    }
    attempt(RETRY_MIN_MS)
  }

  /** Never calls back once it was stopped. */
  fetch(question: PartQuestion, done: PartDone): void {
    const { self, replicasOf } = this.#the
    const peers = replicasOf(question.shard).filter((node) => node !== self)
    this.#from(question, peers, 'there is no other replica', done)
  }

  #from(question: PartQuestion, peers: readonly NodeId[], reason: string, done: PartDone): void {
    const [peer, ...others] = peers
    if (peer === undefined) return done(reason)
    const next = (why: string): void => this.#from(question, others, `node ${peer}: ${why}`, done)
    const { shard, startOffset, mayBe } = question
    this.#ask(peer, question, startOffset, 0, (why, answer) => {
      if (answer === undefined) return next(why)
      if (mayBe?.(answer.floor) === false) return next(`its floor is at entry ${answer.floor.index}`)
      this.#the.caretaker.receivePart(shard, answer.floor, (arrival) => {
        if (this.#stopped) return arrival?.abandon()
        if (arrival === null) return done('something else is arriving for this log')
        const fixed = { ...question, floor: answer.floor }
        const ask: AskPiece = (from, skip, then) => {
          this.#ask(peer, fixed, from, skip, then, this.#the.clock.now() + PIECE_PATIENCE_MS)
        }
        new Transfer(fixed, answer, arrival, ask, {
          failed: (why) => (this.#stopped ? undefined : next(why)),
          arrived: (part) => (this.#stopped ? undefined : done(null, part, answer.floor)),
        })
      })
    })
  }

  #ask(
    peer: NodeId,
    { shard, floor, startOffset }: PartQuestion,
    from: number,
    skip: number,
    then: (why: string, answer?: Answer) => void,
    until = Number.NEGATIVE_INFINITY,
  ): void {
    const body = Buffer.alloc(QUESTION_BYTES)
    body.writeUInt32LE(shard, 0)
    writeU64(body, floor?.index ?? 0, 4)
    writeU64(body, floor?.offset ?? 0, 12)
    writeU64(body, from, 20)
    writeU64(body, skip, 28)
    this.#the.mesh.request(peer, METHOD, body, ASK_TIMEOUT_MS, (error, answer) => {
      if (this.#stopped) return
      if (error !== null && this.#the.clock.now() < until) {
        this.#the.clock.after(RETRY_MIN_MS, () => {
          if (!this.#stopped) this.#ask(peer, { shard, floor, startOffset }, from, skip, then, until)
        })
      } else if (error !== null) then(error.message)
      else if (answer === undefined || answer.length === 0) then('it is not cleaned up to there yet, or cannot read it')
      else if (answer.length < ANSWER_HEADER_BYTES) then('an answer that cannot be read')
      else {
        const [generation, index, offset] = [readU64(answer, 0), readU64(answer, 8), readU64(answer, 16)]
        if (generation < 0 || index < 0 || offset < 0) return then('an answer that cannot be read')
        then('', { generation, floor: { index, offset }, bytes: answer.subarray(ANSWER_HEADER_BYTES) })
      }
    })
  }

  #give(body: Buffer, reply: RequestDone): void {
    const question = decodeQuestion(body)
    if (question === null) {
      const details = { code: 'BAD_RESPONSE', node: this.#the.self, method: METHOD } as const
      return reply(new ClusterError(details, 'a request for cleaned records that cannot be read'))
    }
    const { shard, asked, from, skip } = question
    const source = this.#the.source(shard)
    if (source === null) return reply(null, Buffer.alloc(0))
    const { generation, floor: own } = source.cleaned
    const floor = asked.index === 0 ? own : asked
    if (floor === null) return reply(null, Buffer.alloc(0))
    // Not for the first piece: who has no room for it comes again and again, and all replicas would stay as they are for his sake.
    if (skip > 0 || from > source.startOffset) source.hold()
    const pieceBytes = this.#the.chance('cluster/small-piece') ? SMALL_PIECE_BYTES : PIECE_BYTES
    source.readBelow(floor, from, skip + pieceBytes, (error, entries) => {
      // Ours may be damaged, too: it is known by now, and somebody else may have it. Or it was cleaned while it was read.
      if (error !== null || entries === null || source.cleaned.generation !== generation)
        return reply(null, Buffer.alloc(0))
      const header = Buffer.alloc(ANSWER_HEADER_BYTES)
      writeU64(header, generation, 0)
      writeU64(header, floor.index, 8)
      writeU64(header, floor.offset, 16)
      const bytes = Buffer.concat(entries.map((entry) => entry.bytes))
      reply(null, Buffer.concat([header, bytes.subarray(skip, skip + pieceBytes)]))
    })
  }
}

function decodeQuestion(
  body: Buffer,
): { readonly shard: ShardId; readonly asked: LogStart; readonly from: number; readonly skip: number } | null {
  if (body.length !== QUESTION_BYTES) return null
  const asked = { index: readU64(body, 4), offset: readU64(body, 12) }
  const [from, skip] = [readU64(body, 20), readU64(body, 28)]
  if (asked.index < 0 || asked.offset < 0 || from < 0 || skip < 0 || skip > ENTRY_BYTES_MAX) return null
  return { shard: body.readUInt32LE(0), asked, from, skip }
}

type AskPiece = (from: number, skip: number, then: (why: string, answer?: Answer) => void) => void

/** One part on its way from one peer. */
class Transfer {
  readonly #question: PartQuestion
  readonly #generation: number
  readonly #arrival: PartArrival
  readonly #ask: AskPiece
  readonly #over: { readonly failed: (why: string) => void; readonly arrived: (part: CleanedPart) => void }
  #carry: Buffer = Buffer.alloc(0)

  constructor(
    question: PartQuestion,
    first: Answer,
    arrival: PartArrival,
    ask: AskPiece,
    over: { readonly failed: (why: string) => void; readonly arrived: (part: CleanedPart) => void },
  ) {
    this.#question = question
    this.#generation = first.generation
    this.#arrival = arrival
    this.#ask = ask
    this.#over = over
    this.#take(first)
  }

  #take({ bytes, generation }: Answer): void {
    if (generation !== this.#generation) return this.#fail('it was cleaned again meanwhile')
    if (bytes.length === 0 && this.#carry.length > 0) return this.#fail('an entry without an end')
    if (bytes.length === 0) return this.#finish()
    const { entries, rest, defect } = entriesIn(this.#carry.length === 0 ? bytes : Buffer.concat([this.#carry, bytes]))
    if (defect !== null) return this.#fail(`what is no entry (${defect})`)
    this.#arrival.add(entries, (error) => {
      if (error !== null) return this.#fail(error.message)
      this.#carry = rest
      const from = Math.max(this.#question.startOffset, this.#arrival.nextOffset)
      this.#ask(from, rest.length, (why, answer) => {
        if (answer === undefined) this.#fail(why)
        else this.#take(answer)
      })
    })
  }

  #finish(): void {
    this.#arrival.finish((error, part) => {
      if (error !== null) this.#fail(error.message)
      else this.#over.arrived(part!)
    })
  }

  #fail(why: string): void {
    this.#arrival.abandon(() => this.#over.failed(why))
  }
}
