/**
 * A node's storage under crashes at random moments, against a model that nobody could get wrong: a list of all calls made, in
 * order, with the state of every shard after each.
 *
 * After a crash the recovered state must be the state after some number of calls: at least all that were acknowledged, and
 * none but a whole call. Files stay on one simulated disk; a power loss drops, keeps or tears what was not synced.
 */
import { assert } from '../stdx/index.ts'
import type { Entry } from './entry.ts'
import { encodeHardState, type HardState } from './hard-state.ts'
import { follow, SeededRandom, World } from './harness.test.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

interface ShardModel {
  readonly log: Entry[]
  hardState: HardState
}
type State = Map<number, ShardModel>

const SHARDS = [1, 16, 17]

export function fuzz(seed: number, rounds: number): void {
  const run = new Run(seed)
  for (let round = 0; round < rounds; round++) run.round()
}

class Run {
  readonly #random: SeededRandom
  readonly #world: World
  #storage: Storage
  /** State after call n of this opening; [0] is what was recovered. */
  #history: State[]
  #acknowledged = 0
  /** Per shard: committed and given to the shard log. */
  #committed = new Map<number, number>()

  constructor(seed: number) {
    this.#random = new SeededRandom(`${seed}/workload`)
    this.#world = new World(seed)
    this.#history = [new Map()]
    this.#storage = this.#open()
  }

  round(): void {
    for (let steps = 1 + this.#random.below(60); steps > 0; steps--) {
      const dice = this.#random.below(20)
      if (dice < 10) this.#append()
      else if (dice < 14) this.#commit()
      else if (dice === 14) this.#storage.checkpoint()
      else if (dice === 15) this.#readBack()
      for (let turns = this.#random.below(8); turns > 0; turns--) this.#world.clock.step()
      assert(this.#world.fatals.length === 0, () => `fatal: ${this.#world.fatals[0]!.message}`)
    }
    const dice = this.#random.below(4)
    if (dice === 0) this.#world.close(this.#storage)
    else if (dice === 1) this.#world.kill()
    else this.#world.powerLoss()
    if (dice === 0) this.#acknowledged = this.#history.length - 1
    this.#storage = this.#open()
  }

  #append(): void {
    const state: State = new Map([...this.#history.at(-1)!])
    const entries: Entry[] = []
    for (const shard of SHARDS) {
      if (this.#random.below(2) === 0) continue
      const before = state.get(shard) ?? { log: [], hardState: { term: 1, vote: 0 } }
      const log = [...before.log]
      let { hardState } = before
      const committed = this.#committed.get(shard) ?? 0
      if (this.#random.below(6) === 0) {
        // Another leader: a part of the tail is replaced.
        hardState = { term: hardState.term + 1, vote: this.#random.below(3) }
        log.length = committed + this.#random.below(log.length - committed + 1)
      }
      if (hardState !== before.hardState || before.log.length === 0) {
        entries.push(encodeHardState(shard, hardState.term, hardState.vote))
      }
      for (let count = this.#random.below(4); count > 0; count--) {
        const bytes = this.#random.below(12) === 0 ? this.#random.below(30_000) : this.#random.below(400)
        const entry = follow(
          shard,
          log.at(-1) ?? null,
          hardState.term,
          this.#random.bytes(bytes),
          this.#random.below(3),
        )
        log.push(entry)
        entries.push(entry)
      }
      // A log that only got shorter is no event of Raft: truncation happens by writing.
      const shorter = log.length < before.log.length && log.at(-1) === before.log[log.length - 1]
      state.set(shard, { log: shorter ? before.log : log, hardState })
    }
    this.#history.push(state)
    const call = this.#history.length - 1
    this.#storage.append(entries, () => {
      assert(call === this.#acknowledged + 1, () => `call ${call} acknowledged after ${this.#acknowledged}`)
      this.#acknowledged = call
    })
  }

  /** Only what is acknowledged and not replaced since. */
  #commit(): void {
    for (const shard of SHARDS) {
      const durable = this.#history[this.#acknowledged]!.get(shard)?.log ?? []
      const now = this.#history.at(-1)!.get(shard)?.log ?? []
      let common = 0
      while (common < durable.length && common < now.length && durable[common] === now[common]) common++
      const from = this.#committed.get(shard) ?? 0
      if (common <= from) continue
      const to = from + 1 + this.#random.below(common - from)
      for (let index = from; index < to; index++) this.#logOf(shard).append(now[index]!)
      this.#committed.set(shard, to)
    }
  }

  #readBack(): void {
    for (const shard of SHARDS) {
      const committed = this.#committed.get(shard) ?? 0
      const log = this.#history.at(-1)!.get(shard)?.log ?? []
      if (committed === 0) continue
      const at = 1 + this.#random.below(committed)
      this.#logOf(shard).readFromIndex(at, 1 + this.#random.below(5000), (error, entries) => {
        assert(error === null, () => `${error?.message}`)
        assert(entries.length > 0, 'a committed entry was not found')
        for (const { index, crc } of entries) assert(crc === log[index - 1]!.crc, () => `shard ${shard} index ${index}`)
        assert(entries[0]!.index === at, () => `shard ${shard}: read from ${at} gave ${entries[0]!.index}`)
      })
      const { firstOffset, recordCount } = log[at - 1]!
      this.#logOf(shard).readFromOffset(firstOffset, 1, (error, entries) => {
        assert(error === null, () => `${error?.message}`)
        if (recordCount > 0) assert(entries[0]?.crc === log[at - 1]!.crc, () => `shard ${shard} offset ${firstOffset}`)
      })
    }
  }

  #logOf(shard: number): ShardLog {
    return this.#storage.openShardLog(shard)
  }

  #open(): Storage {
    const outcome = this.#world.tryOpen()
    if (outcome instanceof Error) throw outcome
    this.#storage = outcome
    const recovered: State = new Map()
    for (const [shard, { term, vote, checkpoint, entries }] of outcome.recovered) {
      const log = this.#covered(shard, checkpoint?.index ?? 0)
      if (checkpoint !== null) assert(checkpoint.crc === (log.at(-1)?.crc ?? 0), 'the anchor is the last entry’s sum')
      recovered.set(shard, { log: [...log, ...entries], hardState: { term, vote } })
      // What is in the shard log was committed, so no leader will ever replace it.
      this.#committed.set(shard, Math.max(checkpoint?.index ?? 0, outcome.openShardLog(shard).writtenIndex))
    }
    const at = this.#history.findIndex((state, call) => call >= this.#acknowledged && this.#same(recovered, state))
    assert(
      at >= 0,
      () => `what was recovered is no state from call ${this.#acknowledged} on: ${this.#describe(recovered)}`,
    )
    this.#history = [recovered]
    this.#acknowledged = 0
    outcome.setCheckpointSource({
      // Any subset will do: what lags too long is captured without being named.
      activeShards: () => SHARDS.filter(() => this.#random.below(2) === 0),
      capture: (shard) => {
        const { log, hardState } = this.#history.at(-1)!.get(shard) ?? { log: [], hardState: { term: 0, vote: 0 } }
        const index = this.#committed.get(shard) ?? 0
        const entry = index === 0 ? null : log[index - 1]!
        return {
          shard,
          ...hardState,
          index,
          entryTerm: entry?.term ?? 0,
          crc: entry?.crc ?? 0,
          nextOffset: entry === null ? 0 : entry.firstOffset + entry.recordCount,
          stamp: entry?.stamp ?? 0,
          startIndex: 1,
          startOffset: 0,
          epochs: [{ term: 1, firstIndex: 1, firstOffset: 0 }],
          configuration: Buffer.from('voters'),
          state: Buffer.from(`state at ${index}`),
        }
      },
      tail: (shard) => (this.#history.at(-1)!.get(shard)?.log ?? []).slice(this.#committed.get(shard) ?? 0),
    })
    return outcome
  }

  /** The part of the log that the checkpoint covers, from the shard's files. */
  #covered(shard: number, through: number): Entry[] {
    const log: Entry[] = []
    const files = this.#storage.openShardLog(shard)
    assert(files.writtenIndex >= through, 'the shard log reaches to the checkpoint')
    while (log.length < through) {
      const more = this.#world.await<Entry[]>((done) => files.readFromIndex(log.length + 1, 10_000, done))
      assert(more.length > 0, 'a covered entry was not found')
      log.push(...more)
    }
    log.length = through
    return log
  }

  #same(recovered: State, state: State): boolean {
    for (const shard of SHARDS) {
      const [is, was] = [recovered.get(shard)?.log ?? [], state.get(shard)?.log ?? []]
      if (is.length !== was.length || is.some(({ crc }, i) => crc !== was[i]!.crc)) return false
      // A checkpoint may carry a hard state that the journal lost again: it may be ahead, never behind.
      const [have, had] = [recovered.get(shard)?.hardState, state.get(shard)?.hardState]
      if (had !== undefined && (have === undefined || have.term < had.term)) return false
      if (had !== undefined && have!.term === had.term && had.vote !== 0 && have!.vote !== had.vote) return false
    }
    return true
  }

  #describe(state: State): string {
    const lines = [...state].map(([shard, { log, hardState }]) => `${shard}: ${log.length} term ${hardState.term}`)
    const expected = this.#history
      .slice(this.#acknowledged)
      .map((one) => [...one].map(([s, { log }]) => `${s}:${log.length}`).join(','))
    return `${lines.join('; ')} expected one of ${expected.join(' | ')}`
  }
}
