import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HashRing, ringHash } from './hash-ring.ts'

/** The dumb twin: no search, no arrays of points, only the definition of a ring. */
function dumbWalk(members: readonly string[], virtualNodes: number, key: string): string[] {
  const circle = 2 ** 48
  const from = ringHash(key)
  const distance = (member: string): number =>
    Math.min(...Array.from({ length: virtualNodes }, (_, i) => (ringHash(`${member}#${i}`) - from + circle) % circle))
  return [...new Set(members)].sort((a, b) => distance(a) - distance(b))
}

const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,6}$/), { minLength: 1, maxLength: 8 })

test('a walk meets every member in the order of the distance to its nearest point', () => {
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 16 }), fc.string(), (members, virtualNodes, key) => {
      const ring = new HashRing(members, virtualNodes)
      const walk = ring.walk(key)
      assert.deepEqual(walk, dumbWalk(members, virtualNodes, key))
      assert.equal(ring.owner(key), walk[0])
    }),
    { numRuns: 200 },
  )
})

test('the order in which members are named does not matter', () => {
  fc.assert(
    fc.property(names, fc.string(), (members, key) => {
      assert.deepEqual(new HashRing(members, 8).walk(key), new HashRing([...members].reverse(), 8).walk(key))
    }),
    { numRuns: 50 },
  )
})

const KEYS = Array.from({ length: 4000 }, (_, i) => `key-${i}`)
const MEMBERS = Array.from({ length: 10 }, (_, i) => String(i + 1))

test('a new member takes about K/n keys and no key moves between old members', () => {
  const before = new HashRing(MEMBERS)
  const after = new HashRing([...MEMBERS, '11'])
  const moved = KEYS.filter((key) => before.owner(key) !== after.owner(key))
  for (const key of moved) assert.equal(after.owner(key), '11')
  const fair = KEYS.length / 11
  assert.ok(moved.length > fair * 0.6 && moved.length < fair * 1.4, `${moved.length} moved, ${fair} is fair`)
})

test('a member that leaves gives its keys away and nobody else moves', () => {
  const before = new HashRing(MEMBERS)
  const after = new HashRing(MEMBERS.filter((member) => member !== '4'))
  for (const key of KEYS) if (before.owner(key) !== '4') assert.equal(after.owner(key), before.owner(key))
})

test('the bound holds, and with it a new member still moves few keys', () => {
  const load = (assigned: Map<string, string>): Map<string, number> => {
    const counts = new Map<string, number>()
    for (const member of assigned.values()) counts.set(member, (counts.get(member) ?? 0) + 1)
    return counts
  }
  const slack = 0.25
  const before = new HashRing(MEMBERS).assignBounded(KEYS, slack)
  const after = new HashRing([...MEMBERS, '11']).assignBounded(KEYS, slack)
  assert.ok(Math.max(...load(before).values()) <= Math.ceil((KEYS.length * 1.25) / 10))
  assert.ok(Math.max(...load(after).values()) <= Math.ceil((KEYS.length * 1.25) / 11))
  const moved = KEYS.filter((key) => before.get(key) !== after.get(key)).length
  assert.ok(moved < (2 * KEYS.length) / 11, `${moved} moved`)
})

test('no slack means perfect balance', () => {
  fc.assert(
    fc.property(names, fc.uniqueArray(fc.string(), { maxLength: 60 }), (members, keys) => {
      const assigned = new HashRing(members, 16).assignBounded(keys, 0)
      assert.equal(assigned.size, keys.length)
      for (const member of members) {
        const held = [...assigned.values()].filter((owner) => owner === member).length
        assert.ok(held <= Math.ceil(keys.length / members.length))
      }
    }),
    { numRuns: 50 },
  )
})
