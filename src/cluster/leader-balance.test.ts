import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BALANCE_INTERVAL_MS, CALM_MS, LeaderBalance, RETRY_AFTER_MS } from './leader-balance.ts'

interface Scene {
  readonly balance: LeaderBalance
  readonly transfers: [shard: number, to: number][]
  readonly led: Map<number, number>
  readonly up: Set<number>
  readonly behind: Set<number>
}

/** Node 1; `led` is shard → preferred node. A transfer succeeds at once unless `stubborn`. */
function scene(led: [number, number][], stubborn = false): Scene {
  const transfers: [number, number][] = []
  const map = new Map(led)
  const up = new Set([1, 2, 3])
  const behind = new Set<number>()
  const balance = new LeaderBalance(0, {
    self: 1,
    led: () => [...map].map(([shard, preferred]) => ({ shard, preferred })),
    isUp: (node) => up.has(node),
    isCaughtUp: (shard) => !behind.has(shard),
    transfer: (shard, to) => {
      transfers.push([shard, to])
      if (!stubborn) map.delete(shard)
    },
  })
  return { balance, transfers, led: map, up, behind }
}

function run({ balance }: Scene, from: number, until: number): void {
  for (let now = from; now <= until; now += 100) balance.tick(now)
}

test('one at a time, in calm, until everybody leads what is theirs', () => {
  const world = scene([
    [16, 2],
    [17, 3],
    [18, 1],
    [19, 2],
  ])
  run(world, 0, CALM_MS - 100)
  assert.deepEqual(world.transfers, [])
  run(world, CALM_MS, CALM_MS + BALANCE_INTERVAL_MS - 100)
  assert.deepEqual(world.transfers, [[16, 2]])
  run(world, CALM_MS + BALANCE_INTERVAL_MS, CALM_MS + 10 * BALANCE_INTERVAL_MS)
  assert.deepEqual(world.transfers, [
    [16, 2],
    [17, 3],
    [19, 2],
  ])
  assert.deepEqual([...world.led], [[18, 1]])
})

test('not to a node that is down or behind', () => {
  const world = scene([
    [16, 2],
    [17, 3],
  ])
  world.up.delete(2)
  world.behind.add(17)
  run(world, 0, 20_000)
  assert.deepEqual(world.transfers, [])
  world.behind.clear()
  run(world, 20_100, 20_900)
  assert.deepEqual(world.transfers, [], 'caught up for a while first')
  run(world, 21_000, 22_000)
  assert.deepEqual(world.transfers, [[17, 3]])
})

test('whoever comes or goes stops it for a while', () => {
  const world = scene([[16, 2]])
  run(world, 0, CALM_MS - 100)
  world.balance.disturbed(CALM_MS - 50)
  run(world, CALM_MS, 2 * CALM_MS - 100)
  assert.deepEqual(world.transfers, [])
  run(world, 2 * CALM_MS, 2 * CALM_MS)
  assert.equal(world.transfers.length, 1)
})

test('a transfer that does not happen is not repeated every second, and keeps no other from its turn', () => {
  const world = scene(
    [
      [16, 2],
      [17, 3],
    ],
    true,
  )
  run(world, 0, CALM_MS + 5 * BALANCE_INTERVAL_MS)
  assert.deepEqual(world.transfers, [
    [16, 2],
    [17, 3],
  ])
  run(world, CALM_MS + 6 * BALANCE_INTERVAL_MS, CALM_MS + RETRY_AFTER_MS + 5 * BALANCE_INTERVAL_MS)
  assert.equal(world.transfers.length, 4)
})
