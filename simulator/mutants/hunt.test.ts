/** The hunt itself: it finds a patched tree and an interference, and says so when it finds nothing. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { parseArguments } from '../runner/arguments.ts'
import { inRotation, MUTANTS } from './catalogue.ts'
import { huntAll } from './hunt.ts'
import { buildTree, PatchError, type PatchMutant } from './patch.ts'
import { bookOf, leftToHunt } from './results.ts'

const SHORT = ['--duration', '9000', '--profile', 'crash', '--workers', '2', '--limit']
const named = (name: string) => MUTANTS.find((mutant) => mutant.name === name)!

test('a patch and an interference are found, what breaks nothing is missed', async () => {
  const harmless: PatchMutant = {
    name: 'harmless',
    trap: 'T1',
    breaks: 'nothing at all, which nobody can find',
    edits: [
      {
        file: 'replication/quorum',
        find: 'return Math.floor(count / 2) + 1;',
        replace: 'return 1 + Math.floor(count / 2);',
      },
    ],
  }
  const mutants = [named('lying-sync'), named('follower-acknowledges-memory')]
  const caught = await huntAll(mutants, parseArguments([...SHORT, '10']), () => {})
  caught.push(...(await huntAll([harmless], parseArguments([...SHORT, '1']), () => {})))
  assert.deepEqual(
    caught.map(({ mutant, found }) => [mutant.name, found]),
    [
      ['lying-sync', true],
      ['follower-acknowledges-memory', true],
      ['harmless', false],
    ],
  )
  assert.ok(caught[0]!.medianSeeds !== null && caught[0]!.medianSeeds <= 10)
  assert.equal(caught[2]!.medianSeeds, null)
})

test('hunts are entered as they end, and what was found for this commit is not hunted again', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-hunts-'))
  try {
    const file = join(directory, 'mutants.jsonl')
    const options = (...more: string[]) =>
      parseArguments(['--mutants', '--commit', '12345678', '--results', file, '--resume', ...more])
    const mutants = ['lying-sync', 'torn-order', 'votes-lost'].map(named)
    const hunt = { seeds: 2, seed: 1, property: 'p', message: 'm' }
    assert.deepEqual(leftToHunt(mutants, options()), mutants)
    const enter = bookOf(options())
    enter({ mutant: mutants[0]!, hunts: [hunt], medianSeeds: 2, found: true })
    enter({ mutant: mutants[1]!, hunts: [{ ...hunt, seeds: null }], medianSeeds: null, found: false })
    assert.deepEqual(leftToHunt(mutants, options()), mutants.slice(1))
    for (const other of [['--medians'], ['--limit', '7'], ['--commit', '87654321']])
      assert.deepEqual(leftToHunt(mutants, options(...other)), mutants, other.join(' '))
    assert.equal(JSON.parse(readFileSync(file, 'utf8').split('\n')[0]!).hunts[0].seeds, 2)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('a tree that cannot be patched is refused before anything is copied', () => {
  const edits = [{ file: 'replication/quorum', find: 'not there', replace: '' }]
  assert.throws(() => buildTree({ name: 'x', trap: 'T1', breaks: 'x', edits }), PatchError)
})

test('a patched tree goes when its hunt is over', () => {
  const mutant = named('follower-acknowledges-memory') as PatchMutant
  const tree = buildTree(mutant)
  assert.ok(existsSync(tree.entry) && existsSync(tree.main))
  tree.remove()
  assert.equal(existsSync(dirname(tree.entry)), false)
})

test('the rotation covers all mutants, other ones for every commit', () => {
  const seen = new Set<string>()
  for (let commit = 0; commit < MUTANTS.length; commit++) {
    const chosen = inRotation(5, commit.toString(16).padStart(8, '0'))
    assert.equal(new Set(chosen).size, 5)
    for (const { name } of chosen) seen.add(name)
  }
  assert.equal(seen.size, MUTANTS.length)
})
