/**
 * Real time and real randomness, made to throw for as long as simulated events run.
 *
 * Injection is what keeps them out; this only proves that it does. The simulator's own loop, and whoever measures how fast
 * it runs, use them in between.
 */
import { AssertionFailed } from '../src/stdx/index.ts'

export function withoutRealTime(run: () => void): void {
  const { Date: RealDate, Math: math, performance, setTimeout, setInterval, setImmediate } = globalThis
  const [dateNow, random, performanceNow] = [RealDate.now, math.random, performance.now]
  const trap = (name: string) => (): never => {
    throw new AssertionFailed(
      `${name} was reached from inside the simulation: everything real comes through the platform`,
    )
  }
  RealDate.now = trap('Date.now')
  math.random = trap('Math.random')
  performance.now = trap('performance.now')
  Object.assign(globalThis, {
    setTimeout: trap('setTimeout'),
    setInterval: trap('setInterval'),
    setImmediate: trap('setImmediate'),
  })
  try {
    run()
  } finally {
    RealDate.now = dateNow
    math.random = random
    performance.now = performanceNow
    Object.assign(globalThis, { setTimeout, setInterval, setImmediate })
  }
}
