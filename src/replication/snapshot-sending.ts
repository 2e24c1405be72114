/**
 * The leader's half of a snapshot's way to a follower that is behind the log's start.
 *
 *      behind ──► wanted ──(the driver takes one)──► chunk ─► reply ─► chunk ─► … ─► append-reply ──► replicate
 *                                                      one out at a time, per peer
 *
 * The state is copied once per shard, however many need it, and kept while somebody does: whoever falls behind meanwhile gets
 * the same one, as long as the log still begins where it ends. If the log was cut above it, it leads nowhere, and everybody
 * starts again with another. (`cut.ts` waits for running transfers, so that takes a very slow one.)
 *
 * The end of a session ends the transfer: the new one begins with a probe, and finds out what the follower has by then.
 */
import type { Message, NodeId } from './messages.ts'
import type { Progress } from './progress.ts'
import type { RaftCore } from './raft-core.ts'
import { encodeSnapshotBody, headOf, type Snapshot, type SnapshotHead } from './snapshot.ts'

type SnapshotReply = Extract<Message, { type: 'snapshot-reply' }>

interface Held {
  readonly head: SnapshotHead
  readonly body: Buffer
}

/** What one follower has of the snapshot that it is sent. Invariant: acknowledged ≤ sent (ever) ≤ totalBytes. */
export interface Transfer {
  readonly held: Held
  acknowledged: number
  sent: number
}

export class SnapshotSending {
  readonly #core: RaftCore
  #held: Held | null = null

  constructor(core: RaftCore) {
    this.#core = core
  }

  /** The driver's answer to `snapshotWanted`. */
  taken(snapshot: Snapshot): void {
    const body = encodeSnapshotBody(snapshot)
    this.#held = { head: headOf(snapshot, body), body }
    this.#core.dirty = true
  }

  /** True if it needs a snapshot, which is then sent. Without a session nothing is begun. */
  takesOver(progress: Progress): boolean {
    if (progress.state !== 'snapshot') {
      const away = progress.state === 'probe' && progress.awaitingReply
      if (away || !(progress.next < this.#core.log.startIndex || this.#forced(progress))) return false
      progress.becomeSnapshot()
    }
    this.#send(progress)
    return true
  }

  /** Though the log would do. */
  #forced({ state, received, inflight }: Progress): boolean {
    const { commit, stateSaysAll } = this.#core
    if (state !== 'replicate' || !stateSaysAll || received >= commit || inflight.count > 0) return false
    return this.#core.chance('replication/snapshot-instead-of-log')
  }

  #send(progress: Progress): void {
    const held = this.#held
    if (held === null || held.head.index + 1 < this.#core.log.startIndex) {
      progress.transfer = null
      this.#core.snapshotWanted = true
      return
    }
    if (progress.transfer?.held !== held) {
      progress.transfer = { held, acknowledged: 0, sent: 0 }
      progress.awaitingReply = false
    }
    if (!progress.awaitingReply) this.#sendChunk(progress.node, progress.transfer)
    progress.awaitingReply = true
  }

  #sendChunk(to: NodeId, transfer: Transfer): void {
    const { shard, term, options } = this.#core
    const { head, body } = transfer.held
    const at = transfer.acknowledged
    const chunk = body.subarray(at, at + options.snapshotChunkBytes)
    transfer.sent = Math.max(transfer.sent, at + chunk.length)
    this.#core.send(to, { type: 'snapshot', shard, term, head, at, chunk })
  }

  reply(progress: Progress | undefined, { index, received }: SnapshotReply): void {
    if (progress === undefined) return
    progress.confirmed = true
    const { transfer } = progress
    if (transfer === null || transfer.held.head.index !== index) return
    // Less than before: it has lost what it had (or this is an old answer, and the next one will lead back to where we were).
    if (received === transfer.acknowledged || received > transfer.sent) return
    transfer.acknowledged = this.#core.chance('replication/snapshot-from-its-start') ? 0 : received
    // After the last chunk it has something to do, and says by an append-reply that it is done.
    if (received === transfer.held.head.totalBytes) return
    progress.awaitingReply = false
    this.#core.dirty = true
  }

  /** It holds what the snapshot that it is being sent stands for. */
  hasArrived({ state, transfer, received }: Progress): boolean {
    return state === 'snapshot' && transfer !== null && received >= transfer.held.head.index
  }

  /** The first entry that somebody waits for, of those that are on their way. */
  neededFrom(all: Iterable<Progress>): number {
    let from = Number.MAX_SAFE_INTEGER
    for (const { state, match } of all) {
      if (state === 'replicate') from = Math.min(from, match + 1)
      else if (state === 'snapshot' && this.#held !== null) from = Math.min(from, this.#held.head.index + 1)
    }
    return from
  }

  releaseUnless(all: Iterable<Progress>): void {
    if (this.#held === null) return
    for (const { state } of all) if (state === 'snapshot') return
    this.#held = null
  }
}
