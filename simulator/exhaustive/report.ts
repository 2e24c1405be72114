/** The two exhaustive checks as commands: a table while they run, one line of summary at the end, 1 if anything is wrong. */
import { type Exploration, explore } from './explorer.ts'
import { drawn, type GraphOptions, type GraphResult, runGraphs } from './graphs.ts'
import { openCore } from './opened-core.ts'
import { NIGHTLY, QUICK, type Scope } from './scopes.ts'

/** Of the longest name of a scope. */
const NAME_WIDTH = 45

export type Print = (line: string) => void

/** Real milliseconds since the start of something, for people. */
function stopwatch(): () => number {
  const startedAt = performance.now()
  return () => performance.now() - startedAt
}

export interface GraphReportOptions extends GraphOptions {
  readonly verbose?: boolean
}

export async function reportGraphs(print: Print, options: GraphReportOptions = {}): Promise<number> {
  const passed = stopwatch()
  print(
    `${'case'.padStart(4)}  ${'before'.padEnd(12)}  ${'who hears whom'.padEnd(options.nodes === 5 ? 48 : 13)}  quorum at  served after  elections  leads`,
  )
  const results = await runGraphs(options, (result, number) => {
    print(graphLine(result, number))
    if (result.violation === null) return
    for (const line of options.verbose === true ? result.timeline : result.timeline.slice(-40)) print(`      ${line}`)
  })
  const bad = results.filter(({ violation }) => violation !== null)
  const served = results.flatMap(({ servedAfterMs }) => servedAfterMs ?? [])
  const heldBack = results.filter((result) => result.heldBack && result.violation === null).length
  const hopeless = results.filter(({ hubs }) => hubs.length === 0)
  const leaderless = hopeless.filter(({ leaders }) => leaders.length === 0).length
  print(
    `graphs: ${results.length} cases in ${(passed() / 1000).toFixed(1)} s: ${served.length} of ${results.length - hopeless.length} with a quorum served${heldBack === 0 ? '' : ` (${heldBack} held back by what others hold)`}, the last after ${Math.round(Math.max(0, ...served))} ms; of ${hopeless.length} without, ${leaderless} without a leader; ${bad.length} violations${bad.length === 0 ? '' : `, first "${bad[0]!.violation!.property}": ${bad[0]!.violation!.message.split('\n')[0]}`}`,
  )
  return bad.length === 0 ? 0 : 1
}

function graphLine(
  { graph, hubs, servedAfterMs, elections, leaders, heldBack, violation }: GraphResult,
  number: number,
): string {
  const cells = [
    String(number).padStart(4),
    graph.before.padEnd(12),
    drawn(graph),
    (hubs.join(' ') || '-').padEnd(9),
    (servedAfterMs === null ? (heldBack ? 'held back' : '-') : `${Math.round(servedAfterMs)} ms`).padStart(12),
    String(elections).padStart(9),
    leaders.join(' ') || '-',
  ]
  return `${cells.join('  ')}${violation === null ? '' : `  VIOLATION of "${violation.property}": ${violation.message.split('\n')[0]}`}`
}

export interface ExploreReportOptions {
  /** Also what takes minutes. */
  readonly nightly?: boolean
}

export async function reportExploration(print: Print, options: ExploreReportOptions = {}): Promise<number> {
  const core = await openCore()
  const passed = stopwatch()
  const scopes: readonly Scope[] = options.nightly === true ? [...QUICK, ...NIGHTLY] : QUICK
  print(
    `${'scope'.padEnd(NAME_WIDTH)}  ${'states'.padStart(10)}  ${'transitions'.padStart(11)}  depth  replica states  committed  seconds`,
  )
  let states = 0
  for (const { name, bounds } of scopes) {
    const scope = stopwatch()
    const result = explore(core, bounds)
    states += result.states
    print(scopeLine(name, result, scope()))
    if (result.violation === null) continue
    for (const [i, step] of result.path.entries()) print(`  ${String(i + 1).padStart(4)}  ${step}`)
    print(`explore: "${name}" breaks "${result.violation.property}": ${result.violation.message}`)
    return 1
  }
  print(
    `explore: ${scopes.length} scopes exhausted, ${states} states in ${(passed() / 1000).toFixed(1)} s, nothing wrong`,
  )
  return 0
}

function scopeLine(name: string, result: Exploration, ms: number): string {
  const { states, transitions, depth, replicaStates, committed } = result
  const numbers = [
    String(states).padStart(10),
    String(transitions).padStart(11),
    String(depth).padStart(5),
    String(replicaStates).padStart(14),
    String(committed).padStart(9),
    (ms / 1000).toFixed(1).padStart(7),
  ]
  return `${name.padEnd(NAME_WIDTH)}  ${numbers.join('  ')}`
}
