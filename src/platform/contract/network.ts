/** What every network does. The chapters on silence and resets run where the implementation can be made to suffer them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../network.ts'
import { answer, type Drive, refusal } from './drive.ts'

export interface NetworkUnderTest {
  readonly drive: Drive
  /** Two machines, or one that talks to itself. */
  readonly client: Network
  readonly server: Network
  /** Where `server` listens, as `client` names it. */
  readonly serverHost: string
  readonly highWaterBytes: number
  /** Nothing arrives any more in either direction, and nobody is told. */
  readonly cut?: () => void
  readonly heal?: () => void
  /** Every connection ends at once. */
  readonly reset?: () => void
}

export function networkContract(name: string, open: () => Promise<NetworkUnderTest>): void {
  const chapter = (
    title: string,
    body: (t: Workbench) => Promise<void>,
    needs: (keyof NetworkUnderTest)[] = [],
  ): void => {
    test(`${name}: ${title}`, async (context) => {
      const subject = await open()
      const missing = needs.find((feature) => subject[feature] === undefined)
      if (missing !== undefined) return context.diagnostic(`cannot be provoked here: ${missing}`)
      const bench = new Workbench(subject)
      try {
        await body(bench)
      } finally {
        await bench.close()
      }
    })
  }

  chapter('bytes arrive whole and in order, both ways', async (t) => {
    const { near, far } = await t.pair()
    for (let i = 0; i < 300; i++) {
      near.send(pattern(i * 7, i % 50))
      far.send(pattern(i * 11, i % 3000))
      if (i % 20 === 0) await t.drive.elapse(0)
    }
    await t.drive.until(() => near.gotAll(far) && far.gotAll(near), 'all bytes')
    near.check(far)
    far.check(near)
  })

  chapter('both sides see an address, port 0 picks one', async (t) => {
    const { near, far } = await t.pair()
    assert.equal(near.connection.remote.port, t.address.port)
    assert.ok(t.address.port > 0)
    assert.notEqual(far.connection.remote.host, '')
    assert.ok(far.connection.remote.port > 0)
  })

  chapter('nothing is delivered in the turn in which a connection is handed out', async (t) => {
    const { near, far } = await t.pair()
    assert.ok(!near.deliveredAtOnce && !far.deliveredAtOnce)
    near.send(Buffer.from('x'))
    assert.equal(far.got.length, 0, 'never synchronous')
    await t.drive.until(() => far.gotAll(near), 'the byte')
  })

  chapter('a write takes empty and large buffers', async (t) => {
    const { near, far } = await t.pair()
    near.send(Buffer.alloc(0))
    near.send(pattern(1, 3_000_000))
    near.send(Buffer.alloc(0))
    near.send(pattern(2, 10))
    await t.drive.until(() => far.gotAll(near), 'three megabytes')
    far.check(near)
  })

  chapter('end sends what is queued, then closes both sides, once', async (t) => {
    const { near, far } = await t.pair()
    near.send(pattern(3, 2_000_000))
    near.connection.end()
    near.connection.end()
    assert.equal(near.connection.write(Buffer.from('late')), true)
    await t.drive.until(() => near.closes > 0 && far.closes > 0, 'both sides closed')
    far.check(near)
    await t.drive.elapse(5)
    assert.deepEqual([near.closes, far.closes], [1, 1])
    assert.ok(far.reason.length > 0)
  })

  chapter('a side that hears the end sends what it has queued', async (t) => {
    const { near, far } = await t.pair()
    far.whenClosed = () => assert.equal(far.connection.queuedBytes, 0)
    far.send(pattern(4, 100_000))
    near.connection.end()
    await t.drive.until(() => near.closes > 0 && far.closes > 0, 'both sides closed')
  })

  chapter('destroy closes at once, and nothing is called after closed', async (t) => {
    const { near, far } = await t.pair()
    far.send(pattern(5, 100_000))
    near.connection.destroy()
    near.connection.destroy()
    assert.equal(near.closes, 0, 'never synchronous')
    const got = near.got.length
    await t.drive.until(() => near.closes > 0 && far.closes > 0, 'both sides closed')
    await t.drive.elapse(5)
    assert.equal(near.got.length, got)
    assert.deepEqual([near.closes, far.closes], [1, 1])
    near.connection.write(Buffer.from('late'))
    near.connection.end()
    near.connection.destroy()
    await t.drive.elapse(5)
    assert.equal(near.closes, 1)
  })

  chapter('a reader that pauses pushes back, a reader that resumes gets everything', async (t) => {
    const { near, far } = await t.pair()
    far.connection.pause()
    let sent = 0
    const piece = pattern(6, 64 * 1024)
    // The kernel takes some megabytes before it pushes back.
    for (let more = true; more && sent < 64 * 1024 * 1024; sent += piece.length) {
      more = near.send(piece)
      if (sent % (512 * 1024) === 0) await t.drive.elapse(0)
    }
    assert.equal(near.send(Buffer.from('x')), false)
    assert.ok(near.connection.queuedBytes > t.subject.highWaterBytes)
    await t.drive.elapse(10)
    assert.deepEqual([near.drains, far.got.length], [0, 0])
    far.connection.resume()
    await t.drive.until(() => far.gotAll(near), 'the rest')
    await t.drive.until(() => near.drains > 0, 'drained')
    far.check(near)
    assert.equal(near.drains, 1)
    assert.equal(near.send(Buffer.from('y')), true)
    await t.drive.until(() => near.connection.queuedBytes === 0, 'an empty queue')
  })

  chapter('a connection may be paused from the start', async (t) => {
    const { near, far } = await t.pair((each) => each.connection.pause())
    near.send(pattern(7, 1000))
    await t.drive.elapse(10)
    assert.equal(far.got.length, 0)
    far.connection.resume()
    await t.drive.until(() => far.gotAll(near), 'the bytes')
  })

  chapter('refusals are typed', async (t) => {
    await t.listen()
    const { host, port } = t.address
    const taken = { host, port }
    assert.equal(await refusal(t.drive, (done) => t.subject.server.listen(taken, () => {}, done)), 'ADDRESS_IN_USE')
    const elsewhere = { host: '192.0.2.1', port: 0 }
    assert.equal(
      await refusal(t.drive, (done) => t.subject.server.listen(elsewhere, () => {}, done)),
      'ADDRESS_INVALID',
    )
    const impossible = { host: t.subject.serverHost, port: 70_000 }
    assert.equal(await refusal(t.drive, (done) => t.subject.client.connect(impossible, done)), 'ADDRESS_INVALID')
    await t.stopListening()
    const nobody = { host: t.subject.serverHost, port }
    assert.equal(await refusal(t.drive, (done) => t.subject.client.connect(nobody, done)), 'CONNECTION_REFUSED')
  })

  chapter('a listener that closes frees its port and keeps its connections', async (t) => {
    const { near, far } = await t.pair()
    const { host, port } = t.address
    await t.stopListening()
    await t.listen({ host, port })
    near.send(pattern(8, 1000))
    await t.drive.until(() => far.gotAll(near), 'bytes on the old connection')
  })

  chapter('a wildcard listens on the address of the machine', async (t) => {
    await t.listen({ host: '0.0.0.0', port: 0 })
    const to = { host: t.subject.serverHost, port: t.address.port }
    const connection = await answer<Connection>(t.drive, (done) => t.subject.client.connect(to, done))
    connection.destroy()
  })

  chapter(
    'half-open: silence is silence, not an error, and bytes come after it',
    async (t) => {
      const { near, far } = await t.pair()
      t.subject.cut!()
      near.send(pattern(9, 1000))
      far.send(pattern(10, 1000))
      await t.drive.elapse(100)
      assert.deepEqual([near.got.length, far.got.length, near.closes, far.closes], [0, 0, 0, 0])
      far.connection.destroy()
      await t.drive.until(() => far.closes === 1, 'its own side closed')
      await t.drive.elapse(100)
      assert.equal(near.closes, 0, 'the other side hears nothing')
      t.subject.heal!()
      await t.drive.until(() => near.closes === 1, 'the news of the end')
    },
    ['cut', 'heal'],
  )

  chapter(
    'half-open: a sender into silence is pushed back',
    async (t) => {
      const { near, far } = await t.pair()
      t.subject.cut!()
      for (let sent = 0; near.send(pattern(11, 64 * 1024)); sent++) {
        assert.ok(sent < 1000)
        if (sent % 8 === 0) await t.drive.elapse(0)
      }
      t.subject.heal!()
      await t.drive.until(() => far.gotAll(near) && near.drains === 1, 'everything after the cut')
      far.check(near)
    },
    ['cut', 'heal'],
  )

  chapter(
    'a reset closes both sides with a reason',
    async (t) => {
      const { near, far } = await t.pair()
      t.subject.reset!()
      near.send(pattern(12, 100))
      await t.drive.until(() => near.closes === 1 && far.closes === 1, 'both sides closed')
      assert.match(near.reason, /reset/i)
      await t.drive.elapse(5)
      assert.deepEqual([near.closes, far.closes], [1, 1])
    },
    ['reset'],
  )
}

/** Bytes that differ from place to place, so that a swap or a gap shows. */
function pattern(seed: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) bytes[i] = (seed + i * 31 + (i >> 8)) & 0xff
  return bytes
}

/** One side of a connection, and everything that happened to it. */
class Side implements ConnectionHandler {
  readonly connection: Connection
  readonly sent: Buffer[] = []
  readonly got: Buffer[] = []
  deliveredAtOnce = false
  drains = 0
  closes = 0
  reason = ''
  whenClosed: (() => void) | null = null
  #sentBytes = 0
  #receivedBytes = 0

  constructor(connection: Connection) {
    this.connection = connection
    connection.handler = this
  }

  send(bytes: Buffer): boolean {
    this.sent.push(bytes)
    this.#sentBytes += bytes.length
    return this.connection.write(bytes)
  }

  gotAll(other: Side): boolean {
    return this.#receivedBytes === other.#sentBytes
  }

  check(other: Side): void {
    assert.ok(Buffer.concat(this.got).equals(Buffer.concat(other.sent)), 'the bytes differ')
  }

  received(bytes: Buffer): void {
    this.got.push(Buffer.from(bytes))
    this.#receivedBytes += bytes.length
  }

  drained(): void {
    this.drains++
    assert.equal(this.closes, 0, 'drained after closed')
  }

  closed(reason: string): void {
    this.closes++
    this.reason = reason
    this.whenClosed?.()
  }
}

class Workbench {
  readonly subject: NetworkUnderTest
  readonly drive: Drive
  readonly #accepted: Side[] = []
  readonly #sides: Side[] = []
  #listener: Listener | null = null
  #prepare: (side: Side) => void = () => {}

  constructor(subject: NetworkUnderTest) {
    this.subject = subject
    this.drive = subject.drive
  }

  get address(): Address {
    return this.#listener!.address
  }

  async listen(at: Address = { host: this.subject.serverHost, port: 0 }): Promise<void> {
    this.#listener = await answer<Listener>(this.drive, (done) =>
      this.subject.server.listen(at, (connection) => this.#accepted.push(this.#side(connection)), done),
    )
  }

  async stopListening(): Promise<void> {
    const listener = this.#listener!
    this.#listener = null
    await answer(this.drive, (done) => listener.close(() => done(null)))
  }

  /** A connection and its two sides. */
  async pair(prepare: (side: Side) => void = () => {}): Promise<{ near: Side; far: Side }> {
    this.#prepare = prepare
    await this.listen()
    const sides: Side[] = []
    await answer(this.drive, (done) =>
      this.subject.client.connect(this.address, (error, connection) => {
        if (connection) sides.push(this.#side(connection))
        done(error)
      }),
    )
    await this.drive.until(() => this.#accepted.length === 1, 'the other side of the connection')
    return { near: sides[0]!, far: this.#accepted[0]! }
  }

  #side(connection: Connection): Side {
    const side = new Side(connection)
    this.#sides.push(side)
    this.#prepare(side)
    side.deliveredAtOnce = side.got.length > 0
    return side
  }

  async close(): Promise<void> {
    for (const side of this.#sides) side.connection.destroy()
    if (this.#listener !== null) await this.stopListening()
  }
}
