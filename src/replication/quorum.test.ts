import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../stdx/index.ts'
import { Configuration } from './configuration.ts'
import { agreed, ballot, majorityAgreed, majorityBallot } from './quorum.ts'

/** Sort, and take the one that a majority is not below: nobody can get this wrong. */
function dumbAgreed(values: readonly number[]): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY
  return [...values].sort((a, b) => b - a)[Math.floor(values.length / 2)]!
}

/** Try every way in which those who have not voted yet could vote. */
function dumbBallot(votes: readonly (boolean | undefined)[]): string {
  if (votes.length === 0) return 'won'
  const outcomes = new Set<boolean>()
  for (let bits = 0; bits < 1 << votes.length; bits++) {
    const complete = votes.map((vote, i) => vote ?? (bits & (1 << i)) !== 0)
    outcomes.add(complete.filter(Boolean).length * 2 > votes.length)
  }
  if (outcomes.size === 2) return 'open'
  return outcomes.has(true) ? 'won' : 'lost'
}

test('quorum: what a majority has reached', () => {
  const at = (values: number[]): number =>
    majorityAgreed(
      values.map((_, i) => i + 1),
      { of: (node) => values[node - 1]! },
    )
  assert.equal(at([5]), 5)
  assert.equal(at([5, 3]), 3)
  assert.equal(at([12, 7, 3]), 7)
  assert.equal(at([9, 9, 2, 1]), 2)
  assert.equal(at([0, Number.NEGATIVE_INFINITY, 8]), 0)
  assert.equal(at([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 8]), Number.NEGATIVE_INFINITY)
  assert.equal(at([]), Number.POSITIVE_INFINITY)
})

test('quorum: equals its dumb twin on random values and votes, in single and joint configurations', () => {
  const random = new Prng('quorum')
  for (let round = 0; round < 3000; round++) {
    const voters = Array.from({ length: 1 + random.below(7) }, (_, i) => i + 1)
    const outgoing = Array.from({ length: random.below(6) }, (_, i) => i + 1 + random.below(4)).filter(
      (n, i, all) => all.indexOf(n) === i,
    )
    const configuration = new Configuration(voters, [], outgoing)
    const values = new Map(configuration.members.map((node) => [node, random.below(5)]))
    const of = (node: number): number => values.get(node)!
    const expected = Math.min(dumbAgreed(voters.map(of)), dumbAgreed(outgoing.map(of)))
    assert.equal(agreed(configuration, { of }), expected)

    const votes = new Map<number, boolean>()
    for (const node of configuration.members) if (random.below(3) > 0) votes.set(node, random.below(2) === 0)
    const first = dumbBallot(voters.map((node) => votes.get(node)))
    assert.equal(majorityBallot(voters, votes), first)
    const second = dumbBallot(outgoing.map((node) => votes.get(node)))
    const both = first === 'lost' || second === 'lost' ? 'lost' : first === 'won' && second === 'won' ? 'won' : 'open'
    assert.equal(ballot(configuration, votes), both)
  }
})
