/**
 * Since when this replica shows its log cleaned up to which floor.
 *
 * A reader that goes through the whole log may have passed a key's old value when a cleaning takes it away. It must still find the
 * tombstone that is further on, so a tombstone goes in no cleaning that takes away older values of its key as well, but in one that
 * comes a grace later: whoever has begun since has met none of them. When a floor is decided does not tell, for a replica may get
 * round to it much later (simulator, disk profile, seed 820086).
 *
 * Known of this process only: what was cleaned before is taken for cleaned at its start, which puts the end of tombstones off.
 */

/** More are not remembered, which puts the end of some tombstones off. */
const FLOORS_MAX = 32

export class SeenFloors {
  /** Ascending in both. */
  #floors: { readonly offset: number; readonly sinceMs: number }[] = []

  note(offset: number, nowMs: number): void {
    if (this.#floors.length === FLOORS_MAX) this.#floors.pop()
    this.#floors.push({ offset, sinceMs: nowMs })
  }

  /** The log is another one. */
  forget(): void {
    this.#floors = []
  }

  /** What lies below has been shown as it is for so long; 0: nothing has. */
  shownFor(graceMs: number, nowMs: number): number {
    return this.#floors.findLast(({ sinceMs }) => nowMs - sinceMs >= graceMs)?.offset ?? 0
  }
}
