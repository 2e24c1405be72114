import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { forEachKeyedChange } from '../records/index.ts'
import { EntryKind, payloadOf } from '../storage/index.ts'
import { World } from './cluster-testing.ts'

const NODES = [1, 2, 3]
const node = fc.constantFrom(...NODES)
const name = fc.constantFrom('a', 'b', 'c', 'd')

type Step =
  | { readonly type: 'create' | 'delete'; readonly at: number; readonly name: string }
  | { readonly type: 'ids'; readonly at: number }
  | { readonly type: 'elect'; readonly at: number; readonly keep: boolean }
  | { readonly type: 'isolate' | 'heal' | 'mute' | 'slow'; readonly at: number }
  | { readonly type: 'stall' | 'resume' | 'wait' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('create' as const), at: node, name }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('delete' as const), at: node, name }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('ids' as const), at: node }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('elect' as const), at: node, keep: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('isolate' as const, 'heal', 'mute', 'slow'), at: node }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('stall' as const, 'resume', 'wait') }) },
)

/** What happens to the cluster in between, and what was asked of it, with the answers. */
function play(steps: readonly Step[]): void {
  const world = new World(NODES)
  world.elect(1)
  let asked = 0
  let answered = 0
  const ids: number[] = []
  const acknowledged: { readonly id: string }[] = []
  let deleted = 0
  const doubtful = { creations: 0, deletions: 0 }
  const leader = (): number | null => NODES.find((id) => world.node(id).replica.standing.role === 'leader') ?? null
  const take = (next: Step): void => {
    switch (next.type) {
      case 'create':
        asked++
        world
          .node(next.at)
          .cluster.createTopics(
            [{ name: next.name, partitions: 2, replicationFactor: -1, configs: {}, validateOnly: false }],
            ([result]) => {
              answered++
              if (result!.error?.code === 'TIMED_OUT') doubtful.creations++
              if (result!.error === null) acknowledged.push({ id: result!.topic!.id })
            },
          )
        break
      case 'delete':
        asked++
        world.node(next.at).cluster.deleteTopics([{ name: next.name, id: null }], ([result]) => {
          answered++
          if (result!.error?.code === 'TIMED_OUT') doubtful.deletions++
          if (result!.error === null) deleted++
        })
        break
      case 'ids':
        asked++
        world.node(next.at).cluster.allocateProducerIds(600, (error, first) => {
          answered++
          if (error === null) for (let i = 0; i < 600; i++) ids.push(first + i)
        })
        break
      case 'elect': {
        const present = leader()
        if (world.cut.has(next.at) || present === next.at) break
        if (present !== null) world.depose(present)
        world.elect(next.at, next.keep)
        break
      }
      case 'isolate':
        // One at a time: a majority stays, and whoever is cut off does not lead.
        if (world.cut.size > 0) break
        if (leader() === next.at) world.depose(next.at)
        world.isolate(next.at)
        break
      case 'heal':
        if (world.cut.has(next.at)) world.heal(next.at)
        break
      case 'mute':
        world.muted.add(next.at)
        break
      case 'slow':
        if (leader() !== next.at) world.slow.add(next.at)
        break
      case 'stall':
        world.stalled = true
        break
      case 'resume':
        world.muted.clear()
        world.resume()
        break
      case 'wait':
        world.clock.advance(700)
        break
    }
  }
  for (const next of steps) {
    take(next)
    if (asked % 3 === 0) world.clock.settle()
  }
  world.muted.clear()
  for (const id of [...world.cut]) world.heal(id)
  world.slow.clear()
  const present = leader()
  if (present !== null) world.depose(present)
  world.elect(2)
  world.resume()
  world.clock.advance(20_000)

  assert.equal(answered, asked, 'every command is answered')
  assert.equal(new Set(ids).size, ids.length, 'no producer id is given twice')
  const views = NODES.map((id) => [...world.node(id).cluster.topics()].sort((a, b) => (a.name < b.name ? -1 : 1)))
  assert.deepEqual(views[0], views[1])
  assert.deepEqual(views[0], views[2])
  const { told } = world.node(3)
  const created = told.filter((line) => line.startsWith('+')).map((line) => line.split('@')[1])
  assert.equal(new Set(created).size, created.length, 'no shard id is used twice')
  const hosted = new Set<string>()
  for (const line of told) {
    if (line.startsWith('+')) hosted.add(line.slice(1))
    if (line.startsWith('-')) assert.ok(hosted.delete(line.slice(1)), `${line} without its addition`)
  }
  const placed = views[0]!.flatMap(({ name: topic, partitions }) =>
    partitions.map(({ shard }, i) => `${topic}/${i}@${shard}`),
  )
  assert.deepEqual([...hosted].sort(), placed.sort(), 'what is open is what is placed')
  const logged = new Set<string>()
  const standing = new Set<string>()
  let removed = 0
  for (const entry of world.log) {
    if (entry.kind !== EntryKind.data) continue
    forEachKeyedChange(payloadOf(entry), (key, value) => {
      if (!key.startsWith('topic/')) return
      if (value === null) {
        assert.ok(standing.delete(key), 'what is removed was there')
        removed++
        return
      }
      const { id } = JSON.parse(value.toString())
      assert.ok(!standing.has(key), 'what is created was not there')
      assert.ok(!logged.has(id), 'nothing is created twice')
      standing.add(key)
      logged.add(id)
    })
  }
  for (const { id } of acknowledged) assert.ok(logged.has(id), 'what was acknowledged is in the log')
  assert.equal(new Set(acknowledged.map(({ id }) => id)).size, acknowledged.length, 'a creation is acknowledged once')
  assert.ok(logged.size <= acknowledged.length + doubtful.creations, 'a creation that was refused has created nothing')
  assert.ok(deleted <= removed, 'each acknowledged deletion has deleted something')
  assert.ok(removed <= deleted + doubtful.deletions, 'a deletion that was refused has deleted nothing')
}

test('whatever fails, every command is answered, ids are unique and all nodes agree', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), play), { numRuns: 150 })
})
