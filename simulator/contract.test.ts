/** The simulated clock and randomness keep the same contracts as the real ones: only then does a green run mean anything. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clockContract } from '../src/platform/contract/clock.ts'
import { diskContract } from '../src/platform/contract/disk.ts'
import { memoryDiskUnderTest, memoryNetworkUnderTest } from '../src/platform/contract/memory.ts'
import { networkContract } from '../src/platform/contract/network.ts'
import { randomContract } from '../src/platform/contract/random.ts'
import { SeededRandom } from './seeded-random.ts'
import { VirtualClock, virtualDrive } from './virtual-clock.ts'

clockContract('virtual clock', () => {
  const clock = new VirtualClock()
  return { clock, drive: virtualDrive(clock) }
})

randomContract('seeded random', () => new SeededRandom(1))

diskContract('memory disk on virtual time', async () => {
  const clock = new VirtualClock()
  return memoryDiskUnderTest({ clock, drive: virtualDrive(clock), random: new SeededRandom('disk') })
})

networkContract('memory network on virtual time', async () => {
  const clock = new VirtualClock()
  const random = new SeededRandom('network')
  return memoryNetworkUnderTest(
    { clock, drive: virtualDrive(clock), random },
    { latencyMs: () => 0.2 + random.below(300) / 1000 },
  )
})

test('seeded random: the same seed gives the same numbers, sites do not disturb each other', () => {
  const chancePermille = (): number => 500
  const one = new SeededRandom(7, { chancePermille })
  const two = new SeededRandom(7, { chancePermille })
  for (let i = 0; i < 50; i++) two.chance('elsewhere')
  const draws = (random: SeededRandom) => Array.from({ length: 50 }, () => [random.below(1000), random.chance('here')])
  assert.deepEqual(draws(one), draws(two))
})

test('virtual clock: an hour passes in no time, in the order (time, sequence)', () => {
  const clock = new VirtualClock()
  const order: string[] = []
  clock.after(3_600_000, () => order.push('hour'))
  clock.after(1, () => order.push('a'))
  clock.after(1, () => order.push('b'))
  clock.after(0.5, () => clock.endOfTurn(() => order.push('end of turn')))
  clock.advance(3_600_000)
  assert.deepEqual(order, ['end of turn', 'a', 'b', 'hour'])
  assert.equal(clock.now(), 3_600_000)
  assert.equal(clock.nextMs, null)
})
