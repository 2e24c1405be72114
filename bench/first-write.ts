/** From nothing to the first acknowledged write: what whoever restarts a node waits for. */
import { spawn } from 'node:child_process'
import net from 'node:net'
import { apis } from '../src/gateways/kafka/index.ts'
import { COMMAND } from '../src/package.ts'
import { encodeBatch } from '../src/records/index.ts'
import { RawClient } from './raw-client.ts'

const GIVE_UP_MS = 60_000

export interface FirstWrite {
  /** From the spawn of the process. */
  readonly acknowledgedMs: number
  /** What the node said of its recovery; empty for a new directory. */
  readonly recovery: string
}

/** Starts `tidemark start` on the directory, writes one record to the topic (made on the way), and ends it with `end`. */
export async function firstWrite({
  data,
  topic,
  end,
}: {
  data: string
  topic: string
  end: 'SIGTERM' | 'SIGKILL'
}): Promise<FirstWrite> {
  const [kafka, http, peer] = await freePorts(3)
  const addresses = ['--kafka', `127.0.0.1:${kafka}`, '--http', `127.0.0.1:${http}`, '--peer', `127.0.0.1:${peer}`]
  const from = performance.now()
  const child = spawn(process.execPath, [...process.execArgv, COMMAND, 'start', '--data', data, ...addresses], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  try {
    await firstAcknowledgement(`127.0.0.1:${kafka}`, topic)
    return { acknowledgedMs: performance.now() - from, recovery: /recovered .*/.exec(output)?.[0] ?? '' }
  } finally {
    child.kill(end)
    await ended
  }
}

export async function firstAcknowledgement(broker: string, topic: string): Promise<void> {
  const client = await connectSoon(broker)
  try {
    await until('a leader', async () => {
      const { topics } = await client.request(apis.metadata, 9, {
        topics: [{ name: topic }],
        allowAutoTopicCreation: true,
      })
      return (topics[0]?.partitions[0]?.leaderId ?? -1) >= 0
    })
    await until('an acknowledgement', async () => {
      const records = encodeBatch([{ key: null, value: Buffer.from('first') }], { timestamp: Date.now() })
      const request = {
        transactionalId: null,
        acks: -1,
        timeoutMs: 1000,
        topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
      }
      const { responses } = await client.request(apis.produce, 8, request)
      return responses[0]?.partitionResponses[0]?.errorCode === 0
    })
  } finally {
    client.close()
  }
}

async function connectSoon(broker: string): Promise<RawClient> {
  let client: RawClient | null = null
  await until('a listener', async () => {
    client = await RawClient.connect(broker).catch(() => null)
    return client !== null
  })
  return client!
}

async function until(what: string, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + GIVE_UP_MS
  while (!(await attempt())) {
    if (performance.now() > deadline) throw new Error(`waited ${GIVE_UP_MS} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

function freePorts(count: number): Promise<number[]> {
  const one = (): Promise<net.Server> =>
    new Promise((resolve, reject) => {
      const server = net.createServer()
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve(server))
    })
  return Promise.all(Array.from({ length: count }, one)).then(async (servers) => {
    const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    return ports
  })
}
