/**
 * Bits flipped in every region of every kind of file of one node, one at a time, and what becomes of each.
 *
 *     a directory ── flip ──► start, or go on ──► read all ──► scrub ──► repair from a peer ──► read all, scrub again
 *
 * The directory is real: the product's storage layer wrote it. The peer is the log itself, which the test has in memory: what any
 * other replica would send, without a cluster that would have to be started five thousand times. (The simulator does that for
 * fewer flips, in whole clusters.) After each flip
 *
 *     what a read answers is what was written, or an error that names the file: never anything else
 *     what the node says of its shards (term, vote, entries) is what was promised
 *     in the end every file of the logs holds what it held, and a scrub finds nothing
 *
 * No start is ever refused. (That a replica which `recovers` never counts as holding what it lost is for the simulator and for
 * src/replication/recovering.test.ts.)
 */
import { Prng } from '../../src/stdx/index.ts'
import type { ShardCheckpoint } from '../../src/storage/checkpoint-format.ts'
import {
  clean,
  FLOOR,
  historyOf,
  LEFT,
  offsetsIn,
  sentBelowFloor,
  takePart,
} from '../../src/storage/compacted-harness.test.ts'
import { type Entry, EntryKind, payloadOf } from '../../src/storage/entry.ts'
import { chain, checkpointAt, World } from '../../src/storage/harness.test.ts'
import { encodeHardState, StorageError } from '../../src/storage/index.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  blockFootprint,
  peekBlockHeader,
} from '../../src/storage/journal-format.ts'
import { damagesIn, flip, repairAll, scrub } from '../../src/storage/repair-harness.test.ts'
import type { RecoveredShard } from '../../src/storage/replay.ts'
import type { ShardLog } from '../../src/storage/shard-log.ts'
import type { Storage } from '../../src/storage/storage.ts'

export type Outcome =
  /** Nothing that is written says anything else for it. */
  | 'harmless'
  /** A small file, written again from its copy or from memory. */
  | 'rewritten'
  /** A range of a log, or what compaction has left of one, fetched from the peer. */
  | 'repaired'
  /** Of the journal, below what was promised: the replica has no vote until its leader has given it everything again. */
  | 'recovers'

export type Tally = Record<string, Partial<Record<Outcome, number>>>

export class FlipFailure extends Error {
  override name = 'FlipFailure'
}

interface Region {
  readonly name: string
  readonly path: string
  readonly from: number
  readonly to: number
}

const SHARD = 16
const LOG = chain(SHARD, 44, 700)
/** Up to here the checkpoint's state is applied. */
const COVERED = 36
const TERM = 1
const VOTE = 3
const FOLDER = `/data/shards/${SHARD}`
const OPTIONS = { hasPeers: true, journalSegmentBytes: 64 << 10, shardSegmentBytes: 6 << 10 }
/** Of a segment's header, which a repair makes anew: its sum, and when it was made. */
const HEADER_MAY_DIFFER = [
  [8, 12],
  [40, 48],
] as const

const COMPACTED = 17
const HISTORY = historyOf(COMPACTED)

export type Files = ReadonlyMap<string, Buffer>

export interface Directory {
  readonly files: Files
  /** Below the floor of the compacted log, as any other replica would send it. */
  readonly cleaned: readonly Entry[]
}

/** Killed, so that the journal has what the checkpoint lacks. */
export function directory(): Directory {
  const world = new World('bit flips')
  const storage = world.open(OPTIONS)
  world.await<void>((done) => storage.setClusterId('a cluster of flips', done))
  storage.append([encodeHardState(SHARD, TERM, VOTE)], () => {})
  const log = storage.openShardLog(SHARD)
  const compacted = storage.openShardLog(COMPACTED)
  let covered = 0
  const capture = (shard: number): ShardCheckpoint => {
    if (shard === SHARD) return checkpointAt(SHARD, LOG, covered)
    const start = { startIndex: compacted.firstIndex, startOffset: compacted.firstOffset }
    return { ...checkpointAt(COMPACTED, HISTORY, HISTORY.length), ...start }
  }
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) compacted.append(entry)
  world.clock.settle()
  storage.setCheckpointSource({ activeShards: () => [SHARD, COMPACTED], capture })
  for (const entry of LOG.slice(0, COVERED)) {
    storage.append([entry], () => {})
    log.append(entry)
    world.clock.settle()
  }
  covered = COVERED
  storage.checkpoint()
  world.clock.settle()
  clean(compacted)
  world.clock.settle()
  const cleaned = sentBelowFloor(world, compacted)
  for (const entry of LOG.slice(COVERED)) {
    storage.append([entry], () => {})
    world.clock.settle()
  }
  // At rest, so that what was written last has a successor.
  for (let tick = 0; tick < 2; tick++) {
    storage.proveJournalEnd()
    world.clock.settle()
  }
  world.kill()
  const files = world.disk.platter.files('/data')
  return { files: new Map(files.map(({ path }) => [path, world.disk.platter.read(path)])), cleaned }
}

export function regionsOf(files: Files): Region[] {
  const regions: Region[] = []
  const add = (name: string, path: string, from: number, to: number): void => {
    if (to > from) regions.push({ name, path, from, to })
  }
  for (const [path, bytes] of files) {
    const name = path.slice(path.lastIndexOf('/') + 1)
    if (path.includes('/journal/')) {
      add('journal: header', path, 0, 64)
      add('journal: rest of the header page', path, 64, BLOCK_ALIGNMENT)
      let at = BLOCK_ALIGNMENT
      for (let block = peekBlockHeader(bytes, at); block !== null; block = peekBlockHeader(bytes, at)) {
        const end = at + BLOCK_HEADER_BYTES + block.bodyBytes
        add('journal: block header', path, at, at + BLOCK_HEADER_BYTES)
        add('journal: block body', path, at + BLOCK_HEADER_BYTES, end)
        at += blockFootprint(block.bodyBytes)
        add('journal: padding', path, end, at)
        if (at >= bytes.length) break
      }
      add('journal: unused', path, at, bytes.length)
    } else if (name.endsWith('.log') || name.endsWith('.cleaned')) {
      const kind = name.endsWith('.log') ? 'segment' : 'cleaned segment'
      add(`${kind}: header`, path, 0, 64)
      for (let at = 64; at < bytes.length; at += bytes.readUInt32LE(at)) {
        add(`${kind}: entry header`, path, at, at + 64)
        add(`${kind}: entry payload`, path, at + 64, at + bytes.readUInt32LE(at))
      }
    } else if (name.endsWith('.index') || name.endsWith('.sparse')) {
      const kind = name.endsWith('.index') ? 'index' : 'cleaned index'
      add(`${kind}: header`, path, 0, 72)
      add(`${kind}: points`, path, 72, bytes.length)
    } else if (name.startsWith('checkpoint')) {
      add(`${name}: header`, path, 0, 64)
      add(`${name}: records`, path, 64, bytes.length)
    } else add(name, path, 0, bytes.length)
  }
  return regions
}

/** As many in each region as in every other one, at random places. */
export function campaign(flips: number, seed: number, progress: (done: number) => void = () => {}): Tally {
  const { files, cleaned } = directory()
  const prng = new Prng(seed)
  const byName = new Map<string, Region[]>()
  for (const region of regionsOf(files)) byName.set(region.name, [...(byName.get(region.name) ?? []), region])
  const names = [...byName.keys()]
  const tally: Tally = {}
  for (let i = 0; i < flips; i++) {
    const name = names[i % names.length]!
    const regions = byName.get(name)!
    const region = regions[prng.below(regions.length)]!
    const at = region.from + prng.below(region.to - region.from)
    const live = prng.below(2) === 0
    const outcome = oneFlip({ files, cleaned }, region.path, at, prng.below(8), live)
    const row = `${name}, ${live ? 'live' : 'at rest'}`
    tally[row] ??= {}
    tally[row][outcome] = (tally[row][outcome] ?? 0) + 1
    if (i % 100 === 99) progress(i + 1)
  }
  return tally
}

export function oneFlip({ files, cleaned }: Directory, path: string, at: number, bit: number, live: boolean): Outcome {
  const where = `bit ${bit} of byte ${at} of ${path}, ${live ? 'live' : 'at rest'}`
  const fail = (what: string): never => {
    throw new FlipFailure(`${where}: ${what}`)
  }
  const world = new World(`${path} ${at}`)
  world.await<void>((done) => world.disk.makeDirectory(FOLDER, done))
  world.await<void>((done) => world.disk.makeDirectory(`/data/shards/${COMPACTED}`, done))
  world.await<void>((done) => world.disk.makeDirectory('/data/journal', done))
  for (const [name, bytes] of files) world.disk.platter.put(name, bytes)
  if (!live) flip(world, path, at, bit)
  const storage = world.tryOpen(OPTIONS)
  if (storage instanceof Error) return fail(`the start is refused: ${storage.message}`)
  const recovered = storage.recovered.get(SHARD)
  const recovers = recovered?.recovering === true
  if (recovers) {
    if (live || !path.includes('/journal/')) fail('it recovers, and had lost nothing')
    if (recovered.term <= TERM || recovered.vote !== 0 || recovered.entries.length > 0)
      fail(`it recovers in term ${recovered.term} with a vote for ${recovered.vote}`)
    const told = world.events.find(({ type }) => type === 'directory-reset')
    // A header that is not one shows as a gap behind the file before.
    if (told?.type !== 'directory-reset' || !told.reason.includes('/data/journal')) fail('no file is named')
    if (
      !world.disk.platter
        .files('/data/quarantine')
        .some((file) => file.path.endsWith(path.slice(path.lastIndexOf('/'))))
    )
      fail('the journal is not in the quarantine')
  } else knows(recovered, fail)
  // The log's files end with the checkpoint; what the journal had beyond it is appended as it is committed again.
  const log = storage.openShardLog(SHARD)
  const compacted = storage.openShardLog(COMPACTED)
  const start = { startIndex: compacted.firstIndex, startOffset: compacted.firstOffset }
  const capture = (shard: number): ShardCheckpoint =>
    shard === SHARD
      ? checkpointAt(SHARD, LOG, COVERED)
      : { ...checkpointAt(COMPACTED, HISTORY, HISTORY.length), ...start }
  storage.setCheckpointSource({ activeShards: () => [], capture })
  world.clock.settle()
  if (live) flip(world, path, at, bit)
  const had = log.lastIndex
  readsRight(world, storage, had, fail)
  compactedReadsRight(world, compacted, cleaned, fail)
  scrub(world, storage)
  let repaired = repairAll(world, storage, SHARD, LOG) + repairAll(world, storage, COMPACTED, HISTORY)
  if (storage.caretaker.lostPart(COMPACTED) !== null) {
    takePart(storage, COMPACTED, cleaned, (part) => storage.caretaker.adoptPart(COMPACTED, part, FLOOR))
    world.clock.settle()
    repaired++
  }
  scrub(world, storage)
  if (damagesIn(storage).length > 0) fail(`it stays damaged: ${damagesIn(storage).join()}`)
  if (!readsRight(world, storage, had, fail)) fail('a read meets damage after the repair')
  if (!compactedReadsRight(world, compacted, cleaned, fail)) fail('a read of what was compacted meets damage after it')
  if (`${offsetsIn(world, compacted)}` !== `${LEFT}`) fail('what compaction has left is not what it was')
  for (const entry of LOG.slice(had)) log.append(entry)
  log.flush()
  world.clock.settle()
  if (!readsRight(world, storage, LOG.length, fail)) fail('a read meets damage after more was written')
  if (world.fatals.length > 0) fail(`the node stops: ${world.fatals[0]!.message}`)
  sameFiles(world, files, fail)
  if (recovers) return 'recovers'
  if (repaired > 0) return 'repaired'
  return world.events.some(({ type }) => type === 'file-repaired') ? 'rewritten' : 'harmless'
}

/** All that was promised. */
function knows(recovered: RecoveredShard | undefined, fail: (what: string) => never): void {
  if (recovered === undefined) return fail('the shard is not there')
  const { term, vote, checkpoint, entries } = recovered
  if (term !== TERM || vote !== VOTE || checkpoint?.index !== COVERED)
    fail(`term ${term}, vote ${vote}, checkpoint at ${checkpoint?.index}`)
  for (const [i, entry] of entries.entries())
    if (!entry.bytes.equals(LOG[COVERED + i]!.bytes)) fail(`entry ${entry.index} is another one`)
  const missing = LOG.length - COVERED - entries.length
  if (missing > 0) fail(`${missing} entries are forgotten`)
}

/** False: some read was answered with an error that names a file. */
function readsRight(world: World, storage: Storage, through: number, fail: (what: string) => never): boolean {
  let whole = true
  const log = storage.openShardLog(SHARD)
  const check = (asked: Entry, error: Error | null, read: readonly Entry[]): void => {
    if (error !== null) {
      whole = false
      if (!(error instanceof StorageError) || !error.message.includes(FOLDER)) fail(`a read fails: ${error.message}`)
      return
    }
    if (read[0]?.index !== asked.index) fail(`entry ${asked.index} is asked for, ${read[0]?.index} comes`)
    for (const entry of read)
      if (!entry.bytes.equals(LOG[entry.index - 1]!.bytes))
        fail(`entry ${entry.index} that is served was never written`)
  }
  for (let i = 0; i < through; i += 3) {
    const asked = LOG[i]!
    if (asked.kind !== EntryKind.data) continue
    log.readFromIndex(asked.index, 2000, (error, read) => check(asked, error, read))
    log.readFromOffset(asked.firstOffset, 1, (error, read) => check(asked, error, read))
    world.clock.settle()
  }
  return whole
}

/** As `readsRight`, below the floor and above. */
function compactedReadsRight(
  world: World,
  log: ShardLog,
  cleaned: readonly Entry[],
  fail: (what: string) => never,
): boolean {
  let whole = true
  const payloads = new Map(
    [...cleaned, ...HISTORY.slice(FLOOR.offset)].map((each) => [each.firstOffset, payloadOf(each)]),
  )
  for (let offset = 0; offset < HISTORY.length; offset += 3) {
    log.readFromOffset(offset, 2000, (error, read) => {
      if (error !== null) {
        whole = false
        if (!(error instanceof StorageError) || !error.message.includes(`/shards/${COMPACTED}/`))
          fail(`a read of what was compacted fails: ${error.message}`)
        return
      }
      if (read[0]?.firstOffset !== LEFT.find((left) => left >= offset))
        fail(`offset ${offset} is asked for, ${read[0]?.firstOffset} comes`)
      for (const entry of read)
        if (!payloadOf(entry).equals(payloads.get(entry.firstOffset) ?? Buffer.alloc(0)))
          fail(`what is served at offset ${entry.firstOffset} was never written`)
    })
    world.clock.settle()
  }
  return whole
}

function sameFiles(world: World, files: Files, fail: (what: string) => never): void {
  const { platter } = world.disk
  for (const [path, before] of files) {
    // A file that holds the start of a log is made anew from there on: of the compacted one's, reading has told enough.
    if (!path.startsWith(`${FOLDER}/`) || !path.endsWith('.log')) continue
    const now = Buffer.from(platter.read(path).subarray(0, before.length))
    for (const [from, to] of HEADER_MAY_DIFFER) before.copy(now, from, from, to)
    if (!now.equals(before)) fail(`${path} is not what it was`)
  }
}
