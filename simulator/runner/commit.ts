/** Which commit runs here, and which seeds are its own. */
import { spawnSync } from 'node:child_process'

/** Seeds of commits lie above all that people choose by hand. */
const FIRST_SEED = 1_000_000
const RANGES = 1_000_000
const RANGE_SEEDS = 1000
/** Changes that cannot change what a seed does. */
const WHAT_COUNTS = ['src', 'simulator', 'package.json', 'package-lock.json', 'tsconfig.json']

/** `unknown` outside a repository. */
export function currentCommit(): string {
  const head = spawnSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' })
  if (head.status !== 0) return 'unknown'
  const status = spawnSync('git', ['status', '--porcelain', '--', ...WHAT_COUNTS], { encoding: 'utf8' })
  return `${head.stdout.trim()}${status.status === 0 && status.stdout === '' ? '' : '-changed'}`
}

/** A number from a commit's name: the same for everybody who has the commit, and nobody chose it. */
export function numberOf(commit: string): number {
  return /^[0-9a-f]{8}/.test(commit) ? Number.parseInt(commit.slice(0, 8), 16) : 0
}

/** The first of the commit's own seeds: every commit tries others, and each can be replayed from its name. */
export function firstSeedOf(commit: string): number {
  return FIRST_SEED + (numberOf(commit) % RANGES) * RANGE_SEEDS
}
