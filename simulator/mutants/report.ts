/** `npm run simulate -- --mutants`: chooses mutants, hunts them, and says how each was found. */
import { writeFileSync } from 'node:fs'
import { table } from '../../src/cli/print.ts'
import { ArgumentsEnd, type Options } from '../runner/arguments.ts'
import { currentCommit } from '../runner/commit.ts'
import { print } from '../runner/report.ts'
import type { Fault, Scenario } from '../scenario/scenario.ts'
import { inRotation, isPatch, MUTANTS } from './catalogue.ts'
import { type Catch, huntAll } from './hunt.ts'
import type { Attack, Mutant } from './mutant.ts'
import { bookOf, leftToHunt } from './results.ts'

export async function huntMutants(options: Options): Promise<number> {
  const chosen = choose(options)
  const left = leftToHunt(chosen, options)
  if (left.length < chosen.length) print(`simulate: ${chosen.length - left.length} mutants were found before`)
  const enter = bookOf(options)
  const startedAt = performance.now()
  const caught = await huntAll(left, options, (one) => {
    enter(one)
    const { name } = one.mutant
    process.stderr.write(
      `  ${one.found ? 'found ' : 'MISSED'} ${name}${one.medianSeeds === null ? '' : ` (${one.medianSeeds} seeds)`}\n`,
    )
  })
  const seconds = (performance.now() - startedAt) / 1000
  print(tableOf(caught))
  const missed = caught.filter(({ found }) => !found)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(caught.map(line), null, 2)}\n`)
  print(
    `\nsimulate: ${caught.length - missed.length} of ${caught.length} mutants found (${seconds.toFixed(0)} s)${missed.length > 0 ? `, MISSED: ${missed.map(({ mutant }) => mutant.name).join(', ')}` : ''}`,
  )
  return missed.length > 0 ? 1 : 0
}

function choose({ only, rotate, commit }: Options): readonly Mutant[] {
  const unknown = only.filter((name) => !MUTANTS.some((mutant) => mutant.name === name))
  if (unknown.length > 0) {
    const names = MUTANTS.map(({ name }) => name).join(', ')
    throw new ArgumentsEnd(1, `error: no mutant is named ${unknown.join(', ')}; there are ${names}\n`)
  }
  const named = only.length > 0 ? MUTANTS.filter(({ name }) => only.includes(name)) : MUTANTS
  if (rotate === undefined) return named
  const findable = named.filter(({ elusive }) => elusive === undefined)
  return inRotation(rotate, commit ?? currentCommit(), findable)
}

function tableOf(caught: readonly Catch[]): string {
  return table(caught, [
    { title: 'mutant', value: ({ mutant }) => mutant.name },
    { title: 'trap', value: ({ mutant }) => mutant.trap },
    { title: 'kind', value: ({ mutant }) => (isPatch(mutant) ? 'patch' : 'interference') },
    { title: 'seeds', right: true, value: ({ medianSeeds, found }) => (found ? `${medianSeeds}` : 'MISSED') },
    {
      title: 'found by',
      value: ({ hunts }) => [...new Set(hunts.flatMap(({ property }) => property ?? []))].join('; '),
    },
    { title: 'attack', value: ({ mutant }) => describeAttack(mutant.attack) },
  ])
}

function describeAttack(attack: Attack | undefined): string {
  if (attack === undefined) return ''
  const { called, by, profile } = attack
  const parts = [by === undefined ? '' : `--${by}`, profile === undefined ? '' : `profile ${profile}`]
  parts.push(called ?? describeOptions(attack.options ?? {}))
  return parts.filter((part) => part !== '').join(', ')
}

function describeOptions({ faults, ...others }: Partial<Scenario>): string {
  const parts = faults === undefined ? [] : [`${faults.length} faults: ${kindsOf(faults)}`]
  if (Object.keys(others).length > 0) parts.push(JSON.stringify(others))
  return parts.join(', ')
}

function kindsOf(faults: readonly Fault[]): string {
  return [...new Set(faults.map(({ kind }) => kind))].join(', ')
}

function line({ mutant, hunts, medianSeeds, found }: Catch): object {
  const { name, trap, breaks, attack } = mutant
  return {
    name,
    trap,
    breaks,
    kind: isPatch(mutant) ? 'patch' : 'interference',
    attack: attack ?? null,
    found,
    medianSeeds,
    hunts,
  }
}
