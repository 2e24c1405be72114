/** Cuts a failing scenario down: takes faults away, in ever smaller pieces, for as long as the same property still breaks. */
import type { Scenario } from './scenario.ts'
import { simulate } from './simulation.ts'

export async function shrink(
  scenario: Scenario,
  property: string,
  progress: (faultsLeft: number) => void,
): Promise<Scenario> {
  let best = scenario
  for (let piece = Math.ceil(best.faults.length / 2); piece >= 1; piece = piece === 1 ? 0 : Math.ceil(piece / 2)) {
    for (let at = 0; at < best.faults.length; ) {
      const candidate = { ...best, faults: [...best.faults.slice(0, at), ...best.faults.slice(at + piece)] }
      const { violation } = await simulate(candidate)
      if (violation?.property === property) {
        best = candidate
        progress(best.faults.length)
      } else at += piece
    }
  }
  return best
}
