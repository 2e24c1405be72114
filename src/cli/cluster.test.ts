/** The commands end to end, against real processes. */
import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import path from 'node:path'
import test from 'node:test'
import type { ClusterStatus } from '../gateways/http/index.ts'
import {
  freePorts,
  type NodePlan,
  type Outcome,
  planCluster,
  Running,
  tidemark,
  untilReady,
  withDirectory,
} from './cli-harness.test.ts'

async function withCluster(
  count: number,
  use: (nodes: NodePlan[], running: Running[], directory: string) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const nodes = await planCluster(directory, count)
    // A slow machine is no failure.
    const running = nodes.map(({ args }) => new Running(args, { timeoutMs: 110_000 }))
    try {
      await untilReady(nodes)
      await use(nodes, running, directory)
    } finally {
      await Promise.all(running.map((one) => one.kill()))
    }
  })
}

function done(outcome: Outcome): Outcome {
  assert.equal(outcome.code, 0, outcome.stdout + outcome.stderr)
  return outcome
}

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('one node: topic, produce, consume, status, for people and as JSON', { timeout: 120_000 }, async () => {
  await withCluster(1, async ([node], [running]) => {
    const brokers = ['--brokers', node!.kafka]
    const json = async (args: string[], input = ''): Promise<Record<string, unknown>[]> =>
      jsonLines(done(await tidemark([...args, ...brokers, '--json'], { input })).stdout)
    assert.match(done(await tidemark(['topic', 'list', ...brokers])).stdout, /no topics yet/)
    assert.deepEqual(
      await json(['topic', 'create', 'orders', '--partitions', '2', '--config', 'cleanup.policy=delete']),
      [{ topic: 'orders', created: true }],
    )
    const again = await tidemark(['topic', 'create', 'orders', ...brokers])
    assert.deepEqual([again.code, /exists already/.test(again.stderr)], [1, true])
    for (const [config, said] of [
      ['min.insync.replicas=3', /topic refused: .*3 .*min\.insync\.replicas.* at most 1/],
      ['compression.type=gzip', /topic refused: .*gzip .*compression\.type.* must be producer/],
      ['retention.ms=soon', /topic refused: .*soon .*retention\.ms.* whole number/],
    ] as const) {
      const refused = await tidemark(['topic', 'create', 'refused', '--config', config, ...brokers])
      assert.equal(refused.code, 1)
      assert.match(refused.stderr, said, 'the setting, the value and the way out')
    }
    assert.deepEqual(await json(['produce', 'orders', '--key-separator', ':'], 'a:1\nb:2\nplain\na:3\n'), [
      { topic: 'orders', records: 4 },
    ])
    assert.match(
      done(await tidemark(['produce', 'orders', '--acks', '1', ...brokers], { input: 'last\n' })).stderr,
      /1 records acknowledged/,
    )

    const [listed, described, byGroup, all] = await Promise.all([
      json(['topic', 'list']),
      json(['topic', 'describe', 'orders']),
      json(['consume', 'orders', '--group', 'g', '--from', 'start', '--max', '5']),
      tidemark(['consume', 'orders', '--from', 'start', '--until-end', '--key-separator', '=', ...brokers]),
    ])
    assert.deepEqual(
      (listed[0] as unknown as { topic: string }[]).find(({ topic }) => topic === 'orders'),
      { topic: 'orders', partitions: 2, replication: 1 },
    )
    const partitions = described[0]!.partitions as { highWatermark: number; leader: number }[]
    assert.equal(
      partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0),
      5,
    )
    assert.deepEqual(byGroup.map(({ key, value }) => `${key}=${value}`).sort(), [
      'a=1',
      'a=3',
      'b=2',
      'null=last',
      'null=plain',
    ])
    assert.deepEqual(all.stdout.trim().split('\n').sort(), ['=last', '=plain', 'a=1', 'a=3', 'b=2'])

    done(await tidemark(['produce', 'orders', ...brokers], { input: 'new\n' }))
    assert.equal(
      // From the start, where a partition was empty so far and the group has no position in it.
      done(await tidemark(['consume', 'orders', '--group', 'g', '--from', 'start', '--max', '1', ...brokers])).stdout,
      'new\n',
      'the group goes on where it was',
    )
    const [unknown, unknownDescribed] = await Promise.all([
      tidemark(['consume', 'nope', ...brokers]),
      tidemark(['topic', 'describe', 'nope', ...brokers]),
    ])
    for (const { code, stderr } of [unknown, unknownDescribed])
      assert.deepEqual([code, /topic nope does not exist/.test(stderr)], [1, true])

    const status = jsonLines(
      done(await tidemark(['status', '--http', node!.http, '--json'])).stdout,
    )[0] as unknown as ClusterStatus
    assert.equal(status.nodes[0]!.leads, status.nodes[0]!.replicas)
    assert.match(done(await tidemark(['status', '--http', node!.http])).stdout, /orders\/1/)
    const [kept] = await json(['topic', 'describe', 'orders', '--http', node!.http])
    for (const partition of kept!.partitions as Record<string, unknown>[]) {
      const { storedBytes, startMovedBy, startHeldBy, highWatermark } = partition
      assert.ok((storedBytes as number) > 0)
      assert.equal(startMovedBy, null)
      // Which partition a line without a key goes to is the client's affair: one of them may have got none.
      if (highWatermark === 0) assert.equal(startHeldBy, null)
      else assert.match(`${startHeldBy}`, /^retention.ms 7 d/)
    }
    assert.deepEqual(kept!.damages, [])
    assert.match(
      done(await tidemark(['topic', 'describe', 'orders', '--http', node!.http, ...brokers])).stdout,
      /start held by/,
    )
    // Nobody answers at the default address, or another cluster does.
    const without = done(await tidemark(['topic', 'describe', 'orders', ...brokers]))
    assert.doesNotMatch(without.stdout, /start held by/)
    assert.match(without.stderr, /^what is stored, damaged and .* is not shown: .*--http http:\/\/127.0.0.1:9644.*$/m)
    const [nobody] = await freePorts(1)
    const given = await tidemark(['topic', 'describe', 'orders', '--http', `127.0.0.1:${nobody}`, ...brokers])
    assert.deepEqual([given.code, /no node answers at --http/.test(given.stderr)], [1, true])
    done(await tidemark(['topic', 'delete', 'orders', ...brokers]))
    assert.equal((await tidemark(['topic', 'delete', 'orders', ...brokers])).code, 1)
    const stopped = await running!.stop()
    assert.equal(stopped.code, 0)
    assert.match(stopped.stderr, /SIGTERM: handing leadership over and stopping/)
  })
})

test('produce into a pipe that stays open: a line goes out without a second one, a refusal ends it', {
  timeout: 60_000,
}, async () => {
  await withCluster(1, async ([node]) => {
    const brokers = ['--brokers', node!.kafka]
    for (const [topic, policy] of [
      ['plain', 'delete'],
      ['keyed', 'compact'],
    ] as const)
      done(await tidemark(['topic', 'create', topic, '--config', `cleanup.policy=${policy}`, ...brokers]))
    const open = new Running(['produce', 'plain', ...brokers])
    open.process.stdin!.write('first\n')
    assert.equal(
      done(await tidemark(['consume', 'plain', '--from', 'start', '--max', '1', ...brokers])).stdout,
      'first\n',
    )
    open.process.stdin!.end('second\n')
    assert.match(done(await open.ended).stderr, /2 records acknowledged/)

    const refused = new Running(['produce', 'keyed', '--key-separator', ':', ...brokers])
    refused.process.stdin!.write('a:1\n')
    assert.equal(done(await tidemark(['consume', 'keyed', '--from', 'start', '--max', '1', ...brokers])).stdout, '1\n')
    refused.process.stdin!.write('without a key\n')
    const { code, stderr } = await refused.ended
    assert.equal(code, 1, stderr)
    assert.match(stderr, /1 records acknowledged before this:\ntidemark: topic keyed: .*--key-separator/)
  })
})

test('three nodes: a clean stop hands over, the rest goes on; a wiped disk and an impostor stay outside', {
  timeout: 120_000,
}, async () => {
  await withCluster(3, async (nodes, running, directory) => {
    const brokers = ['--brokers', nodes.map(({ kafka }) => kafka).join(',')]
    const statusOf = async (node: NodePlan): Promise<ClusterStatus> =>
      (await fetch(`http://${node.http}/api/cluster`)).json() as Promise<ClusterStatus>
    done(await tidemark(['topic', 'create', 'kept', '--partitions', '6', ...brokers]))
    done(await tidemark(['produce', 'kept', ...brokers], { input: 'one\ntwo\n' }))

    const from = performance.now()
    assert.equal((await running[0]!.stop()).code, 0)
    const stopMs = performance.now() - from
    assert.ok(stopMs < 3000, `stopping took ${stopMs.toFixed(0)} ms: nobody waited for an election`)
    const { shards } = await statusOf(nodes[1]!)
    for (const { topic, partition, leader } of shards)
      assert.ok(leader === 2 || leader === 3, `${topic}/${partition} is led by ${leader} after node 1 handed over`)
    done(await tidemark(['produce', 'kept', ...brokers], { input: 'three\n' }))

    // An empty directory under an id that the cluster knows.
    const incarnation = (await statusOf(nodes[1]!)).cluster
    assert.notEqual(incarnation, null)
    const saved = path.join(directory, 'saved')
    await cp(nodes[0]!.directory, saved, { recursive: true })
    await rm(nodes[0]!.directory, { recursive: true })
    const wiped = await tidemark(nodes[0]!.args)
    assert.equal(wiped.code, 1, wiped.stderr)
    const said = wiped.stderr.trim().split('\n').at(-1)!
    assert.match(said, /^tidemark: /)
    assert.equal(new Set(said.match(/[0-9a-f]{32}/g)).size, 2, `names both incarnations: ${said}`)

    // A second process under the id of a running node, with a directory of its own.
    const impostor = [...nodes[2]!.args]
    const [spare] = await planCluster(path.join(directory, 'impostor'), 1)
    for (const [flag, value] of [
      ['--data', spare!.directory],
      ['--kafka', spare!.kafka],
      ['--http', spare!.http],
      ['--peer', spare!.peer],
    ] as const)
      impostor[impostor.indexOf(flag) + 1] = value
    const elsewhere = await tidemark(impostor)
    assert.equal(elsewhere.code, 1, elsewhere.stderr)
    assert.match(elsewhere.stderr, /^tidemark: --peer .* is not where --cluster says node 3 is/)
    const refused = await tidemark([...impostor, '--advertise-peer', nodes[2]!.peer])
    assert.equal(refused.code, 1, refused.stderr)
    assert.match(refused.stderr.trim().split('\n').at(-1)!, /^tidemark: .*(another process runs as node 3|incarnation)/)

    // With its own disk node 1 is welcome again, and everything is there.
    await rm(nodes[0]!.directory, { recursive: true, force: true })
    await cp(saved, nodes[0]!.directory, { recursive: true })
    running[0] = new Running(nodes[0]!.args)
    await untilReady(nodes)
    const all = done(await tidemark(['consume', 'kept', '--from', 'start', '--until-end', ...brokers]))
    assert.deepEqual(all.stdout.trim().split('\n').sort(), ['one', 'three', 'two'])
  })
})

test('nodes of two clusters do not mix: the one that was pointed at the wrong address says so and ends', {
  timeout: 60_000,
}, async () => {
  await withCluster(3, async (nodes, _running, directory) => {
    const [stray] = await planCluster(path.join(directory, 'stray'), 1)
    // Believes that the running nodes 1 and 2 are its partners in a cluster with another list.
    const list = `1@${nodes[0]!.peer},2@${nodes[1]!.peer},9@${stray!.peer}`
    const outcome = await tidemark([...stray!.args, '--id', '9', '--cluster', list])
    assert.equal(outcome.code, 1, outcome.stderr)
    assert.match(outcome.stderr.trim().split('\n').at(-1)!, /^tidemark: .*cluster/)
    await untilReady(nodes)
  })
})

test('dev: starts, says where, stops on a signal with everything it started', { timeout: 60_000 }, async () => {
  await withDirectory(async (directory) => {
    const dev = new Running(['dev', '--nodes', '2', '--base-port', '27400', '--data', directory, '--json'])
    try {
      await dev.printed(/"event":"ready"/)
      const ready = jsonLines(dev.stdout).find(({ event }) => event === 'ready')!
      assert.deepEqual(ready.brokers, ['127.0.0.1:27400', '127.0.0.1:27410'])
      dev.process.kill('SIGINT')
      assert.equal((await dev.ended).code, 0)
      await assert.rejects(fetch('http://127.0.0.1:27402/health/live'))
    } finally {
      await dev.kill()
    }
  })
})
