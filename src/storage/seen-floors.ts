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

/** More are not remembered, but evenly less: the end of some tombstones is put off by a small part of their grace. */
const FLOORS_MAX = 32

export class SeenFloors {
  /** Ascending in both. */
  #floors: { readonly offset: number; readonly sinceMs: number }[] = []
  /** That was asked for. */
  #longestGraceMs = 0

  note(offset: number, nowMs: number): void {
    if (this.#floors.length === FLOORS_MAX) this.#forgetOne(nowMs)
    this.#floors.push({ offset, sinceMs: nowMs })
  }

  /** One that a later one is as good as for every grace, or else the one that leaves the smallest hole: what is told is never too much. */
  #forgetOne(nowMs: number): void {
    const floors = this.#floors
    const old = floors.findLastIndex(({ sinceMs }) => nowMs - sinceMs >= this.#longestGraceMs)
    if (old > 0) {
      floors.splice(0, old)
      return
    }
    const holeAt = (i: number): number => floors[i + 1]!.sinceMs - floors[i - 1]!.sinceMs
    let least = 1
    for (let i = 2; i < floors.length - 1; i++) if (holeAt(i) < holeAt(least)) least = i
    floors.splice(least, 1)
  }

  /** The log is another one. */
  forget(): void {
    this.#floors = []
  }

  /** What lies below has been shown as it is for so long; 0: nothing has. */
  shownFor(graceMs: number, nowMs: number): number {
    this.#longestGraceMs = Math.max(this.#longestGraceMs, graceMs)
    return this.#floors.findLast(({ sinceMs }) => nowMs - sinceMs >= graceMs)?.offset ?? 0
  }
}
