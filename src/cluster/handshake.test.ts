/** Who gets in and who does not: each refusal, told to the refused one, by whichever side notices. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryNetwork } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { encodeRefusal, type RefusalCode } from './handshake.ts'
import { appendOf, IMPATIENT, RawPeer, TestNode, type TestNodeOptions } from './peer-harness.test.ts'
import { encodeBeat, encodeMessage } from './peer-messages.ts'
import { writeData } from './peer-messages-data.ts'
import { beginFrame, FrameKind, sealFrame, WIRE_VERSION_MAX } from './peer-wire.ts'

function memoryNetwork(): MemoryNetwork {
  const { clock, random } = nodePlatform()
  return new MemoryNetwork({ scribble: true }, { clock, random })
}

type Options = Omit<TestNodeOptions, 'network'>

/** Nodes 1 and 2, started; node 2 dials. */
async function pair(
  one: Options,
  two: Options,
): Promise<{ net: MemoryNetwork; one: TestNode; two: TestNode; stop(): Promise<void> }> {
  const net = memoryNetwork()
  const first = new TestNode(1, { network: net.host('n1'), ...one })
  const second = new TestNode(2, { network: net.host('n2'), ...two })
  const { port } = await first.start()
  second.mesh.setPeer(1, { host: 'n1', port })
  await second.start()
  return {
    net,
    one: first,
    two: second,
    stop: async () => {
      await first.stop()
      await second.stop()
    },
  }
}

function refusedAs(node: TestNode): RefusalCode | undefined {
  return node.refusals[0]?.refusal.code
}

test('another cluster id: the dialler is told, and knows that it is the newcomer', async () => {
  const { one, two, stop } = await pair({ self: { clusterId: 'aaaa' } }, { self: { clusterId: 'bbbb' } })
  await two.until(() => two.refusals.length > 0)
  assert.equal(refusedAs(two), 'WRONG_CLUSTER')
  assert.match(two.refusals[0]!.refusal.message, /aaaa.*bbbb/)
  assert.deepEqual(two.refusals[0]!.context, { by: 1, everUp: false })
  assert.ok(one.seen('peer-refused') && two.seen('refused-by-peer'))
  assert.deepEqual([one.sessions, two.sessions], [[], []])
  await stop()
})

test('another --cluster list, before the cluster has an id', async () => {
  const { two, stop } = await pair(
    { self: { clusterId: null, clusterHash: 'x' } },
    { self: { clusterId: null, clusterHash: 'y' } },
  )
  await two.until(() => two.refusals.length > 0)
  assert.equal(refusedAs(two), 'WRONG_CLUSTER')
  await stop()
})

test('a node that does not know the cluster id yet gets in by the same --cluster list, or without one', async () => {
  for (const clusterHash of ['h1', '']) {
    const { one, two, stop } = await pair({}, { self: { clusterId: null, clusterHash } })
    await one.until(() => one.mesh.isUp(2))
    await two.until(() => two.mesh.isUp(1))
    await stop()
  }
})

const unknownDisk = { code: 'UNKNOWN_DISK', message: 'node 2 belongs to another data directory' } as const

test('admit is asked by the acceptor, and its refusal is told to the dialler', async () => {
  const { one, two, stop } = await pair({ admit: (hello) => (hello.node === 2 ? unknownDisk : null) }, {})
  await two.until(() => two.refusals.length >= 2)
  assert.deepEqual(two.refusals[0]!.refusal, unknownDisk)
  assert.equal(one.mesh.isUp(2), false)
  await stop()
})

test('admit is asked by the dialler, and its refusal is told to the acceptor', async () => {
  const { one, two, stop } = await pair(
    {},
    { admit: () => ({ ...unknownDisk, message: 'node 1 came with an empty directory' }) },
  )
  await one.until(() => one.refusals.length > 0)
  assert.equal(refusedAs(one), 'UNKNOWN_DISK')
  assert.deepEqual(one.refusals[0]!.context, { by: 2, everUp: false })
  assert.deepEqual([one.sessions, two.sessions], [[], []])
  await stop()
})

test('a refusal can pass: the refused one asks again', async () => {
  let known = false
  const { one, two, stop } = await pair({ admit: () => (known ? null : unknownDisk) }, {})
  await two.until(() => two.refusals.length > 0)
  known = true
  await one.until(() => one.mesh.isUp(2))
  await stop()
})

test('an address that belongs to another node', async () => {
  const net = memoryNetwork()
  const two = new TestNode(2, { network: net.host('n2') })
  const three = new TestNode(3, { network: net.host('n3') })
  const { port } = await two.start()
  three.mesh.setPeer(1, { host: 'n2', port })
  await three.start()
  await three.until(() => three.refusals.length > 0)
  assert.equal(refusedAs(three), 'WRONG_NODE')
  await two.stop()
  await three.stop()
})

test('a node whose list gives its own address to another id has dialled itself', async () => {
  const net = memoryNetwork()
  const two = new TestNode(2, { network: net.host('n2') })
  const { port } = await two.start()
  two.mesh.setPeer(1, { host: 'n2', port })
  await two.until(() => two.refusals.length > 0)
  assert.equal(refusedAs(two), 'WRONG_NODE')
  await two.stop()
})

test('a second process under the id of a connected node, with a disk of its own, is a duplicate', async () => {
  const { net, one, two, stop } = await pair({}, {})
  await one.until(() => one.mesh.isUp(2))
  const double = new TestNode(2, { network: net.host('n4'), self: { diskIncarnation: 'another' } })
  double.mesh.setPeer(1, { host: 'n1', port: one.mesh.address!.port })
  await double.start()
  await double.until(() => double.refusals.length > 0)
  assert.equal(refusedAs(double), 'DUPLICATE_NODE')
  assert.deepEqual(one.sessions, ['up 2'])
  assert.deepEqual(two.sessions, ['up 1'])
  await double.stop()
  await stop()
})

test('a new process on the same disk replaces its predecessor, which is then turned away', async () => {
  const { net, one, two, stop } = await pair({}, {})
  await one.until(() => one.mesh.isUp(2))
  const successor = new TestNode(2, { network: net.host('n4') })
  successor.mesh.setPeer(1, { host: 'n1', port: one.mesh.address!.port })
  await successor.start()
  await two.until(() => two.refusals.length > 0)
  assert.equal(refusedAs(two), 'DUPLICATE_NODE')
  assert.match(two.refusals[0]!.refusal.message, /copy of the same data directory/)
  assert.equal(two.refusals[0]!.context.everUp, true)
  assert.deepEqual(one.sessions, ['up 2', 'down 2', 'up 2'])
  assert.equal(one.mesh.helloOf(2)!.processIncarnation, successor.mesh.processIncarnation)
  await successor.stop()
  await stop()
})

test('an introduction: a node that knows one address learns who is there, and is seen', async () => {
  const net = memoryNetwork()
  const one = new TestNode(1, { network: net.host('n1') })
  const { port } = await one.start()
  const seen: number[] = []
  one.mesh.onIntroduction((hello) => seen.push(hello.node))
  const five = new TestNode(5, { network: net.host('n5'), self: { clusterId: null, clusterHash: '' } })
  await five.start()
  const node = await new Promise((resolve) =>
    five.mesh.introduce({ host: 'n1', port }, (failure, hello) => resolve(failure ?? hello?.node)),
  )
  assert.equal(node, 1)
  assert.deepEqual(seen, [5])
  const failure = await new Promise((resolve) => five.mesh.introduce({ host: 'n9', port }, (text) => resolve(text)))
  assert.match(String(failure), /nothing listens/)
  assert.deepEqual([one.sessions, five.sessions], [[], []])
  await one.stop()
  await five.stop()
})

// ── with a peer made by hand ──────────────────────────────────────────────────────────────────────────────────────────────

async function lone(
  options: Options = {},
): Promise<{ net: MemoryNetwork; node: TestNode; dial: (hello?: object) => Promise<RawPeer> }> {
  const net = memoryNetwork()
  const node = new TestNode(2, { network: net.host('n2'), ...options })
  const { port } = await node.start()
  return {
    net,
    node,
    dial: (hello = {}) => RawPeer.connect(net.host('raw'), { host: 'n2', port }, { node: 3, expected: 2, ...hello }),
  }
}

test('no version in common', async () => {
  const { node, dial } = await lone()
  const raw = await dial({ versionMin: 7, versionMax: 9 })
  assert.equal(raw.refusals[0]?.code, 'VERSION')
  assert.match(raw.refusals[0]!.message, /7 to 9/)
  await node.stop()
})

test('a peer of the wire without sums over headers is told so in words that it can read', async () => {
  const { node, dial } = await lone()
  const raw = await dial({ versionMin: 1, versionMax: 1 })
  assert.equal(raw.refusals[0]?.code, 'VERSION')
  assert.match(raw.refusals[0]!.message, /node 3 speaks 1 to 1/)
  await node.stop()
})

test('a newer peer that still speaks our version gets in', async () => {
  const { node, dial } = await lone()
  const raw = await dial({ versionMin: 1, versionMax: 200 })
  await node.until(() => node.mesh.isUp(3))
  raw.destroy()
  await node.stop()
})

test('the smaller id has no business dialling, and nobody may be us', async () => {
  const { node, dial } = await lone()
  assert.equal((await dial({ node: 1 })).refusals[0]?.code, 'PROTOCOL')
  assert.equal((await dial({ node: 2 })).refusals[0]?.code, 'DUPLICATE_NODE')
  await node.stop()
})

test('a confirm that answers the welcome of an earlier session is believed by nobody', async () => {
  const { node, dial } = await lone()
  const raw = await dial({ challenge: 'of an earlier session' })
  await raw.until(() => raw.closed.size === 2)
  assert.equal(node.mesh.isUp(3), false)
  assert.ok(node.events.some((event) => event.type === 'peer-damaged' && /another session/.test(event.defect)))
  await node.stop()
})

test('whoever speaks something else, or says nothing, is cut off', async () => {
  const { net, node } = await lone()
  const closed: Promise<string>[] = []
  for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(0), Buffer.from([0xff, 0xff, 0xff, 0x7f])]) {
    closed.push(
      new Promise((resolve, reject) =>
        net.host('raw').connect({ host: 'n2', port: node.mesh.address!.port }, (error, connection) => {
          if (error || !connection) return reject(error)
          connection.handler = { received() {}, drained() {}, closed: resolve }
          connection.write(bytes)
        }),
      ),
    )
  }
  await Promise.all(closed)
  assert.ok(node.seen('peer-damaged'))
  await node.stop()
})

function controlFrame(...numbers: number[]): Buffer {
  const writer = beginFrame(64)
  for (const number of numbers) encodeBeat(writer, number)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 5)
  return frame
}

test('one damaged byte ends the session, on either connection', async () => {
  for (const role of ['control', 'data'] as const) {
    const { node, dial } = await lone()
    const raw = await dial()
    await node.until(() => node.mesh.isUp(3))
    const parts: Buffer[] = []
    writeData(
      [appendOf(16, 1, [100])],
      WIRE_VERSION_MAX,
      () => 5,
      (part) => parts.push(part),
    )
    const frame = role === 'control' ? controlFrame(1) : Buffer.concat(parts)
    frame[frame.length - 1] = frame[frame.length - 1]! ^ 4
    raw[role].write(frame)
    await raw.until(() => raw.closed.size === 2)
    assert.deepEqual(node.sessions, ['up 3', 'down 3'])
    assert.deepEqual(
      node.events.filter(({ type }) => type === 'peer-damaged'),
      [{ type: 'peer-damaged', node: 3, defect: 'crc' }],
    )
    assert.equal(node.messages.length, 0)
    await node.stop()
  }
})

test('a damaged length ends the session at once, although frames keep coming behind it', async () => {
  for (const role of ['control', 'data'] as const) {
    const { node, dial } = await lone()
    const raw = await dial()
    await node.until(() => node.mesh.isUp(3))
    const frame = controlFrame(1)
    frame[2] = frame[2]! ^ 8 // 512 KiB more than there are
    raw[role].write(frame)
    await raw.until(() => raw.closed.size === 2)
    assert.deepEqual(
      node.events.filter(({ type }) => type === 'peer-damaged'),
      [{ type: 'peer-damaged', node: 3, defect: 'header' }],
    )
    await node.stop()
  }
})

test('a frame of the handshake has no place in a session', async () => {
  const { node, dial } = await lone()
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  raw.control.write(encodeRefusal({ code: 'PROTOCOL', message: 'too late' }, 3, 9))
  await raw.until(() => raw.closed.size === 2)
  assert.deepEqual(node.refusals, [])
  assert.deepEqual(
    node.events.filter(({ type }) => type === 'peer-damaged'),
    [{ type: 'peer-damaged', node: 3, defect: 'version' }],
  )
  await node.stop()
})

test('control on the data connection is damage', async () => {
  const { node, dial } = await lone()
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  raw.data.write(controlFrame(1))
  await raw.until(() => raw.closed.size === 2)
  assert.ok(node.seen('peer-damaged'))
  await node.stop()
})

test('a frame that stops in its middle ends the session, although the beats go on', async () => {
  const { node, dial } = await lone({ mesh: IMPATIENT })
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  const writer = beginFrame(0)
  const first = writer.take()
  sealFrame(first, [Buffer.alloc(1_000_000)], WIRE_VERSION_MAX, FrameKind.data, 5)
  raw.data.write(first)
  let number = 0
  const beats = node.platform.clock.every(20, () => raw.control.write(controlFrame(++number)))
  await node.until(() => !node.mesh.isUp(3))
  beats.cancel()
  const down = node.events.find((event) => event.type === 'peer-down')
  assert.match(down?.type === 'peer-down' ? down.reason : '', /middle of a frame/)
  assert.equal(node.seen('peer-silent'), false)
  await node.stop()
})

test('when one connection closes the other does, and the session is down', async () => {
  const { node, dial } = await lone()
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  raw.data.destroy()
  await raw.until(() => raw.closed.has('control'))
  assert.deepEqual(node.sessions, ['up 3', 'down 3'])
  await node.stop()
})

test('a beat is answered after what replication says at the end of the turn (the story in peer-session.ts)', async () => {
  const { node, dial } = await lone()
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  node.onMessage = () => {
    node.platform.clock.endOfTurn(() => {
      node.mesh.send(3, { type: 'moved', shard: 7, term: 5 })
      node.mesh.flush()
    })
  }
  // Another beat and a queued item first: their callbacks run before those of the vote.
  const writer = beginFrame(64)
  encodeBeat(writer, 1)
  encodeMessage(writer, { type: 'vote', shard: 7, term: 5, lastIndex: 0, lastTerm: 0, transfer: false })
  encodeBeat(writer, 2)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 5)
  node.mesh.announceLeading(9, 1)
  raw.control.write(frame)
  await raw.until(() => raw.items.includes('beat-reply 2'))
  const said = raw.items.filter((item) => item === 'moved' || item === 'beat-reply 2')
  assert.deepEqual(said, ['moved', 'beat-reply 2'])
  raw.destroy()
  await node.stop()
})

test('one frame per connection and turn', async () => {
  const { node, dial } = await lone({ mesh: { heartbeatIntervalMs: 10_000, electionTimeoutMs: 60_000 } })
  const raw = await dial()
  await raw.until(() => raw.items.includes('beat'))
  const before = { ...raw.frames }
  for (let i = 1; i <= 100; i++) {
    node.mesh.send(3, { type: 'moved', shard: i, term: 1 })
    node.mesh.send(3, appendOf(i, 1, [50]))
  }
  await raw.until(() => raw.items.filter((item) => item === 'moved').length === 100 && raw.frames.data > before.data)
  assert.deepEqual(raw.frames, { control: before.control + 1, data: before.data + 1 })
  raw.destroy()
  await node.stop()
})

test('requests in flight when this node stops end with a type of their own', async () => {
  const { node, dial } = await lone()
  const raw = await dial()
  await node.until(() => node.mesh.isUp(3))
  const stopped = assert.rejects(node.request(3, 'status', ''), { code: 'MESH_STOPPED' })
  await raw.until(() => raw.items.includes('request status'))
  await node.stop()
  await stopped
})
