/** A connection to what is no broker, and to one whose answer was hurt on its way. */
import { strict as assert } from 'node:assert'
import net from 'node:net'
import test from 'node:test'
import { apis } from '../gateways/kafka/index.ts'
import type { Address } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { ClusterClient } from './cluster-client.ts'
import { Link, LinkLost } from './link.ts'

async function served(answer: (request: Buffer) => Buffer, use: (at: Address) => Promise<void>): Promise<void> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    socket.on('data', (request) => socket.write(answer(request)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await use({ host: '127.0.0.1', port: (server.address() as net.AddressInfo).port })
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

/** A frame with the request's correlation id, and what is no answer to it. */
function hurt(request: Buffer): Buffer {
  const body = Buffer.from([...request.subarray(8, 12), 0, 0xff, 0xff, 0xff, 0xff, 0x7f])
  const frame = Buffer.alloc(4 + body.length)
  frame.writeInt32BE(body.length)
  body.copy(frame, 4)
  return frame
}

const METADATA = { topics: null, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false }

test('link: what does not speak Kafka ends it, by the address, and whoever waits hears so', async () => {
  const { network, clock } = nodePlatform()
  for (const answer of [() => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), hurt]) {
    await served(answer, async (at) => {
      const link = new Link(at, network, clock)
      const lost = (error: unknown): boolean =>
        error instanceof LinkLost &&
        error.message.includes(`what answers at 127.0.0.1:${at.port} does not speak Kafka: `)
      await assert.rejects(link.request(apis.metadata, 12, METADATA, 5000), lost)
      assert.equal(link.isOpen, false)
      await assert.rejects(link.request(apis.metadata, 12, METADATA, 5000), lost)
    })
  }
})

test('client: an address that is not Kafka is said to be none, and one hurt answer is asked for again', async () => {
  const platform = nodePlatform()
  await served(
    () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    async (at) => {
      const client = new ClusterClient({ brokers: [at], patienceMs: 0 }, platform)
      await assert.rejects(
        client.refresh(),
        /given up .* \(no broker answers: what answers at 127.0.0.1:\d+ does not speak/,
      )
    },
  )
  await served(hurt, async (at) => {
    const client = new ClusterClient({ brokers: [at], patienceMs: 60_000 }, platform)
    let asked = 0
    const value = await client.persist('a question', async () => {
      if (asked++ > 0) return { value: 'answered' }
      return { value: String(await client.ask(at, apis.metadata, 12, METADATA)) }
    })
    assert.deepEqual([value, asked], ['answered', 2])
    client.close()
  })
})
