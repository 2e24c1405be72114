import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Network } from '../platform/index.ts'
import { MemoryNetwork } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { appendOf, IMPATIENT, TestNode, type TestNodeOptions } from './peer-harness.test.ts'

interface World {
  network(host: string): Network
  host(id: number): string
}

function memory(): { world: World; net: MemoryNetwork } {
  const { clock, random } = nodePlatform()
  const net = new MemoryNetwork({ scribble: true }, { clock, random })
  return { world: { network: (host) => net.host(host), host: (id) => `n${id}` }, net }
}

const SOCKETS: World = { network: () => nodePlatform().network, host: () => '127.0.0.1' }

async function nodes(
  world: World,
  ids: readonly number[],
  options: (id: number) => Omit<TestNodeOptions, 'network'> = () => ({}),
): Promise<TestNode[]> {
  const made = ids.map((id) => new TestNode(id, { network: world.network(world.host(id)), ...options(id) }))
  for (const node of made) {
    const { port } = await node.start()
    for (const other of made) if (other !== node) other.mesh.setPeer(node.id, { host: world.host(node.id), port })
  }
  return made
}

async function allUp(made: readonly TestNode[]): Promise<void> {
  for (const node of made) await node.until(() => made.every((other) => other === node || node.mesh.isUp(other.id)))
}

async function stopAll(made: readonly TestNode[]): Promise<void> {
  for (const node of made) await node.stop()
}

for (const name of ['memory', 'sockets'] as const) {
  const world = (): World => (name === 'memory' ? memory().world : SOCKETS)

  test(`${name}: three nodes find each other, beat, and know each other's addresses`, async () => {
    const made = await nodes(world(), [1, 2, 3])
    await allUp(made)
    for (const node of made) {
      for (const other of made) {
        if (other === node) continue
        await node.until(() => node.mesh.contact.alive(other.id) && node.mesh.contact.answeredAt(other.id) > 0)
        assert.equal(node.mesh.helloOf(other.id)?.kafka.port, 9000 + other.id)
      }
      const status = node.mesh.peers()
      assert.equal(status.length, 2)
      assert.ok(
        status.every(
          ({ up, alive, roundTripMs, clockOffset }) =>
            up && alive && roundTripMs !== null && Math.abs(clockOffset!.offsetMs) < 1000,
        ),
      )
    }
    await stopAll(made)
  })

  test(`${name}: messages arrive once, in order per connection, and raise the Lamport clock`, async () => {
    const made = await nodes(world(), [1, 2])
    await allUp(made)
    const [one, two] = made as [TestNode, TestNode]
    for (let i = 0; i < 1000; i++) one.lamport.tick()
    for (let i = 1; i <= 50; i++) {
      one.mesh.send(2, { type: 'append-reply', shard: 1, term: 1, received: i, journaled: i, rejected: null })
      one.mesh.send(2, appendOf(16, i, [i % 7 === 0 ? 300_000 : 20 * i]))
    }
    await two.until(() => two.messages.length >= 100)
    const replies = two.messages.flatMap(({ message }) => (message.type === 'append-reply' ? [message.journaled] : []))
    const indexes = two.messages.flatMap(({ message }) =>
      message.type === 'append' ? message.entries.map(({ index }) => index) : [],
    )
    assert.deepEqual(
      replies,
      Array.from({ length: 50 }, (_, i) => i + 1),
    )
    assert.deepEqual(indexes, replies)
    for (const { message } of two.messages) {
      if (message.type === 'append')
        assert.ok(message.entries[0]!.bytes.subarray(64).every((byte) => byte === message.entries[0]!.index))
    }
    assert.ok(two.lamport.stamp > 1000)
    await stopAll(made)
  })

  test(`${name}: a peer that stops is down at once, and comes back as another incarnation`, async () => {
    const w = world()
    const made = await nodes(w, [1, 2])
    const [one, two] = made as [TestNode, TestNode]
    await allUp(made)
    two.mesh.announceLeading(16, 4)
    await one.until(() => one.mesh.leaderOf(16)?.node === 2)
    const before = one.mesh.helloOf(2)!.processIncarnation
    await two.stop()
    await one.until(() => !one.mesh.isUp(2))
    assert.equal(one.mesh.contact.alive(2), false)
    const again = new TestNode(2, { network: w.network(w.host(2)) })
    again.mesh.setPeer(1, { host: w.host(1), port: one.mesh.address!.port })
    await again.start()
    await one.until(() => one.mesh.isUp(2) && one.mesh.leaderOf(16) === null)
    assert.notEqual(one.mesh.helloOf(2)!.processIncarnation, before)
    assert.deepEqual(one.sessions, ['up 2', 'down 2', 'up 2'])
    await stopAll([one, again])
  })

  test(`${name}: requests are answered, fail with types, and time out`, async () => {
    const made = await nodes(world(), [1, 2])
    await allUp(made)
    const [one, two] = made as [TestNode, TestNode]
    two.mesh.handle('echo', (from, body, reply) => reply(null, Buffer.from(`${from}:${body}`)))
    two.mesh.handle('late', () => {})
    assert.equal(await one.request(2, 'echo', 'hello'), '1:hello')
    assert.deepEqual(await Promise.all(['a', 'b', 'c'].map((text) => one.request(2, 'echo', text))), [
      '1:a',
      '1:b',
      '1:c',
    ])
    await assert.rejects(one.request(2, 'none', ''), { code: 'UNKNOWN_METHOD' })
    await assert.rejects(one.request(2, 'late', '', 10), { code: 'REQUEST_TIMEOUT' })
    await assert.rejects(one.request(3, 'echo', ''), { code: 'PEER_DOWN' })
    await assert.rejects(one.request(2, 'echo', 'x'.repeat(17 << 20)), { code: 'REQUEST_TOO_LARGE' })
    const lost = assert.rejects(one.request(2, 'late', ''), { code: 'PEER_DOWN' })
    await one.request(2, 'echo', '')
    await two.stop()
    await lost
    const stopped = assert.rejects(one.request(2, 'late', ''), { code: 'PEER_DOWN' })
    await one.stop()
    await stopped
  })

  test(`${name}: what is queued when a node stops still arrives`, async () => {
    const made = await nodes(world(), [1, 2])
    await allUp(made)
    const [one, two] = made as [TestNode, TestNode]
    one.mesh.send(2, { type: 'step-down', shard: 16, term: 9 })
    await one.stop()
    await two.until(() => two.messages.length === 1 && !two.mesh.isUp(1))
    assert.deepEqual(two.messages[0]!.message, { type: 'step-down', shard: 16, term: 9 })
    await two.stop()
  })

  test(`${name}: while data is held, appends queue at the sender and control goes on`, async () => {
    const made = await nodes(world(), [1, 2])
    await allUp(made)
    const [one, two] = made as [TestNode, TestNode]
    two.mesh.holdData(true)
    const sizes = Array.from({ length: 64 }, () => 500_000)
    one.mesh.send(2, appendOf(16, 1, sizes))
    assert.ok(one.mesh.queuedBytes(2) > 31_000_000)
    for (let i = 0; i < 5; i++) {
      one.mesh.send(2, { type: 'moved', shard: 1, term: i })
      await two.until(() => two.messages.filter(({ message }) => message.type === 'moved').length === i + 1)
    }
    assert.ok(one.mesh.queuedBytes(2) > 1_000_000)
    const held = two.messages.length
    two.mesh.holdData(false)
    await two.until(
      () =>
        two.messages.length - held >= 60 &&
        two.messages.some(({ message }) => message.type === 'append' && message.entries.at(-1)?.index === 64),
    )
    await one.until(() => one.mesh.queuedBytes(2) === 0)
    assert.deepEqual(one.sessions, ['up 2'])
    await stopAll(made)
  })
}

test('a session that ends in the middle of a frame delivers nothing of it, and comes back', async () => {
  const { world, net } = memory()
  const made = await nodes(world, [1, 2])
  await allUp(made)
  const [one, two] = made as [TestNode, TestNode]
  two.onMessage = (_from, message) => {
    if (message.type === 'append' && message.entries[0]!.index === 1) net.reset('n1', 'n2')
  }
  one.mesh.send(2, appendOf(16, 1, [10]))
  one.mesh.send(2, appendOf(16, 2, [1_000_000]))
  await one.until(() => one.sessions.length >= 3)
  await two.until(() => two.sessions.length >= 3)
  assert.deepEqual(one.sessions, ['up 2', 'down 2', 'up 2'])
  assert.equal(two.messages.length, 1)
  one.mesh.send(2, appendOf(16, 3, [10]))
  await two.until(() => two.messages.length === 2)
  await stopAll(made)
})

for (const [from, to] of [
  ['n1', 'n2'],
  ['n2', 'n1'],
] as const) {
  test(`half-open: nothing of ${from} reaches ${to}, so both give the session up, and it heals`, async () => {
    const { world, net } = memory()
    const made = await nodes(world, [1, 2], () => ({ mesh: IMPATIENT }))
    await allUp(made)
    const [one, two] = made as [TestNode, TestNode]
    await one.until(() => one.mesh.contact.alive(2))
    net.cut(from, to)
    await one.until(() => !one.mesh.isUp(2))
    await two.until(() => !two.mesh.isUp(1))
    assert.ok(one.seen('peer-silent') || two.seen('peer-silent'))
    assert.equal(one.mesh.contact.alive(2), false)
    net.heal()
    await allUp(made)
    one.mesh.send(2, { type: 'moved', shard: 1, term: 1 })
    await two.until(() => two.messages.length === 1)
    await stopAll(made)
  })
}

test('more bytes than may be queued end the session instead of filling the memory', async () => {
  const { world } = memory()
  const made = await nodes(world, [1, 2], () => ({ mesh: { queueBytesMax: 1 << 20 } }))
  await allUp(made)
  const [one, two] = made as [TestNode, TestNode]
  two.mesh.holdData(true)
  for (let i = 0; i < 40 && one.mesh.isUp(2); i++) {
    one.mesh.send(2, appendOf(16, 1 + i, [100_000]))
    one.mesh.flush()
  }
  assert.equal(one.mesh.isUp(2), false)
  assert.equal(one.mesh.queuedBytes(2), 0)
  one.mesh.send(2, appendOf(16, 100, [10]))
  await stopAll(made)
})

test('who leads what: told at once, as a whole list to whoever connects later', async () => {
  const { world } = memory()
  const made = await nodes(world, [1, 2])
  await allUp(made)
  const [one, two] = made as [TestNode, TestNode]
  const changes: string[] = []
  two.mesh.onLeaderChange((shard, leader) => changes.push(`${shard} ${leader?.node ?? 'nobody'}`))
  one.mesh.announceLeading(16, 3)
  one.mesh.announceLeading(17, 1)
  await two.until(() => two.mesh.leaderOf(17) !== null)
  one.mesh.announceNotLeading(16, 3)
  await two.until(() => two.mesh.leaderOf(16) === null)
  assert.deepEqual(changes, ['16 1', '17 1', '16 nobody'])
  const three = new TestNode(3, { network: world.network('n3') })
  three.mesh.setPeer(1, { host: 'n1', port: one.mesh.address!.port })
  await three.start()
  await three.until(() => three.mesh.leaderOf(17) !== null)
  assert.deepEqual(three.mesh.leaderOf(17), { node: 1, term: 1 })
  assert.deepEqual(one.mesh.leaderOf(17), { node: 1, term: 1 })
  await stopAll([one, two, three])
})

test('a node never sends to itself', async () => {
  const { world } = memory()
  const [one] = (await nodes(world, [1])) as [TestNode]
  assert.throws(() => one.mesh.send(1, { type: 'moved', shard: 1, term: 1 }), /does not go through the wire/)
  await one.stop()
})

test('a port in use is told', async () => {
  const { world } = memory()
  const [one] = (await nodes(world, [1])) as [TestNode]
  const other = new TestNode(2, { network: world.network('n1'), listen: one.mesh.address! })
  await assert.rejects(other.start(), { code: 'ADDRESS_IN_USE' })
  await stopAll([one, other])
})

test('a removed peer is disconnected and not dialled again', async () => {
  const { world } = memory()
  const made = await nodes(world, [1, 2])
  await allUp(made)
  const [one, two] = made as [TestNode, TestNode]
  two.mesh.removePeer(1)
  await one.until(() => !one.mesh.isUp(2))
  assert.equal(two.mesh.isUp(1), false)
  assert.deepEqual(two.mesh.peers(), [])
  await stopAll(made)
})
