/**
 * Fetches that found too little and wait for more: Kafka's long poll.
 *
 * A parked fetch listens on all its partitions at once and is told once: when enough bytes have become visible, when a
 * partition has something else to say (its leadership was lost, it was deleted), or when its time is up.
 *
 *      partition 3 ──advanced(bytes)──┐
 *      partition 7 ──advanced(bytes)──┼──► FetchWait ──(missing ≤ 0)──► ready list ──end of turn──► owner.fetchReady
 *      deadline ──────────────────────┘
 *
 * Two things keep a thousand idle consumers cheap. Waking is collected until the end of the turn, so that a fetch over many
 * partitions is answered once with what all of them brought. And there is no timer per fetch: clients use few different waits
 * (500 ms, 5 s), and fetches with the same wait expire in the order in which they came, so each distinct wait is a queue with
 * one timer for its head. A parked fetch is one object; parking it again allocates no closure.
 */
import type { Clock, Timer } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'

/** Who parked the fetch: looks at its partitions again. May park again with the time that is left. */
export interface FetchOwner {
  /** Once per `park`, unless cancelled. `expired`: the time is up, answer with whatever there is. */
  fetchReady(expired: boolean): void
}

/** What can be listened to: a partition. */
export interface Advancing {
  listen(listener: AdvanceListener): void
  unlisten(listener: AdvanceListener): void
}

export interface AdvanceListener {
  /** So many more bytes are visible; infinite when the partition must be looked at for another reason. */
  advanced(bytes: number): void
}

export class FetchWait implements AdvanceListener {
  readonly owner: FetchOwner
  readonly partitions: readonly Advancing[]
  readonly deadline: number
  /** Bytes that must become visible before the fetch is worth an answer. */
  missingBytes: number
  /** Neighbours among the waits of equal length; earlier deadlines in front. */
  previous: FetchWait | null = null
  next: FetchWait | null = null
  state: 'parked' | 'ready' | 'over' = 'parked'
  readonly #waits: FetchWaits
  readonly queue: WaitQueue

  constructor(
    waits: FetchWaits,
    queue: WaitQueue,
    owner: FetchOwner,
    partitions: readonly Advancing[],
    missingBytes: number,
    deadline: number,
  ) {
    this.#waits = waits
    this.queue = queue
    this.owner = owner
    this.partitions = partitions
    this.missingBytes = missingBytes
    this.deadline = deadline
  }

  advanced(bytes: number): void {
    this.missingBytes -= bytes
    if (this.missingBytes <= 0) this.#waits.ready(this)
  }

  /** The connection went away: nobody is to be told. */
  cancel(): void {
    this.#waits.cancel(this)
  }
}

/** Waits of one length, in the order of their deadlines. */
class WaitQueue {
  readonly maxWaitMs: number
  head: FetchWait | null = null
  tail: FetchWait | null = null
  timer: Timer | null = null
  readonly fire: () => void

  constructor(maxWaitMs: number, fire: (queue: WaitQueue) => void) {
    this.maxWaitMs = maxWaitMs
    this.fire = () => fire(this)
  }
}

export class FetchWaits {
  readonly #clock: Clock
  readonly #queues = new Map<number, WaitQueue>()
  #ready: FetchWait[] = []
  #flushPlanned = false
  #parked = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Fetches that wait at this moment. */
  get parked(): number {
    return this.#parked
  }

  /** `maxWaitMs` is above 0, `missingBytes` too: a fetch that need not wait is not parked. */
  park(owner: FetchOwner, partitions: readonly Advancing[], missingBytes: number, maxWaitMs: number): FetchWait {
    assert(maxWaitMs > 0 && missingBytes > 0, () => `parked for ${maxWaitMs} ms and ${missingBytes} bytes`)
    let queue = this.#queues.get(maxWaitMs)
    if (queue === undefined) {
      queue = new WaitQueue(maxWaitMs, this.#expire)
      this.#queues.set(maxWaitMs, queue)
    }
    const wait = new FetchWait(this, queue, owner, partitions, missingBytes, this.#clock.now() + maxWaitMs)
    wait.previous = queue.tail
    if (queue.tail === null) queue.head = wait
    else queue.tail.next = wait
    queue.tail = wait
    queue.timer ??= this.#clock.after(maxWaitMs, queue.fire)
    for (const partition of partitions) partition.listen(wait)
    this.#parked++
    return wait
  }

  /** Called by the wait itself. */
  ready(wait: FetchWait): void {
    if (wait.state !== 'parked') return
    wait.state = 'ready'
    this.#ready.push(wait)
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#clock.endOfTurn(this.#flush)
  }

  cancel(wait: FetchWait): void {
    if (wait.state === 'over') return
    wait.state = 'over'
    this.#remove(wait)
  }

  /** Answers everyone with what there is: the node stops. */
  close(): void {
    for (const queue of [...this.#queues.values()]) {
      while (queue.head !== null) this.#tell(queue.head, true)
    }
  }

  readonly #flush = (): void => {
    this.#flushPlanned = false
    const ready = this.#ready
    this.#ready = []
    for (const wait of ready) if (wait.state === 'ready') this.#tell(wait, false)
  }

  readonly #expire = (queue: WaitQueue): void => {
    queue.timer = null
    const now = this.#clock.now()
    while (queue.head !== null && queue.head.deadline <= now) this.#tell(queue.head, true)
    if (queue.head !== null) queue.timer ??= this.#clock.after(queue.head.deadline - now, queue.fire)
  }

  #tell(wait: FetchWait, expired: boolean): void {
    wait.state = 'over'
    this.#remove(wait)
    wait.owner.fetchReady(expired)
  }

  #remove(wait: FetchWait): void {
    this.#parked--
    for (const partition of wait.partitions) partition.unlisten(wait)
    const { queue } = wait
    if (wait.previous === null) queue.head = wait.next
    else wait.previous.next = wait.next
    if (wait.next === null) queue.tail = wait.previous
    else wait.next.previous = wait.previous
    wait.previous = null
    wait.next = null
    if (queue.head !== null) return
    queue.timer?.cancel()
    queue.timer = null
    this.#queues.delete(queue.maxWaitMs)
  }
}
