/**
 * Hunts mutants: seed after seed in the broken tree, until a checker says that something is wrong, and the same seed in the tree
 * as it is says nothing.
 *
 * As many hunts at a time as there are cores, each with one process that runs one seed after the other, because most mutants are
 * found within the first few. Seeds are the same for all mutants; with medians, each is hunted from five starting points, and the
 * number of seeds that half of the hunts needed says how well the simulator sees this kind of defect.
 */
import { fork } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Options } from '../runner/arguments.ts'
import { type Job, OWN_PROPERTY } from '../runner/job.ts'
import { Pool } from '../runner/pool.ts'
import { median } from '../runner/tally.ts'
import { isPatch } from './catalogue.ts'
import type { Mutant } from './mutant.ts'
import { buildTree, type PatchedTree } from './patch.ts'

/** Far enough from each other that no hunt meets another's seeds. */
const STARTS = [0, 10_000, 20_000, 30_000, 40_000]
/** Of real time, on a machine that others use too. A mutant may well hang: that is an answer as well. */
const TIMEOUT_MS = 240_000

export interface Hunt {
  /** Seeds up to the one that found it; null: missed within the limit. */
  readonly seeds: number | null
  readonly seed: number | null
  readonly property: string | null
  readonly message: string | null
}

export interface Catch {
  readonly mutant: Mutant
  readonly hunts: readonly Hunt[]
  /** Of the hunts that found it; null: none did. */
  readonly medianSeeds: number | null
  readonly found: boolean
}

export async function huntAll(
  mutants: readonly Mutant[],
  options: Options,
  done: (caught: Catch) => void,
): Promise<Catch[]> {
  const caught: Catch[] = []
  const left = [...mutants]
  const hunter = async (): Promise<void> => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const one = await hunt(mutant, options)
      caught.push(one)
      done(one)
    }
  }
  await Promise.all(Array.from({ length: options.workers }, hunter))
  return mutants.map((mutant) => caught.find((each) => each.mutant === mutant)!)
}

async function hunt(mutant: Mutant, options: Options): Promise<Catch> {
  const tree = isPatch(mutant) ? buildTree(mutant) : null
  const hunts: Hunt[] = []
  try {
    if (mutant.attack?.by !== undefined) hunts.push(await huntByCheck(mutant.attack.by, tree!))
    else {
      const starts = options.medians ? STARTS : STARTS.slice(0, 1)
      for (const start of starts) hunts.push(await huntFrom(options.from + start, mutant, tree, options))
    }
  } finally {
    tree?.remove()
  }
  const found = hunts.flatMap(({ seeds }) => (seeds === null ? [] : [seeds]))
  return {
    mutant,
    hunts,
    medianSeeds: found.length === 0 ? null : median(hunts.map(({ seeds }) => seeds ?? Number.POSITIVE_INFINITY)),
    found: found.length === hunts.length,
  }
}

async function huntFrom(from: number, mutant: Mutant, tree: PatchedTree | null, options: Options): Promise<Hunt> {
  const { attack } = mutant
  const pool = new Pool({ workers: 1, timeoutMs: TIMEOUT_MS, ...(tree === null ? {} : { entry: tree.entry }) })
  const control = new Pool({ workers: 1, timeoutMs: TIMEOUT_MS })
  try {
    for (let seeds = 1; seeds <= options.limit; seeds++) {
      const seed = from + seeds - 1
      const job: Job = {
        seed,
        profile: attack?.profile ?? options.profile,
        durationMs: options.duration,
        ...(attack?.options === undefined ? {} : { options: attack.options }),
      }
      const { violation } = await pool.run(tree === null ? { ...job, interference: mutant.name } : job)
      if (violation === null) continue
      // A seed that fails without the defect as well says nothing about it.
      if ((await control.run(job)).violation !== null) continue
      return { seeds, seed, property: violation.property, message: violation.message }
    }
    return { seeds: null, seed: null, property: null, message: null }
  } finally {
    pool.close()
    control.close()
  }
}

/** The exhaustive checks are a command line of their own, in the broken tree and in this one. */
async function huntByCheck(check: 'graphs' | 'explore', tree: PatchedTree): Promise<Hunt> {
  const broken = await runCheck(check, tree.main)
  const own = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url))
  if (broken === null || (await runCheck(check, own)) !== null)
    return { seeds: null, seed: null, property: null, message: null }
  return { seeds: 1, seed: null, property: `--${check}`, message: broken }
}

/** What it complained of at last; null when it found nothing. */
function runCheck(check: 'graphs' | 'explore', main: string): Promise<string | null> {
  return new Promise((resolve) => {
    const child = fork(main, [`--${check}`], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    let said = ''
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (text: Buffer) => {
        said = (said + text.toString()).slice(-2000)
      })
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), 3 * TIMEOUT_MS)
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0) resolve(null)
      else resolve(code === null ? OWN_PROPERTY.ends : (said.trim().split('\n').at(-1) ?? ''))
    })
  })
}
