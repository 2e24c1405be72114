/** What can be tried completely: `--graphs` and `--explore`, a line per case as it ends, and what it amounts to. */
import { count } from '../../src/cli/print.ts'
import { explore } from '../exhaustive/explorer.ts'
import { drawn, ELECTION_TIMEOUT_MS, type GraphResult, runGraphs } from '../exhaustive/graphs.ts'
import { openCore } from '../exhaustive/opened-core.ts'
import { NIGHTLY, QUICK, type Scope } from '../exhaustive/scopes.ts'
import type { Options } from './arguments.ts'
import { print } from './report.ts'

const TIMELINE_LINES = 60

/** All connectivity graphs of three nodes, and with `--nightly` drawn ones of five. */
export async function tryGraphs({ nightly, verbose }: Pick<Options, 'nightly' | 'verbose'>): Promise<number> {
  let failed = 0
  const show = (result: GraphResult): void => {
    if (verbose) print(lineOf(result))
    if (result.violation === null) return
    failed++
    for (const line of result.timeline.slice(verbose ? 0 : -TIMELINE_LINES)) print(`  ${line}`)
    print(`${lineOf(result)}\n  breaks "${result.violation.property}": ${result.violation.message}`)
  }
  const results = await runGraphs({}, show)
  if (nightly) results.push(...(await runGraphs({ nodes: 5 }, show)))
  const served = results.flatMap(({ servedAfterMs }) => (servedAfterMs === null ? [] : [servedAfterMs]))
  served.sort((a, b) => a - b)
  const timeouts = (ms: number): string => (ms / ELECTION_TIMEOUT_MS).toFixed(1)
  print(
    `graphs: ${results.length} cases, ${served.length} served with somebody who reaches a quorum both ways, ` +
      `after ${timeouts(served[served.length >> 1] ?? 0)} election timeouts (median) to ${timeouts(served[served.length - 1] ?? 0)}; ${failed} failed`,
  )
  return failed > 0 ? 1 : 0
}

function lineOf({ graph, hubs, servedAfterMs, heldBack, elections, leaders }: GraphResult): string {
  const not = heldBack ? 'held back' : 'not served'
  const served = servedAfterMs === null ? not : `served after ${Math.round(servedAfterMs)} ms`
  return `${graph.before.padEnd(12)}  ${drawn(graph)}  hubs ${hubs.join(' ') || 'none'}, ${served}, ${elections} elections, led by ${leaders.join(' ') || 'nobody'}`
}

/** The pure core within small bounds, each to its end. */
export async function tryOrders({ nightly }: Pick<Options, 'nightly'>): Promise<number> {
  const core = await openCore()
  const scopes: readonly Scope[] = nightly ? [...QUICK, ...NIGHTLY] : QUICK
  let failed = 0
  for (const { name, bounds } of scopes) {
    const startedAt = performance.now()
    const { exhausted, states, transitions, depth, violation, path } = explore(core, bounds)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    const end = violation === null ? (exhausted ? 'exhausted' : 'GIVEN UP') : 'VIOLATED'
    print(
      `${name.padEnd(46)} ${count(states).padStart(12)} states ${count(transitions).padStart(13)} steps, depth ${String(depth).padStart(4)}, ${end} in ${seconds} s`,
    )
    if (violation === null && exhausted) continue
    failed++
    for (const step of path) print(`  ${step}`)
    if (violation !== null) print(`breaks "${violation.property}": ${violation.message}`)
  }
  return failed > 0 ? 1 : 0
}
