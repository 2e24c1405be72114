import type { SnapshotReceiving } from './snapshot-receiving.ts'

/**
 * What a replica knows of its log in relation to the leader it follows, and has told it.
 *
 * It lives exactly as long as the leader is known (one leader, one term, one session) and not as long as the follower's role:
 * a follower that suspects its leader for a moment, asks for pre-votes and finds that the leader was only late, must come back
 * with its debts. The leader is waiting for reports of what it has sent, and sends nothing twice.
 */
export class Following {
  /** Our log equals the leader's up to here. Invariant: commit ≤ matched ≤ lastIndex. */
  matched: number
  reportedReceived = 0
  reportedJournaled = 0
  /** The leader waits to hear where we stand: the next append that fits is answered even if it brings nothing. */
  awaited = true
  /** An append was taken that must be answered, and was not yet. */
  answerDue = false
  /** The leader's log contradicts ours: nothing more is taken from it. */
  quarantined = false

  /** A snapshot of which the leader has sent some. */
  incoming: SnapshotReceiving | null = null

  constructor(commit: number) {
    this.matched = commit
  }

  /** Our log is now that of a snapshot. What the leader sent meanwhile was not taken: it must hear where we stand. */
  logReplaced(index: number): void {
    this.matched = index
    this.awaited = true
    this.answerDue = true
  }
}
