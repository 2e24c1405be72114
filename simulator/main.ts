/**
 * `npm run simulate`: many seeds, or one again, or the mutants, or what can be looked at exhaustively.
 *
 *     npm run simulate -- --seeds 300               regressions, then seeds 1 to 300, on all cores
 *     npm run simulate -- --seed 96 --verbose       one seed, with its whole timeline
 *     npm run simulate -- --mutants                 every deliberately broken cluster must be found out
 *
 * Exit code 1: a promise was broken, or a mutant was not found.
 */
import { huntMutants } from './mutants/report.ts'
import { ArgumentsEnd, type Options, parseArguments } from './runner/arguments.ts'
import { campaign } from './runner/campaign.ts'
import { tryGraphs, tryOrders } from './runner/exhaustive.ts'
import { replayFile, replaySeed } from './runner/replay.ts'

async function run(options: Options): Promise<number> {
  if (options.mutants) return huntMutants(options)
  if (options.graphs) return tryGraphs(options)
  if (options.explore) return tryOrders(options)
  if (options.regression !== undefined) return replayFile(options.regression, options)
  if (options.seed !== undefined) return replaySeed(options.seed, options)
  return campaign(options)
}

try {
  process.exitCode = await run(parseArguments(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof ArgumentsEnd)) throw error
  const stream = error.exitCode === 0 ? process.stdout : process.stderr
  stream.write(error.message)
  process.exitCode = error.exitCode
}
