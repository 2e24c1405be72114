/**
 * A node's storage under crashes at random moments, against a model that nobody could get wrong: a list of all calls made, in
 * order, with the state of every shard after each.
 *
 * After a crash the recovered state must be the state after some number of calls: at least all that were acknowledged, and
 * none but a whole call. Logs are cut now and then, and snapshots of another history take their place: what the model keeps
 * is always a log from index 1, of which the files may hold less at the front, and never less than was asked to be cut.
 * Files stay on one simulated disk; a power loss drops, keeps or tears what was not synced.
 */
import { assert } from '../stdx/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { encodeHardState, type HardState } from './hard-state.ts'
import { follow, SeededRandom, World } from './harness.test.ts'
import { segmentNumberIn } from './layout.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

interface ShardModel {
  readonly log: readonly Entry[]
  readonly hardState: HardState
}
type State = Map<number, ShardModel>

/** A shard as the disk gives it: its entries from `start` on. */
interface Found {
  readonly hardState: HardState
  readonly start: number
  readonly entries: readonly Entry[]
  /** Index and sum of the entry at which the checkpoint stands. */
  readonly anchor: { readonly index: number; readonly crc: number }
}

/** Asked for and not answered: the crash may find either log. */
interface Pending {
  readonly log: readonly Entry[]
  /** Calls up to here were made before. */
  readonly call: number
}

const SHARDS = [1, 16, 17]

export interface FuzzCounts {
  readonly rounds: number
  installs: number
  installsCrashed: number
  cuts: number
}

export function fuzz(seed: number, rounds: number): FuzzCounts {
  const run = new Run(seed, rounds)
  for (let round = 0; round < rounds; round++) run.round()
  return run.counts
}

class Run {
  readonly counts: FuzzCounts
  readonly #random: SeededRandom
  readonly #world: World
  #storage: Storage
  /** State after call n of this opening; [0] is what was recovered. */
  #history: State[]
  #acknowledged = 0
  /** Per shard: committed and given to the shard log. */
  #committed = new Map<number, number>()
  /** Per shard: the highest start that a checkpoint was told. */
  #start = new Map<number, number>()
  #installing = new Map<number, Pending>()

  constructor(seed: number, rounds: number) {
    this.counts = { rounds, installs: 0, installsCrashed: 0, cuts: 0 }
    this.#random = new SeededRandom(`${seed}/workload`)
    this.#world = new World(seed, { chancePermille: seed % 2 === 0 ? 100 : 0 })
    this.#history = [new Map()]
    this.#storage = this.#open()
  }

  round(): void {
    for (let steps = 1 + this.#random.below(60); steps > 0; steps--) {
      const dice = this.#random.below(21)
      if (dice < 10) this.#append()
      else if (dice < 14) this.#commit()
      else if (dice === 14) this.#storage.checkpoint()
      else if (dice === 15) this.#readBack()
      else if (dice === 16) this.#install()
      for (let turns = this.#random.below(8); turns > 0; turns--) this.#world.clock.step()
      assert(this.#world.fatals.length === 0, () => `fatal: ${this.#world.fatals[0]!.message}`)
    }
    const dice = this.#random.below(4)
    if (dice === 0) this.#world.close(this.#storage)
    else if (dice === 1) this.#world.kill()
    else this.#world.powerLoss()
    if (dice === 0) {
      this.#acknowledged = this.#history.length - 1
      assert(this.#installing.size === 0, 'closing leaves no snapshot half installed')
    }
    this.counts.installsCrashed += this.#installing.size
    this.#storage = this.#open()
  }

  #append(): void {
    const state: State = new Map(this.#history.at(-1)!)
    const entries: Entry[] = []
    for (const shard of SHARDS) {
      if (this.#random.below(2) === 0) continue
      const before = state.get(shard) ?? { log: [], hardState: { term: 1, vote: 0 } }
      const log = [...before.log]
      let { hardState } = before
      const committed = this.#committed.get(shard) ?? 0
      const installing = this.#installing.has(shard)
      if (this.#random.below(6) === 0) {
        // Another leader: a part of the tail is replaced.
        hardState = { term: hardState.term + 1, vote: this.#random.below(3) }
        if (!installing) log.length = committed + this.#random.below(log.length - committed + 1)
      }
      if (hardState !== before.hardState || before.log.length === 0) {
        entries.push(encodeHardState(shard, hardState.term, hardState.vote))
      }
      for (let count = installing ? 0 : this.#random.below(4); count > 0; count--) {
        const entry = this.#next(shard, log, hardState.term)
        log.push(entry)
        entries.push(entry)
      }
      // A log that only got shorter is no event of Raft: truncation happens by writing.
      const shorter = log.length < before.log.length && log.at(-1) === before.log[log.length - 1]
      state.set(shard, { log: shorter ? before.log : log, hardState })
    }
    this.#call(state, entries)
  }

  #next(shard: number, log: readonly Entry[], term: number): Entry {
    const bytes = this.#random.below(12) === 0 ? this.#random.below(30_000) : this.#random.below(400)
    return follow(shard, log.at(-1) ?? null, term, this.#random.bytes(bytes), this.#random.below(3))
  }

  #call(state: State, entries: readonly Entry[]): void {
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
      if (this.#installing.has(shard)) continue
      const durable = this.#history[this.#acknowledged]!.get(shard)?.log ?? []
      const now = this.#logNow(shard)
      let common = 0
      while (common < durable.length && common < now.length && durable[common] === now[common]) common++
      const from = this.#committed.get(shard) ?? 0
      if (common <= from) continue
      const to = from + 1 + this.#random.below(common - from)
      for (let index = from; index < to; index++) this.#logOf(shard).append(now[index]!)
      this.#committed.set(shard, to)
    }
  }

  /** What a leader of a later term has, beyond what is committed here; our own tail may be shorter or longer than it. */
  #install(): void {
    const shard = SHARDS[this.#random.below(SHARDS.length)]!
    if (this.#installing.has(shard)) return
    const state: State = new Map(this.#history.at(-1)!)
    const { log: before, hardState } = state.get(shard) ?? { log: [], hardState: { term: 0, vote: 0 } }
    const committed = this.#committed.get(shard) ?? 0
    const term = hardState.term + 1
    const log = before.slice(0, committed + this.#random.below(before.length - committed + 1))
    for (let count = 1 + this.#random.below(12); count > 0; count--) log.push(this.#next(shard, log, term))
    const vote = this.#random.below(3)
    state.set(shard, { log: before, hardState: { term, vote } })
    this.#call(state, [encodeHardState(shard, term, vote)])
    const call = this.#history.length - 1
    this.#installing.set(shard, { log, call })
    // A driver whose votes are behind loses none by it.
    const snapshot = { ...this.#checkpointOf(shard, log, log.length), ...(vote === 0 ? { term: 0, vote: 0 } : {}) }
    const { [this.#random.below(log.length)]: kept } = log
    this.#storage.installSnapshot({ ...snapshot, startIndex: kept!.index, startOffset: kept!.firstOffset }, (error) => {
      assert(error === null, () => `${error?.message}`)
      assert(this.#acknowledged >= call, 'installed before what was appended earlier is durable')
      for (const after of this.#history.slice(this.#acknowledged))
        after.set(shard, { log, hardState: after.get(shard)!.hardState })
      this.#installing.delete(shard)
      this.#committed.set(shard, log.length)
      this.#start.set(shard, log.length + 1)
      const { writtenIndex, lastIndex, firstIndex, firstOffset } = this.#logOf(shard)
      assert(writtenIndex === log.length && lastIndex === log.length, 'the log stands at the snapshot')
      assert(firstIndex === log.length + 1 && firstOffset === snapshot.nextOffset, 'and begins behind it')
      this.counts.installs++
    })
  }

  #readBack(): void {
    for (const shard of SHARDS) {
      const committed = this.#committed.get(shard) ?? 0
      const log = this.#logNow(shard)
      if (committed === 0) continue
      const files = this.#logOf(shard)
      const at = 1 + this.#random.below(committed)
      const below = (code: string | undefined, expected: string): boolean => {
        if (code === undefined) return false
        assert(code === expected && at < files.firstIndex, () => `${code}: shard ${shard} from ${at}`)
        return true
      }
      const cut = at < files.firstIndex
      files.readFromIndex(at, 1 + this.#random.below(5000), (error, entries) => {
        if (below(error?.code, 'BELOW_LOG_START')) return
        assert(!cut, 'an entry below the start was read')
        assert(entries.length > 0, 'a committed entry was not found')
        for (const { index, crc } of entries) assert(crc === log[index - 1]!.crc, () => `shard ${shard} index ${index}`)
        assert(entries[0]!.index === at, () => `shard ${shard}: read from ${at} gave ${entries[0]!.index}`)
      })
      const { firstOffset, recordCount } = log[at - 1]!
      files.readFromOffset(firstOffset, 1, (error, entries) => {
        if (error?.code === 'BELOW_LOG_START' && at < files.firstIndex) return
        if (below(error?.code, 'OFFSET_BELOW_LOG_START')) return
        if (recordCount > 0) assert(entries[0]?.crc === log[at - 1]!.crc, () => `shard ${shard} offset ${firstOffset}`)
      })
    }
  }

  #logNow(shard: number): readonly Entry[] {
    return this.#history.at(-1)!.get(shard)?.log ?? []
  }

  #logOf(shard: number): ShardLog {
    return this.#storage.openShardLog(shard)
  }

  #open(): Storage {
    const outcome = this.#world.tryOpen()
    if (outcome instanceof Error) throw outcome
    this.#storage = outcome
    const found = new Map<number, Found>()
    for (const [shard, { term, vote, checkpoint, entries }] of outcome.recovered) {
      const files = outcome.openShardLog(shard)
      const anchor = { index: checkpoint?.index ?? 0, crc: checkpoint?.crc ?? 0 }
      const covered = this.#covered(files, anchor.index)
      const hardState = { term, vote }
      found.set(shard, { hardState, start: files.firstIndex, entries: [...covered, ...entries], anchor })
      this.#noLitter(shard, files)
    }
    const at = this.#history.findIndex((state, call) => call >= this.#acknowledged && this.#same(found, state, call))
    assert(at >= 0, () => `what was recovered is no state from call ${this.#acknowledged} on: ${this.#describe(found)}`)
    const recovered: State = new Map()
    for (const [shard, { hardState, start, anchor }] of found) {
      const log = this.#logsAt(shard, at).find((one) => isLog(found.get(shard)!, one))!
      recovered.set(shard, { log, hardState })
      // What is in the shard log was committed, so no leader will ever replace it.
      this.#committed.set(shard, Math.max(anchor.index, this.#logOf(shard).writtenIndex))
      this.#start.set(shard, start)
    }
    this.#history = [recovered]
    this.#acknowledged = 0
    this.#installing.clear()
    outcome.setCheckpointSource({
      // Any subset will do: what lags too long is captured without being named.
      activeShards: () => SHARDS.filter(() => this.#random.below(2) === 0),
      capture: (shard) => this.#capture(shard),
      tail: (shard) => this.#logNow(shard).slice(this.#committed.get(shard) ?? 0),
    })
    return outcome
  }

  #capture(shard: number): ShardCheckpoint {
    assert(!this.#installing.has(shard), 'asked for a state that is about to be replaced')
    const index = this.#committed.get(shard) ?? 0
    const log = this.#logNow(shard)
    let startIndex = this.#start.get(shard) ?? 1
    if (this.#random.below(3) === 0) {
      startIndex += this.#random.below(index + 2 - startIndex)
      this.#start.set(shard, startIndex)
      this.counts.cuts++
    }
    // A driver that has forgotten moves nothing back.
    if (this.#random.below(4) === 0) startIndex = 1 + this.#random.below(startIndex)
    const before = log[startIndex - 2]
    const startOffset = before === undefined ? 0 : before.firstOffset + before.recordCount
    return { ...this.#checkpointOf(shard, log, index), startIndex, startOffset }
  }

  #checkpointOf(shard: number, log: readonly Entry[], index: number): ShardCheckpoint {
    const entry = index === 0 ? null : log[index - 1]!
    return {
      shard,
      ...(this.#history.at(-1)!.get(shard)?.hardState ?? { term: 0, vote: 0 }),
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
  }

  /** The part of the log that the checkpoint covers, from the shard's files. */
  #covered(files: ShardLog, through: number): Entry[] {
    const { firstIndex } = files
    assert(files.writtenIndex >= through, 'the shard log reaches to the checkpoint')
    assert(
      firstIndex <= (this.#start.get(files.shard) ?? 1) || this.#installing.has(files.shard),
      'more was cut than asked',
    )
    const log: Entry[] = []
    while (firstIndex + log.length <= through) {
      const more = this.#world.await<Entry[]>((done) => files.readFromIndex(firstIndex + log.length, 10_000, done))
      assert(more.length > 0, 'a covered entry was not found')
      log.push(...more)
    }
    log.length = Math.max(0, through - firstIndex + 1)
    return log
  }

  /** After an opening the folder holds nothing that lies wholly below the start. */
  #noLitter(shard: number, { firstIndex }: ShardLog): void {
    if (!this.#world.list('/data/shards').includes(`${shard}`)) return
    const names = this.#world.list(`/data/shards/${shard}`)
    const firsts = names.map(segmentNumberIn).filter((first) => first !== null)
    assert(firsts.length < 2 || firsts[1]! > firstIndex, () => `start ${firstIndex} and still ${names.join(', ')}`)
  }

  /** What the shard's log may be after that call. */
  #logsAt(shard: number, call: number): (readonly Entry[])[] {
    const logs = [this.#history[call]!.get(shard)?.log ?? []]
    const pending = this.#installing.get(shard)
    return pending !== undefined && call >= pending.call ? [...logs, pending.log] : logs
  }

  #same(found: ReadonlyMap<number, Found>, state: State, call: number): boolean {
    for (const shard of SHARDS) {
      const is = found.get(shard) ?? NOTHING
      if (!this.#logsAt(shard, call).some((log) => isLog(is, log))) return false
      // A checkpoint may carry a hard state that the journal lost again: it may be ahead, never behind.
      const [have, had] = [found.get(shard)?.hardState, state.get(shard)?.hardState]
      if (had !== undefined && (have === undefined || have.term < had.term)) return false
      if (had !== undefined && have!.term === had.term && had.vote !== 0 && have!.vote !== had.vote) return false
    }
    return true
  }

  #describe(found: ReadonlyMap<number, Found>): string {
    const lines = [...found].map(
      ([shard, { start, entries, hardState, anchor }]) =>
        `${shard}: ${start}+${entries.length} after ${anchor.index} term ${hardState.term}`,
    )
    const expected = this.#history
      .slice(this.#acknowledged)
      .map((one) => [...one].map(([s, { log, hardState }]) => `${s}:${log.length}/${hardState.term}`).join(','))
    const pending = [...this.#installing].map(([s, { log, call }]) => `${s}:${log.length} from call ${call}`)
    return `${lines.join('; ')} expected one of ${expected.join(' | ')} or ${pending.join(', ')}`
  }
}

const NOTHING: Found = { hardState: { term: 0, vote: 0 }, start: 1, entries: [], anchor: { index: 0, crc: 0 } }

/** The same up to the end, as far as the files reach down. */
function isLog({ start, entries, anchor }: Found, log: readonly Entry[]): boolean {
  if (log.length !== start - 1 + entries.length || (log[anchor.index - 1]?.crc ?? 0) !== anchor.crc) return false
  return entries.every(({ index, crc }, i) => index === start + i && crc === log[index - 1]!.crc)
}
