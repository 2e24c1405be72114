/**
 * Removed shards, until nothing on this disk remembers them.
 *
 *     remove ──► leaving ──► gone ─────────────────────────────────► forgotten
 *                  └ the next  └ the file says so: then the shard's    └ the journal was freed beyond the shard's last entry,
 *                    capture     files go, and then its folder           and the folder is gone
 *
 * That a shard is gone is said by another shard's state, the metadata's, and whoever starts opens the shards which that state
 * names. So a removal and that state must come into the checkpoint file together. Were the shard left out of a file that was
 * captured before its removal, a start would find it in the metadata and nothing of it on the disk, open it empty, and vote a
 * second time in a term in which this disk has voted. Hence a removal takes effect in a capture that has the state which says so, and
 * only in one that has every state: a shard that is about to be given a snapshot is passed over, and may be the one that knows.
 *
 * What is gone is remembered only for the sake of the journal, whose entries of it must count for nothing, and of an opening
 * that finds its files: so the list is as long as the journal's few segments allow, not as long as the history.
 */
export class Removals {
  /** By which shard's state. */
  readonly #leaving = new Map<number, number>()
  /** With the block up to which the journal may have entries of it. */
  readonly #gone: Map<number, number>
  /** There may be files of it. */
  readonly #littered = new Set<number>()

  /** As an opening found it, which has removed the files. */
  constructor(gone: ReadonlyMap<number, number>) {
    this.#gone = new Map(gone)
  }

  /** What the file says. */
  get gone(): ReadonlyMap<number, number> {
    return this.#gone
  }

  get anyLeaving(): boolean {
    return this.#leaving.size > 0
  }

  /** Gone or about to be. */
  has(shard: number): boolean {
    return this.#gone.has(shard) || this.#leaving.has(shard)
  }

  begin(shard: number, saidBy: number): void {
    this.#leaving.set(shard, saidBy)
    this.#littered.add(shard)
  }

  /**
   * Each, and whose state says so. In a turn after the one of `begin`, whose entries are in the journal's queue by now: no block above
   * `through` has any.
   */
  takeUp(through: number): [shard: number, saidBy: number][] {
    const removals = [...this.#leaving]
    for (const [shard] of removals) this.#gone.set(shard, through)
    this.#leaving.clear()
    return removals
  }

  swept(shard: number): void {
    this.#littered.delete(shard)
  }

  /** The journal begins here once the file is on the disk. */
  forgetBelow(journalFrom: number): void {
    for (const [shard, through] of this.#gone)
      if (through < journalFrom && !this.#littered.has(shard)) this.#gone.delete(shard)
  }
}
