/**
 * A snapshot that arrives in chunks, in order, in memory: its sender has one chunk out at a time, and a session that ends takes
 * what has arrived with it. Memory grows with what has arrived, not with what was announced.
 */
import { decodeSnapshot, type Snapshot, type SnapshotHead, sameSnapshot } from './snapshot.ts'

export class SnapshotReceiving {
  readonly head: SnapshotHead
  #chunks: Buffer[] = []
  #received = 0

  constructor(head: SnapshotHead) {
    this.head = head
  }

  get received(): number {
    return this.#received
  }

  get complete(): boolean {
    return this.#received === this.head.totalBytes
  }

  isOf(head: SnapshotHead): boolean {
    return sameSnapshot(this.head, head)
  }

  /** A chunk that was taken before changes nothing, and neither does one that does not fit. */
  take(at: number, chunk: Buffer): void {
    if (at !== this.#received || at + chunk.length > this.head.totalBytes) return
    // A slice would keep the frame that it came in.
    this.#chunks.push(Buffer.from(chunk))
    this.#received += chunk.length
  }

  /** Null: what has arrived is not what was sent. */
  finish(): Snapshot | null {
    return decodeSnapshot(this.head, Buffer.concat(this.#chunks))
  }
}
