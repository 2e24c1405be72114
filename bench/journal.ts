/**
 * `bench journal`: the journal against a bare loop (bare-loop.ts) on the same disk, in one process, slice about slice.
 *
 * A ratio of two figures that were taken in turn says something on a machine that others use too; either figure alone does not.
 * Each round is one slice of each, and the one that goes first changes. What is compared is how long a call and what follows
 * until the next one take, the quicker half on both sides; `raw` is the quotient of the two rates with everything in.
 */
import fs from 'node:fs'
import path from 'node:path'
import { BareLoop } from './bare-loop.ts'
import { BenchStorage, makeRing } from './bench-storage.ts'
import { quantile, runSlice, type Slice, undisturbedMean } from './closed-loop.ts'
import { measureShards } from './journal-shards.ts'
import type { Row } from './produce.ts'

export const JOURNAL_BAR = 0.9
const SEGMENT_BYTES = 64 << 20
/** Of a second each. */
const SHARD_ROUNDS = 5

export interface JournalBenchOptions {
  readonly directory: string
  readonly seconds: number
  readonly rounds: number
  readonly shards: readonly number[]
  readonly progress: (text: string) => void
}

export interface JournalReport {
  readonly rows: Row[]
  readonly shardRows: Row[]
  /** What is below its bar, in words. */
  readonly missed: string[]
}

interface Load {
  readonly name: string
  readonly writers: number
  readonly payloadBytes: number
  readonly pauseMs: number
}

/** WRITERSxBYTES, with a pause in ms after each answer where there is one. */
const LOADS = ['1x100x2', '1x100', '16x100', '256x100', '16x16384']

function parseLoad(name: string): Load {
  const [writers, payloadBytes, pauseMs = 0] = name.split('x').map(Number)
  if (!(writers! > 0 && payloadBytes! > 0 && pauseMs >= 0)) throw new Error(`${name} is not WRITERSxBYTES[xPAUSE-MS]`)
  return { name, writers: writers!, payloadBytes: payloadBytes!, pauseMs }
}

export async function benchJournal(loads: readonly string[], options: JournalBenchOptions): Promise<JournalReport> {
  const directory = fs.mkdtempSync(path.join(options.directory, 'tidemark-bench-journal-'))
  try {
    const { rows, missed } = await compare(directory, (loads.length > 0 ? loads : LOADS).map(parseLoad), options)
    if (options.shards.length === 0) return { rows, shardRows: [], missed }
    const shards = await measureShards(path.join(directory, 'nodes'), {
      ...options,
      seconds: 1,
      rounds: SHARD_ROUNDS,
    })
    return { rows, shardRows: shards.rows, missed: [...missed, ...shards.missed] }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

interface Sample extends Slice {
  readonly syncs: number
  readonly writes: number
}

async function compare(
  directory: string,
  loads: readonly Load[],
  options: JournalBenchOptions,
): Promise<{ rows: Row[]; missed: string[] }> {
  options.progress('preparing')
  const bare = new BareLoop({ directory: path.join(directory, 'bare'), segmentBytes: SEGMENT_BYTES })
  const storage = await BenchStorage.open(path.join(directory, 'node'), SEGMENT_BYTES)
  await storage.settle()
  const rows: Row[] = []
  const missed: string[] = []
  for (const load of loads) {
    const ring = makeRing(1, load.payloadBytes)
    let at = 0
    const slice = { writers: load.writers, seconds: options.seconds, pauseMs: load.pauseMs }
    const sampleBare = async (): Promise<Sample> => {
      const before = bare.syncs
      const result = await runSlice(bare, { ...slice, next: () => ring[at++ % ring.length]! })
      const syncs = bare.syncs - before
      return { ...result, syncs, writes: syncs }
    }
    const sampleJournal = async (): Promise<Sample> => {
      const { syncs, writes } = storage.disk.counts.journal
      const blocks = storage.syncs
      const result = await runSlice(storage, { ...slice, next: () => storage.next(load.payloadBytes) })
      const journal = storage.disk.counts.journal
      // Where segments are prepared meanwhile, their files are written too; a block is one write and one sync.
      const extra = journal.syncs - syncs - (storage.syncs - blocks)
      return { ...result, syncs: storage.syncs - blocks, writes: journal.writes - writes - extra }
    }
    const pairs: { bare: Sample; journal: Sample }[] = []
    for (let round = 0; round <= options.rounds; round++) {
      if (round % 10 === 0) options.progress(`${load.name}: round ${round} of ${options.rounds}`)
      const first = round % 2 === 0 ? await sampleBare() : null
      const journal = await sampleJournal()
      // The first round warms up.
      if (round > 0) pairs.push({ bare: first ?? (await sampleBare()), journal })
    }
    const { row, ratio } = summary(load, pairs)
    rows.push(row)
    if (ratio < JOURNAL_BAR) missed.push(`${load.name}: ${percent(ratio)} of the bare loop`)
    if (load.pauseMs > 0 && (row['records/sync'] !== 1 || row['calls/sync'] !== 2))
      missed.push(
        `${load.name}: ${row['records/sync']} records per sync and ${row['calls/sync']} calls of the disk, not 1 and 2`,
      )
  }
  await storage.close()
  bare.close()
  return { rows, missed }
}

function summary(load: Load, pairs: readonly { bare: Sample; journal: Sample }[]): { row: Row; ratio: number } {
  const [bare, journal] = [merged(pairs.map((pair) => pair.bare)), merged(pairs.map((pair) => pair.journal))]
  // At rest between two records it is not the rate that counts but how long one waits.
  const times = ({ latenciesMs, cyclesMs }: Sample): number[] => (load.pauseMs > 0 ? latenciesMs : cyclesMs)
  const ratio = undisturbedMean(times(bare)) / undisturbedMean(times(journal))
  const per = ({ records, seconds }: Sample): number => records / seconds
  const rounded = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits
  return {
    ratio,
    row: {
      'writers x bytes': load.name,
      'bare/s': Math.round(per(bare)),
      'journal/s': Math.round(per(journal)),
      raw: percent(per(journal) / per(bare)),
      ratio: percent(ratio),
      'records/sync': rounded(journal.records / journal.syncs, 1),
      'calls/sync': rounded((journal.syncs + journal.writes) / journal.syncs, 3),
      'bare p50 ms': rounded(quantile(bare.latenciesMs, 0.5), 3),
      'p50 ms': rounded(quantile(journal.latenciesMs, 0.5), 3),
      'bare p99 ms': rounded(quantile(bare.latenciesMs, 0.99), 3),
      'p99 ms': rounded(quantile(journal.latenciesMs, 0.99), 3),
    },
  }
}

function merged(samples: readonly Sample[]): Sample {
  const sum = (pick: (sample: Sample) => number): number => samples.reduce((all, sample) => all + pick(sample), 0)
  return {
    records: sum(({ records }) => records),
    seconds: sum(({ seconds }) => seconds),
    syncs: sum(({ syncs }) => syncs),
    writes: sum(({ writes }) => writes),
    latenciesMs: samples.flatMap(({ latenciesMs }) => latenciesMs),
    cyclesMs: samples.flatMap(({ cyclesMs }) => cyclesMs),
  }
}

export function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)} %`
}
