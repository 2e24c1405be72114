/** The page's arithmetic, which needs no browser: rates, states of replicas, what is said and what happened. */
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { ClusterNodeStatus, ClusterStatus, Counters, ShardStatus } from './status.ts'

interface Picture {
  readonly nodes: readonly { readonly state: string; readonly rates: Counters | null }[]
  readonly topics: readonly {
    readonly name: string
    readonly highWatermark: number
    readonly rate: number | null
    readonly partitions: readonly Row[]
  }[]
  readonly metadata: readonly Row[]
  readonly totals: { readonly rates: Counters; readonly held: number; readonly recordsPerSync: number | null }
  readonly problems: readonly { readonly severity: string; readonly text: string }[]
}

interface Row {
  readonly rate: number | null
  readonly state: string
  readonly inFlight: number
  readonly series: { readonly points: readonly unknown[] }
  readonly replicas: readonly { readonly node: number; readonly state: string }[]
}

interface PageModel {
  observe(status: ClusterStatus, at: number): Picture
}

async function load<T>(file: string): Promise<T> {
  return (await import(pathToFileURL(resolve('dashboard', file)).href)) as T
}

const { Model } = await load<{ Model: new () => PageModel }>('model.js')
const { momentsBetween } = await load<{
  momentsBetween(before: Picture | null, after: Picture): { severity: string; text: string }[]
}>('moments.js')

function node(
  id: number,
  changes: Partial<ClusterNodeStatus> = {},
  counters: Partial<Counters> = {},
): ClusterNodeStatus {
  return {
    node: id,
    up: true,
    kafka: '',
    http: null,
    peer: '',
    rack: null,
    uptimeMs: 10_000,
    memoryBytes: 1,
    disk: null,
    leads: 1,
    replicas: 1,
    journal: null,
    files: null,
    counters: {
      recordsIn: 0,
      bytesIn: 0,
      recordsOut: 0,
      bytesOut: 0,
      journalSyncs: 0,
      journalBytes: 0,
      kafkaConnections: 0,
      ...counters,
    },
    ...changes,
  }
}

/** Journals reach what `journaled` says, per node from 1; null: no answer. */
function shard(changes: Partial<ShardStatus> = {}, journaled: readonly (number | null)[] = [50, 50, 50]): ShardStatus {
  return {
    shard: 16,
    topic: 'orders',
    partition: 0,
    leader: 1,
    term: 2,
    startOffset: 0,
    highWatermark: 100,
    endOffset: 100,
    storedBytes: 512,
    startMovedBy: null,
    startHeldBy: null,
    replicas: journaled.map((index, i) => ({
      node: i + 1,
      role: index === null ? 'unknown' : i === 0 ? 'leader' : 'follower',
      journaledIndex: index,
      commitIndex: index,
      lag: index === null ? null : Math.max(0, 50 - index),
    })),
    ...changes,
  }
}

function cluster(nodes: readonly ClusterNodeStatus[], shards: readonly ShardStatus[]): ClusterStatus {
  return { cluster: 'c', controller: 1, nodes, shards }
}

const UP = [node(1), node(2), node(3)]
const texts = (picture: Picture) => picture.problems.map(({ text }) => text)

test('rates are differences by the uptime of the node, not by when the answer came', () => {
  const model = new Model()
  const first = model.observe(cluster([node(1, { uptimeMs: 1000 }, { recordsIn: 500 })], []), 0)
  assert.equal(first.nodes[0]!.rates, null)
  const later = cluster([node(1, { uptimeMs: 3000 }, { recordsIn: 2500, journalSyncs: 20 })], [])
  const second = model.observe(later, 900)
  assert.equal(second.nodes[0]!.rates!.recordsIn, 1000)
  assert.equal(second.totals.rates.recordsIn, 1000)
  assert.equal(second.totals.recordsPerSync, 100)
  assert.equal(model.observe(later, 1000).nodes[0]!.rates!.recordsIn, 1000, 'the same report twice says nothing new')
})

test('a node that was restarted, or did not answer, has no rate until it was seen twice', () => {
  const model = new Model()
  model.observe(cluster([node(1, { uptimeMs: 9000 }, { recordsIn: 500 })], []), 0)
  const restarted = model.observe(cluster([node(1, { uptimeMs: 100 }, { recordsIn: 3 })], []), 1000)
  assert.equal(restarted.nodes[0]!.rates, null)
  const silent = model.observe(cluster([node(1, { uptimeMs: null, counters: null })], []), 2000)
  assert.deepEqual([silent.nodes[0]!.state, silent.nodes[0]!.rates], ['silent', null])
  assert.match(texts(silent)[0]!, /Node 1 did not answer/)
})

test('topics: totals, the rate of the mark, internal topics last, the metadata shard apart', () => {
  const model = new Model()
  const at = (mark: number) =>
    cluster(UP, [
      shard({ shard: 1, topic: null, partition: null }),
      shard({ shard: 16, topic: '__internal' }),
      shard({
        shard: 17,
        topic: 'orders',
        partition: 1,
        startOffset: 40,
        highWatermark: 90 + mark,
        endOffset: 95 + mark,
      }),
      shard({ shard: 18, topic: 'orders', partition: 0, highWatermark: 100 + mark, endOffset: 100 + mark }),
    ])
  model.observe(at(0), 0)
  const picture = model.observe(at(30), 2000)
  assert.deepEqual(
    picture.topics.map(({ name }) => name),
    ['orders', '__internal'],
  )
  const orders = picture.topics[0]!
  assert.deepEqual([orders.highWatermark, orders.rate], [250, 30])
  assert.deepEqual(
    orders.partitions.map(({ rate, inFlight }) => [rate, inFlight]),
    [
      [15, 0],
      [15, 5],
    ],
  )
  assert.equal(picture.metadata.length, 1)
  assert.equal(picture.totals.held, 130 + 80 + 100)
  assert.deepEqual(picture.problems, [])
})

test('behind is who lacks what was committed at the look before; what is on its way does not count', () => {
  const model = new Model()
  model.observe(cluster(UP, [shard({}, [50, 50, 40])]), 0)
  const picture = model.observe(cluster(UP, [shard({}, [60, 51, 45])]), 1000)
  assert.deepEqual(
    picture.topics[0]!.partitions[0]!.replicas.map(({ state }) => state),
    ['leader', 'ok', 'behind'],
  )
  assert.deepEqual(texts(picture), [
    'Node 3 is behind on 1 shard, by 5 entries on orders/0. It is catching up, or it cannot keep up.',
  ])
})

test('a node that is down and partitions without a leader are said, the metadata shard by name', () => {
  const nodes = [node(1), node(2, { up: false, counters: null, uptimeMs: null }), node(3)]
  const shards = [
    shard({ shard: 1, topic: null, partition: null, leader: null }, [50, null, 50]),
    shard({ leader: null }, [50, null, 50]),
  ]
  const picture = new Model().observe(cluster(nodes, shards), 0)
  assert.deepEqual(
    picture.problems.map(({ severity }) => severity),
    ['bad', 'bad', 'bad'],
  )
  assert.match(
    texts(picture).join('\n'),
    /Node 2 is down.*\n.*metadata shard has no leader.*\n1 partition has no leader.*orders\/0/,
  )
  assert.equal(picture.topics[0]!.partitions[0]!.state, 'leaderless')
  assert.equal(picture.topics[0]!.partitions[0]!.replicas[1]!.state, 'down')
})

test('disks that are low or stuck, and damaged logs, are said as tidemark status says them', () => {
  const disk = { freeBytes: 5, totalBytes: 100, reserveBytes: 10, low: null, stuckMs: 0 }
  const damage = { shard: 16, file: '/d/1.log', position: 4, reason: 'a sum', unrepaired: null }
  const files = { found: 2, repaired: 0, rewritten: 0, scrub: { bytesPerSecond: 1, bytes: 0, passes: 0 } }
  const failed = { ...damage, shard: 17, unrepaired: 'entries 1 to 9: node 2 has no entry 1' }
  const nodes = [
    node(1, { disk: { ...disk, low: "node 1's disk has 5 bytes left" } }),
    node(2, { disk: { ...disk, stuckMs: 61_000 }, files: { ...files, damages: [damage] } }),
    node(3, { disk, files: { ...files, damages: [damage, failed] } }),
  ]
  const { problems } = new Model().observe(cluster(nodes, [shard()]), 0)
  assert.deepEqual(
    problems.map(({ severity, text }) => [severity, text]),
    [
      ['bad', "Node 1's disk has 5 bytes left."],
      ['bad', 'Node 2’s disk has not answered a journal write for 1 min 1 s: the node leads nothing until it does.'],
      [
        'warn',
        'Node 2: the log of shard 16 is damaged at byte 4 of /d/1.log (a sum), it is being repaired from the other replicas.',
      ],
      [
        'bad',
        'Node 3: the log of shard 17 is damaged at byte 4 of /d/1.log (a sum), not repaired: entries 1 to 9: node 2 has no entry 1; 1 more damaged.',
      ],
    ],
  )
  const well = new Model().observe(cluster([node(1, { disk, files: { ...files, damages: [] } })], []), 0)
  assert.deepEqual(well.problems, [])
})

test('two minutes are kept, and nothing of another cluster or of a deleted topic', () => {
  const model = new Model()
  let picture = model.observe(cluster(UP, [shard()]), 0)
  for (let second = 1; second <= 300; second++) picture = model.observe(cluster(UP, [shard()]), second * 1000)
  assert.ok(picture.topics[0]!.partitions[0]!.series.points.length <= 124)
  assert.equal(model.observe(cluster(UP, []), 301_000).topics.length, 0)
  assert.equal(model.observe(cluster(UP, [shard()]), 302_000).topics[0]!.rate, null)
  const other = model.observe({ ...cluster(UP, [shard({ highWatermark: 1 })]), cluster: 'd' }, 303_000)
  assert.equal(other.topics[0]!.rate, null)
})

test('moments: a failover in words, many partitions in one line', () => {
  const model = new Model()
  const partitions = (leader: number | null) =>
    Array.from({ length: 9 }, (_, i) => shard({ shard: 16 + i, partition: i, leader, term: 3 }))
  const before = model.observe(cluster(UP, partitions(2)), 0)
  const down = [node(1), node(2, { up: false, counters: null, uptimeMs: null }), node(3)]
  const during = model.observe(cluster(down, partitions(null)), 1000)
  const after = model.observe(cluster(UP, [...partitions(3), shard({ shard: 40, topic: 'new', leader: 3 })]), 2000)
  const said = (a: Picture | null, b: Picture) => momentsBetween(a, b).map(({ text }) => text)
  assert.deepEqual(said(null, before), [])
  assert.deepEqual(said(before, before), [])
  assert.deepEqual(said(before, during), [
    'Node 2 went down',
    'Node 2 no longer leads orders/0, orders/1, orders/2 and 6 more: no leader',
  ])
  assert.deepEqual(said(during, after), [
    'Node 2 is back',
    'Node 3 was elected for orders/0, orders/1, orders/2 and 6 more',
    'Created: new',
  ])
  assert.deepEqual(
    said(after, model.observe(cluster(UP, [shard({ shard: 40, topic: 'new', leader: 1, term: 9 })]), 3000)),
    ['Leadership of new/0 went from node 3 to node 1 (term 9)', 'Deleted: orders'],
  )
})
