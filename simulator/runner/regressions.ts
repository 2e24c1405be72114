/** Scenarios that once broke a promise, as files: the whole scenario, since what a seed stands for changes with the generator. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Scenario } from '../scenario/scenario.ts'

export const REGRESSIONS = 'simulator/regressions'

export interface Regression {
  /** What was wrong: to be written by whoever understood it. */
  readonly found: string
  /** The property that it broke. */
  readonly property?: string
  readonly scenario: Scenario
}

export interface NamedRegression extends Regression {
  readonly file: string
}

export function readRegression(path: string): NamedRegression {
  const { found, property, scenario } = JSON.parse(readFileSync(path, 'utf8')) as Regression
  if (typeof scenario?.seed !== 'number') throw new Error(`${path} holds no scenario`)
  return { file: path, found, scenario, ...(property === undefined ? {} : { property }) }
}

/** All of them, by name; they run before anything else, for ever. */
export function readRegressions(directory = REGRESSIONS): NamedRegression[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.json'))
  return names.sort().map((name) => readRegression(join(directory, name)))
}

/** A file that can be moved into the regressions as it is. Returns its path. */
export function writeRegression(directory: string, name: string, regression: Regression): string {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${name}.json`)
  writeFileSync(path, `${JSON.stringify(regression, null, 2)}\n`)
  return path
}
