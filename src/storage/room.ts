/**
 * Background work for which the disk has no room is not lost, it waits.
 *
 * What shard logs and checkpoints write, the journal has: nobody was promised that it would be elsewhere by now. So a full disk
 * ends none of it. The attempt that was refused has changed nothing but bytes that nothing refers to yet, and is made again when
 * somebody asks (`tryAgain`): now and then, for room comes back without a sign.
 *
 *     shard log ── attempt ──► refused: no room ──► waits ── tryAgain ──► attempt ──► done
 *
 * A disk that is merely low has room, and a journal that needs it: there is nobody to whom it could leave its votes. What is written
 * behind it gives room back when a checkpoint covers all of it, and only then. So on such a disk that is written if all of what waits to be
 * written would fit, and the journal has something left (`leaveToJournal`). Half of it would take the journal's room and give none back. For
 * a checkpoint that gives files of the journal back half of what is the journal's is enough: without that checkpoint it takes the other half as
 * well, and then there is nothing left. What says that a shard is removed is written at once: that makes room.
 *
 * Only refusals of a write, an open or the like are such. A sync that failed leaves nothing that could be tried again, and its
 * error has another code (platform/disk.ts).
 */
import { type Disk, type DiskSpace, PlatformError } from '../platform/index.ts'
import type { Background } from './background.ts'
import type { StorageEvent } from './events.ts'
import { call, type Procedure, run } from './procedure.ts'

export interface RoomCollaborators {
  readonly disk: Disk
  readonly directory: string
  /** Bytes that the shard logs have still to write. */
  readonly unwrittenBytes: () => number
  readonly background: Background
  readonly trace: (event: StorageEvent) => void
  /** Something was refused for lack of room, the first time or again. */
  readonly refused: () => void
}

/** Work that was asked for. */
export interface RoomWork {
  /** It is given up when there is no room for it, or none came. */
  giveUp(): void
  /** From now on it is urgent (background.ts). */
  hasten(): void
}

interface Waiting {
  readonly again: () => void
  readonly giveUp: () => void
}

export class Room {
  readonly #with: RoomCollaborators
  #waiting: Waiting[] = []
  #givenUp = false
  /** Of a disk that is low, so much is for the journal alone; 0: it is not low. */
  journalBytes = 0

  constructor(collaborators: RoomCollaborators) {
    this.#with = collaborators
  }

  /** Something waits for room. */
  get awaited(): boolean {
    return this.#waiting.length > 0
  }

  /**
   * Runs `attempt` as a background write, and anew as often as it takes. `done` with what became of it; with a `DISK_FULL` only
   * once it was given up.
   */
  run<T>(
    work: string,
    attempt: () => Procedure<T>,
    done: (error: Error | null, value?: T) => void,
    isUrgent = false,
  ): RoomWork {
    let [refusals, givenUp, urgent] = [0, false, isUrgent]
    let waiting: Waiting | null = null
    const operation = (finished: () => void): void =>
      run(attempt(), (error, value) => {
        finished()
        if (!isFull(error)) return done(error, value)
        if (refusals++ === 0) this.#with.trace({ type: 'disk-full', work, reason: error.message })
        if (givenUp || this.#givenUp) return done(error)
        waiting = { again: once, giveUp: () => done(error) }
        this.#waiting.push(waiting)
        this.#with.refused()
      })
    const once = (): void => {
      waiting = null
      this.#with.background.write(operation, urgent)
    }
    once()
    return {
      giveUp: () => {
        givenUp = true
        const at = waiting === null ? -1 : this.#waiting.indexOf(waiting)
        if (at >= 0) this.#waiting.splice(at, 1)[0]!.giveUp()
      },
      hasten: () => {
        urgent = true
        this.#with.background.hasten(operation)
      },
    }
  }

  /** Refuses as a full disk would, unless `share` of what is the journal's stays its own. */
  *leaveToJournal(share = 1): Procedure<void> {
    const { disk, directory, unwrittenBytes } = this.#with
    const journalBytes = this.journalBytes * share
    if (journalBytes === 0) return
    // A disk that cannot even say that is asked by the write itself.
    const space = yield* call<DiskSpace | null>((done) =>
      disk.space(directory, (_error, known) => done(null, known ?? null)),
    )
    const unwritten = unwrittenBytes()
    if (space === null || space.freeBytes - unwritten >= journalBytes) return
    throw new PlatformError(
      { code: 'DISK_FULL', path: directory },
      `${space.freeBytes} bytes are left in ${directory}, ${unwritten} are to be written, and ${journalBytes} are the journal's`,
    )
  }

  tryAgain(): void {
    for (const { again } of this.#waiting.splice(0)) again()
  }

  /** Nobody waits any longer: what has no room goes without. */
  giveUp(): void {
    this.#givenUp = true
    for (const { giveUp } of this.#waiting.splice(0)) giveUp()
  }
}

export function isFull(error: Error | null | undefined): error is PlatformError {
  return error instanceof PlatformError && error.code === 'DISK_FULL'
}
