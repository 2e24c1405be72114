/**
 * What of a replica's promises is on disk, while several writes are on their way there.
 *
 * `ready()` may be taken again before the previous one's persist has completed, so writes queue up. They complete in order
 * (the journal is one sequence), each identified by a sequence number. An entry counts as *journaled* when a write that
 * contained it, *and was not overtaken by a truncation*, has completed. The second half of that sentence prevents this:
 *
 *  The disaster. Nodes 1 to 5; everybody holds index 1; node 3's disk is slow.
 *   1. Node 1 leads term 2 and sends its entry 2 (call it A) to node 3, which hands it to its journal: write #1.
 *   2. Node 2 is elected in term 3 by nodes 4 and 5 and sends its own entry 2 (B). Node 3 truncates A and hands out B: write #2.
 *   3. Write #1 completes. Were node 3 to take it for "index 2 is on disk", it would acknowledge B, which is of node 2's own
 *      term. Node 2 and any third node with B make a quorum, B is committed, and a client hears yes.
 *   4. Node 3 loses power and wakes up with A. B is on two disks of five, and the next election may lose it.
 *
 *  The obvious cure is to compare terms: write #1 was of term 2, the memory holds term 3, so it does not count. It fails when
 *  the memory goes from A to B *and back to A*, hence the name ABA:
 *   3. Instead, node 1 is elected in term 4 by nodes 4 and 5. It still holds A, and sends A and its own entry 3. Node 3
 *      truncates B and hands out A and entry 3: write #3.
 *   4. Write #1 completes, and A is what the memory holds. Write #2 completes: the disk holds B now, for in the journal a
 *      later entry replaces an earlier one. Node 3 says "index 2 is on disk", loses power, and wakes up without A.
 *
 *  So terms are not compared at all. A truncation from index i lowers what *every* write in flight may still claim to i − 1:
 *  after step 2 write #1 can claim index 1 at the most, and after step 3 only write #3 can speak of index 2.
 *
 *  `testdata/overtaken-write.txt` acts out the first version. The second is shut out twice: A can only come back after node 3
 *  has spoken in term 4, and it does not speak before that term, and with it every earlier write, is on disk. That belongs to
 *  other files, so this one does not lean on it: `testdata/aba-race.txt` shows both, `persistence.test.ts` this one alone.
 */
import { assert } from '../stdx/index.ts'

interface Write {
  readonly sequence: number
  /** Highest index this write can still make durable. Lowered by truncations, never raised. */
  lastIndex: number
}

export class Persistence {
  /** Writes in flight, oldest first. */
  #writes: Write[] = []
  /** The last write handed out. */
  #issued = 0
  /** The last write completed. Invariant: completed ≤ issued. */
  #completed = 0
  /** Entries up to here were handed out to be written. Invariant: journaled ≤ handedOut. */
  #handedOut: number
  #journaled: number
  /** The write that makes the present term and vote durable. May be one that is not handed out yet. */
  #hardStateWrite = 0
  #hardStateDirty = false

  /** What recovery found was synced before it was trusted. */
  constructor(recoveredIndex: number) {
    this.#handedOut = recoveredIndex
    this.#journaled = recoveredIndex
  }

  /** The log's present entries up to here are on this node's disk. */
  get journaled(): number {
    return this.#journaled
  }

  get handedOut(): number {
    return this.#handedOut
  }

  get hardStateDirty(): boolean {
    return this.#hardStateDirty
  }

  /** Present term and vote are on disk. */
  get hardStateDurable(): boolean {
    return this.#hardStateWrite <= this.#completed
  }

  /** The write whose completion makes the present term and vote durable. */
  get hardStateWrite(): number {
    return this.#hardStateWrite
  }

  hardStateChanged(): void {
    this.#hardStateDirty = true
    this.#hardStateWrite = this.#issued + 1
  }

  truncated(fromIndex: number): void {
    const last = fromIndex - 1
    this.#handedOut = Math.min(this.#handedOut, last)
    this.#journaled = Math.min(this.#journaled, last)
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, last)
  }

  /** A snapshot is on the disk: it is the log up to `index`, and what any write in flight may still claim ends there. */
  installed(index: number): void {
    this.truncated(index + 1)
    this.#handedOut = index
    this.#journaled = index
  }

  /** Everything dirty and everything up to `lastIndex` is handed out as one write. */
  begin(lastIndex: number): number {
    this.#issued++
    this.#hardStateDirty = false
    this.#handedOut = lastIndex
    this.#writes.push({ sequence: this.#issued, lastIndex })
    return this.#issued
  }

  completed(sequence: number): void {
    assert(sequence > this.#completed, () => `persist ${sequence} completed after ${this.#completed}`)
    assert(sequence <= this.#issued, () => `persist ${sequence} completed, only ${this.#issued} were handed out`)
    this.#completed = sequence
    let done = 0
    for (; done < this.#writes.length && this.#writes[done]!.sequence <= sequence; done++) {
      this.#journaled = Math.max(this.#journaled, this.#writes[done]!.lastIndex)
    }
    if (done === this.#writes.length) this.#writes.length = 0
    else this.#writes.splice(0, done)
  }
}
