/** Checkers of histories: all good ones pass, all bad ones are refused, and a dumb twin that tries every order agrees. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../../src/stdx/index.ts'
import { goodLog, goodRegisters, SHAPE, type Shape } from './good-histories-harness.test.ts'
import { formatHistory, HistoryError, isRefused, type Operation, parseHistory } from './history.ts'
import { checkIndexes } from './index-annotated.ts'
import { checkLinearizable, checkRegisters, REGISTER, type RegisterOperation } from './linearizability.ts'
import { checkLog } from './log-checker.ts'
import { LOG_MUTATIONS } from './log-mutations-harness.test.ts'
import type { Mutation } from './mutations-harness.test.ts'
import { INDEX_MUTATIONS, REGISTER_MUTATIONS } from './register-mutations-harness.test.ts'

const GOOD = 1000
const BAD_EACH = 20

const wrongByValues = (history: readonly Operation[]): boolean => {
  const { violations, exhausted } = checkRegisters(history)
  assert.deepEqual(exhausted, [])
  return violations.length > 0
}
const wrongByIndexes = (history: readonly Operation[]): boolean => checkIndexes(history).length > 0
const wrongLog = (history: readonly Operation[]): boolean => checkLog(history, { finished: true }).length > 0

test(`${GOOD} good histories of registers are accepted, by search and by index`, () => {
  for (let seed = 0; seed < GOOD; seed++) {
    const history = goodRegisters(seed)
    assert.equal(wrongByValues(history), false, `seed ${seed}`)
    assert.deepEqual(checkIndexes(history), [], `seed ${seed}`)
  }
})

test('a client that repeats itself into a void is no riddle', () => {
  const write = (value: string, call: number, answered: boolean): RegisterOperation =>
    ({
      ...{ client: 'c', call, return: answered ? call + 1 : Number.POSITIVE_INFINITY },
      input: { f: 'write', key: 'k', value },
      output: answered ? { f: 'write' } : null,
    }) as unknown as RegisterOperation
  const read = (value: string, call: number): RegisterOperation =>
    ({
      client: 'r',
      call,
      return: call + 1,
      input: { f: 'read', key: 'k' },
      output: { f: 'read', value },
    }) as unknown as RegisterOperation
  const lost = Array.from({ length: 40 }, (_, i) => write('a', i, false))
  const good = [...lost, write('b', 100, true), read('a', 102), write('c', 104, true), read('a', 106)]
  assert.equal(checkLinearizable(good, REGISTER, 10_000).kind, 'linearizable')
  const bad = [...good, write('d', 108, true), read('b', 110)]
  assert.equal(checkLinearizable(bad, REGISTER, 10_000).kind, 'violation')
})

test(`${GOOD} good histories of logs are accepted`, () => {
  for (let seed = 0; seed < GOOD; seed++)
    assert.deepEqual(checkLog(goodLog(seed), { finished: true }), [], `seed ${seed}`)
})

function isRefusedAlways(
  name: string,
  mutation: Mutation,
  good: (seed: number) => Operation[],
  isWrong: (history: readonly Operation[]) => boolean,
): void {
  test(`refused: ${name}`, () => {
    let mutated = 0
    for (let seed = 0; mutated < BAD_EACH; seed++) {
      assert.ok(seed < 20 * BAD_EACH, `only ${mutated} histories have a place for it`)
      const history = mutation(good(seed), new Prng(`${seed}/${name}`))
      if (history === null) continue
      mutated++
      assert.equal(isWrong(history), true, `seed ${seed}`)
    }
  })
}

for (const [name, mutation] of Object.entries(REGISTER_MUTATIONS)) {
  isRefusedAlways(name, mutation, goodRegisters, wrongByValues)
  isRefusedAlways(`${name} (by index)`, mutation, goodRegisters, wrongByIndexes)
}
for (const [name, mutation] of Object.entries(INDEX_MUTATIONS))
  isRefusedAlways(name, mutation, goodRegisters, wrongByIndexes)
for (const [name, mutation] of Object.entries(LOG_MUTATIONS)) isRefusedAlways(name, mutation, goodLog, wrongLog)

test('there are at least thirty ways to be wrong', () => {
  const names = [REGISTER_MUTATIONS, INDEX_MUTATIONS, LOG_MUTATIONS].flatMap((catalogue) => Object.keys(catalogue))
  assert.ok(new Set(names).size >= 30)
})

/** Every order of all operations, unknown ones with and without effect: right and far too slow. */
function existsOrder(left: readonly RegisterOperation[], state: string | null): boolean {
  const known = left.filter((operation) => operation.return !== Number.POSITIVE_INFINITY)
  if (known.length === 0) return true
  return left.some((operation) => {
    if (left.some((other) => other.return < operation.call)) return false
    const after = REGISTER.step(state, operation)
    if (after === undefined) return false
    return existsOrder(
      left.filter((other) => other !== operation),
      after,
    )
  })
}

/** Up to six operations of three clients with few values, so that half of the histories are wrong and none obviously. */
function tinyHistory(prng: Prng): RegisterOperation[] {
  const value = (): string => `${prng.below(3)}`
  return Array.from({ length: 1 + prng.below(6) }, (_, id) => {
    const call = prng.below(12)
    const end = prng.below(6) === 0 ? Number.POSITIVE_INFINITY : call + prng.below(8)
    const lost = end === Number.POSITIVE_INFINITY
    const times = { id, process: `c${id}`, call, return: end }
    const kind = prng.below(lost ? 2 : 3)
    if (kind === 0)
      return { ...times, input: { f: 'write', key: 'k', value: value() }, output: lost ? null : { f: 'write' } }
    if (kind === 1) {
      const expected = prng.below(3) === 0 ? null : value()
      const output = lost ? null : ({ f: 'cas', applied: prng.below(2) === 0 } as const)
      return { ...times, input: { f: 'cas', key: 'k', expected, value: value() }, output }
    }
    return {
      ...times,
      input: { f: 'read', key: 'k' },
      output: { f: 'read', value: prng.below(4) === 0 ? null : value() },
    }
  })
}

test('the search and its dumb twin agree on thousands of tiny histories', () => {
  const prng = new Prng('tiny')
  const verdicts = { linearizable: 0, violation: 0 }
  for (let i = 0; i < 20_000; i++) {
    const history = tinyHistory(prng)
    const { kind } = checkLinearizable(history, REGISTER)
    assert.equal(kind, existsOrder(history, null) ? 'linearizable' : 'violation', formatHistory(history))
    verdicts[kind]++
  }
  assert.ok(verdicts.linearizable > 2000 && verdicts.violation > 2000, JSON.stringify(verdicts))
})

test('a search that runs out of steps has verified nothing', () => {
  const history = goodRegisters(1, { ...SHAPE, keys: 1 })
  assert.deepEqual(checkRegisters(history, 10).exhausted, ['k0'])
  assert.equal(checkRegisters(history, 10).violations.length, 0)
})

test('histories survive being written down', () => {
  for (const history of [goodRegisters(3), goodLog(3)]) assert.deepEqual(parseHistory(formatHistory(history)), history)
})

test('what is no history is refused', () => {
  const call = '{"at":1,"id":1,"process":"c","type":"call","f":"read","key":"k"}'
  for (const text of [
    'nonsense',
    '{"at":1,"type":"call"}',
    `${call}\n${call}`,
    '{"at":1,"id":1,"type":"ok","f":"read","value":null}',
    `${call}\n{"at":0,"id":1,"type":"ok","f":"read","value":null}`,
    `${call}\n{"at":2,"id":1,"type":"ok","f":"write"}`,
    `${call}\n{"at":2,"id":1,"type":"maybe"}`,
  ])
    assert.throws(() => parseHistory(text), HistoryError, text)
  const [lost] = parseHistory(call)
  assert.equal(lost?.return, Number.POSITIVE_INFINITY)
  assert.equal(isRefused(lost!), false)
})

test('long histories are checked in the time that they may take', () => {
  const shape: Shape = { clients: 8, operations: 5000, keys: 10, unknownPermille: 5, refusedPermille: 10 }
  const { exhausted, violations } = checkRegisters(goodRegisters(1, shape))
  assert.deepEqual([exhausted, violations], [[], []])
})
