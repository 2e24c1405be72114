/** The command line says what it takes, and refuses what makes no sense in one line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ArgumentsEnd, parseArguments } from './arguments.ts'

function refused(...argv: string[]): string {
  try {
    parseArguments(argv)
  } catch (error) {
    if (!(error instanceof ArgumentsEnd)) throw error
    assert.equal(error.exitCode, 1)
    return error.message
  }
  throw new Error(`${argv.join(' ')} was taken`)
}

test('without arguments: twenty seeds of everything, on all cores', () => {
  const options = parseArguments([])
  assert.equal(options.seeds, 20)
  assert.equal(options.from, 1)
  assert.equal(options.profile, 'all')
  assert.equal(options.shrink, true)
  assert.equal(options.regressions, true)
  assert.ok(options.workers >= 1)
})

test('what is given is taken', () => {
  const options = parseArguments(
    '--seeds 300 --from 7 --hours 0.5 --profile network --workers 3 --results r.jsonl --resume --no-shrink'.split(' '),
  )
  assert.deepEqual([options.seeds, options.from, options.hours, options.profile], [300, 7, 0.5, 'network'])
  assert.deepEqual([options.workers, options.results, options.resume, options.shrink], [3, 'r.jsonl', true, false])
  assert.deepEqual(parseArguments(['--mutants', '--only', 'a', 'b']).only, ['a', 'b'])
})

test('numbers must be numbers', () => {
  assert.match(refused('--seeds', 'many'), /whole number/)
  assert.match(refused('--seeds', '-3'), /whole number/)
  assert.match(refused('--seed', '1.5'), /whole number/)
  assert.match(refused('--workers', '0'), /at least 1/)
  assert.match(refused('--hours', '0'), /above 0/)
  assert.match(refused('--hours', 'x'), /above 0/)
  assert.match(refused('--commit', 'main'), /commit hash/)
})

test('names must be known', () => {
  assert.match(refused('--profile', 'weather'), /Allowed choices are all/)
  assert.match(refused('--speed'), /unknown option/)
  assert.match(refused('7'), /too many arguments/)
  assert.match(refused('--seeds'), /argument missing/)
})

test('options that need another one say which', () => {
  assert.match(refused('--resume'), /--results/)
  assert.match(refused('--only', 'lying-sync'), /--mutants/)
  assert.match(refused('--medians'), /--mutants/)
  assert.match(refused('--seed', '1', '--regression', 'x.json'), /not both/)
})

test('help is no error', () => {
  assert.throws(
    () => parseArguments(['--help']),
    (error) => error instanceof ArgumentsEnd && error.exitCode === 0 && /--seeds <N>/.test(error.message),
  )
})
