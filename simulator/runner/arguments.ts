/** The command line of `npm run simulate`. */
import { availableParallelism } from 'node:os'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { Profile } from '../scenario/scenario.ts'
import { DURATION_MS } from '../scenario/swarm.ts'

export interface Options {
  readonly seeds: number
  readonly from: number
  readonly seed?: number
  readonly hours?: number
  readonly profile: Profile
  readonly duration: number
  readonly workers: number
  readonly chunk: number
  readonly results?: string
  readonly resume: boolean
  readonly commitRange: number
  readonly commit?: string
  readonly otherNode?: string
  readonly compareEvery: number
  readonly demandHits: boolean
  readonly keepGoing: boolean
  readonly shrink: boolean
  readonly regressions: boolean
  readonly regression?: string
  readonly failures: string
  readonly mutants: boolean
  readonly only: readonly string[]
  readonly rotate?: number
  readonly medians: boolean
  readonly limit: number
  readonly graphs: boolean
  readonly explore: boolean
  readonly nightly: boolean
  readonly verbose: boolean
  readonly json?: string
}

/** Nothing to run: help was asked for, or something cannot be understood. */
export class ArgumentsEnd extends Error {
  override name = 'ArgumentsEnd'
  readonly exitCode: number

  constructor(exitCode: number, message: string) {
    super(message)
    this.exitCode = exitCode
  }
}

/** As an object, so that the compiler says when one is missing. */
const PROFILES = Object.keys({
  all: 0,
  crash: 0,
  disk: 0,
  network: 0,
  pause: 0,
  clock: 0,
  calm: 0,
  beyond: 0,
} satisfies Record<Profile, 0>)

export function parseArguments(argv: readonly string[]): Options {
  let said = ''
  const say = (text: string): void => {
    said += text
  }
  const program = new Command('npm run simulate --')
    .description('Runs whole clusters on virtual time, each a function of its seed, and checks every promise.')
    .option('--seeds <N>', 'how many seeds, after the regressions', whole, 20)
    .option('--from <N>', 'the first seed', whole, 1)
    .option('--seed <N>', 'this seed alone, twice: its hash must be the same', whole)
    .option('--hours <H>', 'seeds from --from on until so much time has passed', positive)
    .addOption(new Option('--profile <NAME>', 'which faults').choices(PROFILES).default('all'))
    .option('--duration <MS>', 'simulated time with faults', whole, DURATION_MS)
    .option('--workers <N>', 'processes (default: one per core)', atLeastOne, availableParallelism())
    .option('--chunk <N>', 'seeds per line of the results file', atLeastOne, 100)
    .option('--results <FILE>', 'append the tally of every chunk there, or every hunt of a mutant, one JSON line each')
    .option('--resume', 'leave out chunks that held, and mutants that were found, for this commit by that file', false)
    .option('--commit-range <N>', 'so many seeds more, derived from the commit', whole, 0)
    .option('--commit <HASH>', 'another commit than the one that is checked out', hash)
    .option('--other-node <PATH>', 'a second Node.js: the hashes of compared seeds must be the same there')
    .option('--compare-every <N>', 'run every so-manieth seed twice', atLeastOne, 100)
    .option('--demand-hits', 'fail when something that is known was never hit', false)
    .option('--keep-going', 'do not stop at the first violation', false)
    .option('--no-shrink', 'do not cut a failing seed down')
    .option('--no-regressions', 'do not run the regressions first')
    .option('--regression <FILE>', 'replay one scenario from a file, twice')
    .option('--failures <DIR>', 'where shrunk scenarios of failing seeds are written', 'dist/failures')
    .option('--mutants', 'run the deliberately broken clusters: each must be found', false)
    .option('--only <NAMES...>', 'only these mutants', [])
    .option('--rotate <N>', 'only so many mutants, chosen by the commit', atLeastOne)
    .option('--medians', 'find each mutant from five starting points', false)
    .option('--limit <N>', 'seeds after which a mutant counts as missed', atLeastOne, 100)
    .option('--graphs', 'all 64 ways in which three nodes can hear each other', false)
    .option('--explore', 'the pure core, exhaustively, in a small scope', false)
    .option('--nightly', 'with --graphs and --explore: larger scopes', false)
    .option('--verbose', 'the whole timeline of a failing seed', false)
    .option('--json <FILE>', 'write the tally there')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: say, writeErr: say })
    .addHelpText(
      'after',
      '\nExit code 1: a promise was broken, a mutant was not found, or the arguments make no sense.\n',
    )
  try {
    program.parse([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) throw new ArgumentsEnd(error.exitCode, said)
    throw error
  }
  const options = program.opts<Options>()
  const refuse = (message: string): never => {
    throw new ArgumentsEnd(1, `error: ${message}\n`)
  }
  if (options.resume && options.results === undefined) refuse('--resume reads the file of --results')
  const selects = options.only.length > 0 || options.rotate !== undefined || options.medians
  if (selects && !options.mutants) refuse('--only, --rotate and --medians choose among --mutants')
  if (options.seed !== undefined && options.regression !== undefined) refuse('--seed or --regression, not both')
  return options
}

function whole(text: string): number {
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw new InvalidArgumentError('a whole number is needed.')
  return Number(text)
}

function atLeastOne(text: string): number {
  const number = whole(text)
  if (number < 1) throw new InvalidArgumentError('at least 1 is needed.')
  return number
}

function positive(text: string): number {
  const number = Number(text)
  if (!(number > 0) || !Number.isFinite(number)) throw new InvalidArgumentError('a number above 0 is needed.')
  return number
}

function hash(text: string): string {
  if (!/^[0-9a-f]{8,40}$/.test(text)) throw new InvalidArgumentError('a commit hash of at least 8 digits is needed.')
  return text
}
