/** What a backup that is under way holds, what it does not, and what it says of records that went nevertheless. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import kafkajs, { type Admin } from 'kafkajs'
import { type Api, apis, type DraftOf, type MessageDefinition, type MessageOf } from '../gateways/kafka/index.ts'
import { Tidemark } from '../index.ts'
import { parseAddress } from '../node-options.ts'
import type { Address, Clock, Timer } from '../platform/index.ts'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { KafkaError } from '../streams/index.ts'
import { ClusterClient, type TopicInCluster } from './cluster-client.ts'
import { BackupFolder } from './folder.ts'
import { LogHold } from './holding.ts'
import { LinkLost } from './link.ts'
import { verifyTopics } from './plan.ts'
import type { Progress } from './progress.ts'
import { readMarks } from './reading.ts'
import { BACKUP_DEFAULTS, takeBackup } from './taking.ts'

const platform = nodePlatform()
const HOLDER = { id: 'cd'.repeat(16), name: 'a backup of the tests' }

/** Asks nobody: answers as it is told, and keeps what was asked. */
class ScriptedClient extends ClusterClient {
  leader: Address | null = { host: 'one', port: 1 }
  answer: Partial<MessageOf<typeof apis.holdLog.response.definition>> | LinkLost = {}
  readonly asked: string[] = []

  override leaderOf(): Address | null {
    return this.leader
  }

  override ask<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    _api: Api<Q, R>,
    _version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    const { offset, leaseMs } = message as unknown as { offset: number; leaseMs: number }
    this.asked.push(`${to.host} ${offset} ${leaseMs}`)
    if (this.answer instanceof LinkLost) return Promise.reject(this.answer)
    return Promise.resolve({
      errorCode: 0,
      errorMessage: null,
      logStartOffset: 0,
      renewed: true,
      ...this.answer,
    } as never)
  }
}

class HandClock implements Clock {
  time = 0

  now(): number {
    return this.time
  }

  wall(): number {
    return this.time
  }

  after(): Timer {
    throw new Error('nothing waits')
  }

  every(): Timer {
    throw new Error('nothing waits')
  }

  endOfTurn(): void {}
}

test('holding: renewed after a third of the lease, and at once where another node leads', async () => {
  const clock = new HandClock()
  const client = new ScriptedClient({ brokers: [], patienceMs: 0 }, { network: platform.network, clock })
  const hold = new LogHold(client, clock, HOLDER, { name: 'tides', id: 'ab' } as TopicInCluster, 0)
  const asked = async (offset: number): Promise<string[]> => {
    await hold.keep(offset)
    return client.asked.splice(0)
  }
  assert.deepEqual(await asked(5), ['one 5 30000'])
  clock.time = 9999
  assert.deepEqual(await asked(8), [])
  clock.time = 10_000
  assert.deepEqual(await asked(9), ['one 9 30000'])
  client.leader = null
  assert.deepEqual(await asked(10), [])
  client.leader = { host: 'two', port: 1 }
  client.answer = { errorCode: KafkaError.NOT_LEADER_OR_FOLLOWER }
  assert.deepEqual(await asked(10), ['two 10 30000'])
  assert.match(hold.refusal!, /NOT_LEADER/)
  assert.deepEqual(await asked(10), [])
  clock.time += 1000
  client.answer = new LinkLost('gone')
  assert.deepEqual([await asked(11), hold.refusal], [['two 11 30000'], 'gone'])
  // It may not know the request, and has closed a connection that others use.
  clock.time += 9999
  assert.deepEqual(await asked(11), [])
  clock.time += 1
  client.answer = {}
  assert.deepEqual([await asked(12), hold.refusal], [['two 12 30000'], null])
  // It was cut: the next offset is held at once.
  hold.lost()
  client.answer = { errorCode: KafkaError.OFFSET_OUT_OF_RANGE, errorMessage: 'cut again', logStartOffset: 21 }
  assert.deepEqual([await asked(20), hold.refusal], [['two 20 30000'], null])
  // A new leader that does not know yet that it is there.
  hold.lost()
  client.answer = { errorCode: KafkaError.OFFSET_OUT_OF_RANGE, errorMessage: 'the log goes from 0 to 19' }
  assert.deepEqual([await asked(20), hold.refusal], [['two 20 30000'], 'the log goes from 0 to 19'])
  clock.time += 1000
  client.answer = {}
  assert.deepEqual([await asked(20), hold.refusal], [['two 20 30000'], null])
  client.answer = new LinkLost('gone')
  await hold.release()
  await hold.release()
  assert.deepEqual(client.asked, ['two 0 0'])
})

test('holding: it stood only where the leader that granted it says each time that it did', async () => {
  const clock = new HandClock()
  const refused = { errorCode: KafkaError.POLICY_VIOLATION }
  const stood = async (happens: (client: ScriptedClient, keep: () => Promise<void>) => Promise<void>) => {
    const client = new ScriptedClient({ brokers: [], patienceMs: 0 }, { network: platform.network, clock })
    const hold = new LogHold(client, clock, HOLDER, { name: 'tides', id: 'ab' } as TopicInCluster, 0)
    client.answer = { renewed: false }
    await hold.begin(5)
    client.answer = {}
    await happens(client, () => {
      clock.time += 30_000
      return hold.keep(6)
    })
    return hold.stood(9)
  }
  const [one, two] = ['one', 'two'].map((host) => ({ host, port: 1 })) as [Address, Address]
  assert.equal(await stood(async () => {}), true)
  assert.equal(await stood((_, keep) => keep()), true)
  const during = (answer: ScriptedClient['answer']) =>
    stood(async (client, keep) => {
      client.answer = answer
      await keep()
      client.answer = {}
    })
  assert.equal(await during(refused), true, 'what is refused leaves an earlier one as it was')
  assert.equal(await during({ renewed: false }), false, 'it had ended')
  assert.equal(await during(new LinkLost('gone')), false, 'that may have been a new one')
  const lastly = (change: Partial<Pick<ScriptedClient, 'answer' | 'leader'>>) =>
    stood(async (client) => void Object.assign(client, change))
  assert.equal(await lastly({ answer: { renewed: false } }), false)
  assert.equal(await lastly({ answer: refused }), false)
  assert.equal(await lastly({ answer: new LinkLost('gone') }), false)
  assert.equal(await lastly({ leader: two }), false)
  assert.equal(await lastly({ leader: null }), false)
  const thereAndBack = stood(async (client, keep) => {
    client.leader = two
    await keep()
    client.leader = one
  })
  assert.equal(await thereAndBack, false)
})

/** Fetches wait while the gate is closed, which is after so many. */
class GatedClient extends ClusterClient {
  fetches = 0
  #open: () => void = () => {}
  readonly #opened = new Promise<void>((resolve) => (this.#open = resolve))
  #reached: () => void = () => {}
  readonly reached = new Promise<void>((resolve) => (this.#reached = resolve))

  open(): void {
    this.#open()
  }

  override async ask<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    if (api.apiKey === apis.fetch.apiKey && ++this.fetches === 3) {
      this.#reached()
      await this.#opened
    }
    return super.ask(to, api, version, message)
  }
}

interface Rig {
  readonly tidemark: Tidemark
  readonly admin: Admin
  readonly client: GatedClient
  send(partition: number, count: number, bytes?: number): Promise<void>
  alter(name: string, value: string): Promise<void>
  starts(): Promise<number[]>
}

async function withTopic(options: { data?: string }, use: (rig: Rig) => Promise<void>): Promise<void> {
  const tidemark = await Tidemark.start(options.data === undefined ? { memory: true } : { data: options.data })
  const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
  const [admin, producer] = [kafka.admin(), kafka.producer({ idempotent: true, maxInFlightRequests: 1 })]
  const brokers = tidemark.kafka.brokers.map((broker) => parseAddress('brokers', broker))
  const client = new GatedClient({ brokers, patienceMs: 20_000 }, platform)
  try {
    await Promise.all([admin.connect(), producer.connect()])
    const settings = { 'segment.bytes': '200000', 'retention.ms': '-1' }
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [{ topic: 'tides', numPartitions: 2, configEntries }] })
    const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: 'tides' }
    await use({
      tidemark,
      admin,
      client,
      send: async (partition, count, bytes = 50_000) => {
        const messages = [{ partition, value: 'x'.repeat(bytes) }]
        for (let i = 0; i < count; i++) await producer.send({ topic: 'tides', acks: -1, messages })
      },
      alter: async (name, value) => {
        const entries = Object.entries({ ...settings, [name]: value }).map(([key, text]) => ({
          name: key,
          value: text,
        }))
        await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: entries }] })
      },
      starts: async () => {
        const offsets = await admin.fetchTopicOffsets('tides')
        return offsets.sort((a, b) => a.partition - b.partition).map(({ low }) => Number(low))
      },
    })
  } finally {
    client.open()
    client.close()
    await Promise.all([admin.disconnect(), producer.disconnect()])
    await tidemark.stop()
  }
}

/** One partition at a time, a few batches with each fetch. */
function beginBackup(client: ClusterClient) {
  const disk = new MemoryDisk({ powerLoss: false }, { clock: platform.clock })
  const events: Progress[] = []
  const backup = takeBackup(
    { ...BACKUP_DEFAULTS, fetchBytes: 100_000, width: 1, folder: '/b', topics: null, holder: HOLDER, version: 't' },
    { disk, clock: platform.clock, client, progress: (event) => void events.push(event) },
  )
  return { disk, events, backup }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('a log that is backed up is held meanwhile, shown so, and cut afterwards; one whose turn has not come is cut', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-hold-'))
  try {
    await withTopic({ data: directory }, async ({ tidemark, client, send, alter, starts }) => {
      await Promise.all([send(0, 30), send(1, 30)])
      const { disk, events, backup } = beginBackup(client)
      await client.reached
      // What is written now, and what the settings say now, would move both starts far above what was read.
      await Promise.all([send(0, 10), send(1, 10)])
      await alter('retention.bytes', '200000')
      while ((await starts())[1] === 0) await pause(10)
      await pause(200)
      assert.equal((await starts())[0], 0)
      const { shards } = await tidemark.status()
      const heldBy = [0, 1].map(
        (number) => shards.find(({ topic, partition }) => topic === 'tides' && partition === number)!.startHeldBy,
      )
      assert.match(
        heldBy[0]!,
        /^held by a backup of the tests \(until it ends, or 30 s after its last sign\) at entry \d+$/,
      )
      assert.doesNotMatch(heldBy[1]!, /held/)
      client.open()
      const manifest = await backup
      const [held, other] = manifest.topics[0]!.partitions
      assert.deepEqual([held!.startOffset, held!.nextOffset], [0, 30])
      assert.equal(
        held!.segments.reduce((sum, { records }) => sum + records, 0),
        30,
      )
      assert.ok(other!.startOffset > 0 && other!.nextOffset === 40)
      await verifyTopics(disk, new BackupFolder('/b', disk), manifest.topics, () => {})
      assert.deepEqual(
        events.filter(({ type }) => type === 'cut' || type === 'warning' || type === 'note'),
        [],
      )
      const deadline = platform.clock.now() + 15_000
      while ((await starts())[0]! < 30) {
        assert.ok(platform.clock.now() < deadline, 'it is let go at the end, not when the lease has ended')
        await pause(10)
      }
    })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('records that are deleted from a log while it is backed up are not held; the backup says which, and goes on above', async () => {
  await withTopic({}, async ({ admin, client, send, starts }) => {
    await send(0, 30)
    const { disk, events, backup } = beginBackup(client)
    await client.reached
    await starts()
    await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '25' }] })
    client.open()
    const manifest = await backup
    const cuts = events.filter((event) => event.type === 'cut')
    const { from } = cuts[0]!
    assert.ok(from > 0 && from < 25)
    assert.deepEqual(
      cuts.map(({ topic, partition, to }) => [topic, partition, to]),
      [['tides', 0, 25]],
    )
    assert.match(
      cuts[0]!.text,
      new RegExp(`^topic tides, partition 0: offsets ${from} to 24 went while it was backed up`),
    )
    const { startOffset, nextOffset } = manifest.topics[0]!.partitions[0]!
    assert.deepEqual([startOffset, nextOffset], [25, 30])
    await verifyTopics(disk, new BackupFolder('/b', disk), manifest.topics, () => {})
    assert.deepEqual(await readMarks(client, client.topics.get('tides')!, 0), { startOffset: 25, highWatermark: 30 })
  })
})
