import { scenarioOf } from './scenario.ts'
import { simulate } from './simulation.ts'

const seed = Number(process.argv[2] ?? 1)
const n = Number(process.argv[3] ?? 1)
const profile = (process.argv[4] ?? 'all') as 'all'
for (let s = seed; s < seed + n; s++) {
  const t = performance.now()
  const r = await simulate(scenarioOf(s, profile))
  console.log(
    s,
    r.scenario.nodes,
    r.violation?.property ?? 'ok',
    r.violation?.message?.slice(0, 600) ?? '',
    r.hash.slice(0, 12),
    Math.round(r.simulatedMs),
    'ms',
    r.events,
    'events',
    r.acknowledged,
    'acked',
    r.fetched,
    'fetched',
    r.elections,
    'el',
    r.crashes,
    'crashes',
    JSON.stringify([...r.faults]),
    Math.round(performance.now() - t),
    'ms real',
  )
  if (r.violation && n === 1) console.log(r.timeline.slice(-60).join('\n'))
}
