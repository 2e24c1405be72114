/** A disk that is a hundred times slower than usual: what a node holds in memory stays within its limit, and clients wait. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { surroundings } from './embedding.ts'
import { apis, FrameReader, Writer, writeRequest } from './gateways/kafka/index.ts'
import { TidemarkNode } from './node.ts'
import { parseNodeOptions } from './node-options.ts'
import { type Connection, type Disk, type DiskFile, diskThrough, fileThrough } from './platform/index.ts'
import { MemoryDisk, MemoryNetwork } from './platform/memory/index.ts'
import { nodePlatform } from './platform/nodejs/index.ts'
import { encodeBatch } from './records/index.ts'

const real = nodePlatform()
/** A journal's sync takes 0.1 to 0.2 ms on the disks that the product was measured on. */
const SYNC_MS = 20
const QUEUE_BYTES_MAX = 256 << 10
const WINDOW_BYTES = 32 << 10
const BATCH_BYTES = 8 << 10
const CONNECTIONS = 4
const REQUESTS = 128

test('a disk a hundred times slower: the journal’s queue keeps its limit and the sockets are pushed back, nothing is lost', async () => {
  const network = new MemoryNetwork({ windowBytes: WINDOW_BYTES }, { clock: real.clock })
  const memory = new MemoryDisk({ powerLoss: false }, { clock: real.clock })
  const node = await TidemarkNode.start(
    parseNodeOptions({
      id: '1',
      data: '/data',
      kafka: 'node:9092',
      peer: 'node:7400',
      'allow-insecure': 'true',
      'default-partitions': '1',
    }),
    {
      ...surroundings({ ...real, disk: slow(memory), network: network.host('node') }),
      withHttp: false,
      log: () => {},
      terminated: (error) => {
        throw error
      },
      tuning: { host: { journalQueueBytesMax: QUEUE_BYTES_MAX } },
    },
  )
  try {
    const first = await Client.connect(network)
    await first.makeTopic()
    // Before the leader has settled, batches wait in the partition, which has a limit of its own.
    while (!(await first.produce(1))) await new Promise((resolve) => setTimeout(resolve, 10))
    const clients = [first]
    while (clients.length < CONNECTIONS) clients.push(await Client.connect(network))
    let heldMax = 0
    let waitingMax = 0
    const watch = setInterval(() => {
      const sum = (pick: (client: Client) => number): number => clients.reduce((all, one) => all + pick(one), 0)
      heldMax = Math.max(
        heldMax,
        sum(({ heldBytes }) => heldBytes),
      )
      waitingMax = Math.max(
        waitingMax,
        sum(({ waitingBytes }) => waitingBytes),
      )
    }, 1)
    const outcomes = await Promise.all(clients.map((client) => client.produce(REQUESTS)))
    clearInterval(watch)
    assert.ok(outcomes.every(Boolean), 'all of it was acknowledged')
    // Queued or being written; synced, with the answers still on their way; and per connection what fills its window and what a
    // turn brought before the queue was seen to be full.
    const bound = 2 * QUEUE_BYTES_MAX + CONNECTIONS * (2 * WINDOW_BYTES + BATCH_BYTES)
    assert.ok(heldMax <= bound, `${heldMax} bytes were with the node, the limit is ${bound}`)
    assert.ok(heldMax >= QUEUE_BYTES_MAX / 2, `${heldMax} bytes with the node at the most: the limit was never tried`)
    assert.ok(waitingMax > 2 * bound, `${waitingMax} bytes waited with the clients`)
    for (const client of clients) client.close()
  } finally {
    await node.stop()
  }
})

class Client {
  readonly #connection: Connection
  readonly #frames = new FrameReader(1 << 20)
  readonly #request: Buffer
  #offered = 0
  #answered = 0
  #told: (frame: Buffer) => void = () => {}

  static connect(network: MemoryNetwork): Promise<Client> {
    return new Promise((resolve, reject) =>
      network.host('client').connect({ host: 'node', port: 9092 }, (error, connection) => {
        if (error !== null) reject(error)
        else resolve(new Client(connection!))
      }),
    )
  }

  private constructor(connection: Connection) {
    this.#connection = connection
    connection.handler = {
      received: (bytes) =>
        this.#frames.read(bytes, (frame) => {
          this.#told(frame)
          return true
        }),
      drained: () => {},
      closed: () => {},
    }
    const records = encodeBatch([{ key: null, value: Buffer.alloc(BATCH_BYTES) }], { timestamp: 0 })
    const topicData = [{ name: 'topic', partitionData: [{ index: 0, records }] }]
    this.#request = frameOf((writer) =>
      writeRequest(writer, apis.produce, 7, 0, 'client', {
        transactionalId: null,
        acks: -1,
        timeoutMs: 60_000,
        topicData,
      }),
    )
  }

  /** With the node, or on the way to it, and not answered. */
  get heldBytes(): number {
    return this.#offered - this.waitingBytes - this.#answered
  }

  get waitingBytes(): number {
    return this.#connection.queuedBytes
  }

  makeTopic(): Promise<void> {
    const topics = [{ name: 'topic', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }]
    return new Promise((resolve) => {
      this.#told = () => resolve()
      this.#connection.write(
        frameOf((writer) => writeRequest(writer, apis.createTopics, 5, 0, 'client', { topics, timeoutMs: 10_000 })),
      )
    })
  }

  /** All at once, without a thought for the node. False if any was refused. */
  produce(requests: number): Promise<boolean> {
    const topicBytes = 2 + 'topic'.length
    const errorAt = 4 + 4 + topicBytes + 4 + 4
    let left = requests
    let accepted = true
    return new Promise((resolve) => {
      this.#told = (frame) => {
        if (frame.readInt16BE(errorAt) !== 0) accepted = false
        this.#answered += this.#request.length
        if (--left === 0) resolve(accepted)
      }
      for (let i = 0; i < requests; i++) {
        this.#offered += this.#request.length
        this.#connection.write(this.#request)
      }
    })
  }

  close(): void {
    this.#connection.destroy()
  }
}

function frameOf(write: (writer: Writer) => void): Buffer {
  const writer = new Writer(1 << 10)
  write(writer)
  return writer.takeBuffer()
}

/** Every sync of a file takes its time. */
function slow(disk: MemoryDisk): Disk {
  const slowed = (file: DiskFile): DiskFile =>
    fileThrough(file, {
      datasync: (done) => void real.clock.after(SYNC_MS, () => file.datasync(done)),
    })
  return diskThrough(disk, {
    open: (path, mode, done) =>
      disk.open(path, mode, (error, file) => (error === null ? done(null, slowed(file!)) : done(error))),
  })
}
