/** The graphs as graphs, and a few of them lived through; the rest is `npm run simulate -- --graphs`. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { casesOf, drawn, hubsOf, runGraphs } from './graphs.ts'

test('all 64 graphs, twice; 37 of them hold a pair that hears each other', () => {
  const cases = casesOf({})
  assert.equal(cases.length, 128)
  assert.equal(new Set(cases.map((graph) => `${graph.before} ${drawn(graph)}`)).size, 128)
  assert.equal(cases.filter((graph) => hubsOf(graph).length > 0).length, 2 * 37)
})

test('who reaches a quorum both ways', () => {
  const graph = (nodes: number, ...open: string[]) => ({ nodes, before: 'no leader' as const, open: new Set(open) })
  assert.deepEqual(hubsOf(graph(3, '1>2', '2>3', '3>1')), [], 'a ring of one-way links connects nobody')
  assert.deepEqual(hubsOf(graph(3, '1>2', '2>1')), [1, 2])
  assert.deepEqual(hubsOf(graph(3, '1>2', '2>1', '2>3', '3>2')), [1, 2, 3])
  assert.deepEqual(
    hubsOf(graph(5, '1>2', '2>1', '2>3', '3>2')),
    [2],
    'of five, a bridge with both its ends is a quorum',
  )
  assert.equal(drawn(graph(3, '1>2', '2>1', '3>1')), '1⇄2  1←3  2 3')
})

test('graphs of five are drawn, and the same from the same seed', () => {
  const cases = casesOf({ nodes: 5, samples: 50, seed: 7 })
  assert.equal(cases.length, 50)
  assert.deepEqual(cases.map(drawn), casesOf({ nodes: 5, samples: 50, seed: 7 }).map(drawn))
  const withHub = cases.filter((graph) => hubsOf(graph).length > 0).length
  assert.ok(withHub > 10 && withHub < 45, `${withHub} of 50 with a quorum`)
})

test('a bridge gets its leader, and one that nobody hears acknowledges nothing', async () => {
  const number = (before: string, text: string): number =>
    casesOf({}).findIndex((graph) => graph.before === before && drawn(graph) === text)
  const only = [
    number('no leader', '1⇄2  1 3  2⇄3'),
    number('stale leader', '1⇄2  1→3  2⇄3'),
    number('stale leader', '1→2  1→3  2→3'),
  ]
  const results = await runGraphs({ only })
  for (const { violation } of results) assert.equal(violation, null, `${violation?.property}: ${violation?.message}`)
  // In the order of the table.
  const [bridge, none, oneWay] = results
  assert.deepEqual(none!.hubs, [])
  assert.ok(bridge!.servedAfterMs! < 10_000 && oneWay!.servedAfterMs! < 10_000)
  assert.equal(none!.servedAfterMs, null)
  assert.deepEqual(none!.leaders, [], 'a leader that no quorum answers gives up')
  const [again] = await runGraphs({ only: only.slice(0, 1) })
  assert.equal(again!.hash, bridge!.hash)
})
