/**
 * Snapshots from another replica on their way into the checkpoint file (Raft §7).
 *
 *     install ──► journal: a call behind everything that was appended ──► the next checkpoint has it ──► the shard log follows
 *                 └ the block it is in: of the shard, nothing up to there    └ old or new: one file       └ done
 *                   will count (replay.ts)
 *
 * What makes it atomic is that it is one record of one file that is replaced as a whole. What makes it right is the block
 * number in that record. A follower that needs a snapshot may hold entries of a history that lost, with indexes above the
 * snapshot's; at a recovery they would stand where the snapshot's successors belong. No index tells the two apart, since both
 * histories use the same ones; the order in which they were written does. So between the call and `done` nothing of the
 * shard's log may be appended.
 *
 * A checkpoint that is being taken when a snapshot arrives has captured the old state, which is as good as a crash before the
 * call; the snapshot goes into the one after it.
 */
import type { Clock } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import type { Journal } from './journal.ts'
import type { LogStart } from './log-start.ts'
import type { ShardLog } from './shard-log.ts'

export type InstallDone = (error: StorageError | null) => void

export interface Install {
  readonly state: ShardCheckpoint
  /** What compaction has left below it, on this disk already; nothing names it yet. */
  readonly cleaned: CleanedPart | null
  readonly started: number
  readonly done: InstallDone
  /** Every entry of the shard that was ever appended is in a block up to here; null while that is not known. */
  journalAfter: number | null
}

export interface InstallCollaborators {
  readonly clock: Clock
  readonly journal: Journal
  readonly logs: ReadonlyMap<number, ShardLog>
  readonly trace: (event: StorageEvent) => void
}

export class Installs {
  readonly #the: InstallCollaborators
  readonly #pending = new Map<number, Install>()

  constructor(collaborators: InstallCollaborators) {
    this.#the = collaborators
  }

  get size(): number {
    return this.#pending.size
  }

  has(shard: number): boolean {
    return this.#pending.has(shard)
  }

  /** False once its shard was removed: whatever was done for it is for nobody. */
  isPending(install: Install): boolean {
    return this.#pending.get(install.state.shard) === install
  }

  /** `ready` when a checkpoint may take it up. */
  begin(state: ShardCheckpoint, cleaned: CleanedPart | null, done: InstallDone, ready: () => void): void {
    const { shard } = state
    const { journal, clock } = this.#the
    assert(!this.#pending.has(shard), () => `two snapshots at once for shard ${shard}`)
    const install: Install = { state, cleaned, started: clock.now(), done, journalAfter: null }
    this.#pending.set(shard, install)
    // Calls complete in their order: what was appended before is in this call's block or an earlier one.
    journal.append([], () => {
      if (!this.isPending(install)) return
      install.journalAfter = journal.syncedSequence
      ready()
    })
  }

  /** Those that a checkpoint which is captured now takes up. */
  ready(): Install[] {
    return [...this.#pending.values()].filter(({ journalAfter }) => journalAfter !== null)
  }

  /** They are in the file: the logs follow. */
  finish(installs: readonly Install[], done: () => void): void {
    let left = 1
    const one = (): void => {
      if (--left === 0) done()
    }
    for (const install of installs) {
      const { shard } = install.state
      const log = this.#the.logs.get(shard)
      if (!this.isPending(install) || log === undefined) continue
      left++
      log.replace(placeOfInstall(install), install.cleaned, () => {
        this.#installed(install)
        one()
      })
    }
    one()
  }

  #installed(install: Install): void {
    if (!this.isPending(install)) return
    const { state, started, done } = install
    const { shard, index } = state
    this.#pending.delete(shard)
    const milliseconds = this.#the.clock.now() - started
    this.#the.trace({ type: 'snapshot-installed', shard, index, bytes: state.state.length, milliseconds })
    done(null)
  }

  /** The shard was removed. */
  drop(shard: number): void {
    const install = this.#pending.get(shard)
    if (install === undefined) return
    this.#pending.delete(shard)
    this.refuse(shard, install.done)
  }

  refuse(shard: number, done: InstallDone): void {
    const error = new StorageError({ code: 'SHARD_REMOVED', shard }, `shard ${shard} was removed`)
    this.#the.clock.endOfTurn(() => done(error))
  }
}

/** No entry below is on this disk, so the log starts behind the snapshot, but for what compaction has left. */
export function placeOfInstall({ state, cleaned }: Install): LogStart {
  const { index, nextOffset, startOffset } = state
  return { index: index + 1, offset: cleaned === null ? nextOffset : startOffset }
}
