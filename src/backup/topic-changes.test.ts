/** Topics that are deleted, made anew or restored while a backup runs: it goes on without them, and says so. */
import assert from 'node:assert/strict'
import test from 'node:test'
import kafkajs, { type Admin } from 'kafkajs'
import { type Api, apis, type DraftOf, type MessageDefinition, type MessageOf } from '../gateways/kafka/index.ts'
import { Tidemark } from '../index.ts'
import { parseAddress } from '../node-options.ts'
import type { Address } from '../platform/index.ts'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { ListOffset } from '../streams/index.ts'
import { ClusterClient, judge } from './cluster-client.ts'
import type { Manifest } from './manifest.ts'
import type { Progress } from './progress.ts'
import { askCoordinator } from './reading.ts'
import { BACKUP_DEFAULTS, takeBackup } from './taking.ts'

const platform = nodePlatform()
const HOLDER = { id: 'cd'.repeat(16), name: 'a backup of the tests' }

/** Before the first request of a kind something else happens. */
class InterruptedClient extends ClusterClient {
  readonly #before = new Map<number, () => Promise<void>>()

  before({ apiKey }: { readonly apiKey: number }, happens: () => Promise<void>): void {
    this.#before.set(apiKey, happens)
  }

  override async ask<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    const happens = this.#before.get(api.apiKey)
    this.#before.delete(api.apiKey)
    await happens?.()
    return super.ask(to, api, version, message)
  }
}

interface Rig {
  readonly client: InterruptedClient
  readonly admin: Admin
  backup(): Promise<Manifest>
  send(topic: string, values: readonly string[]): Promise<void>
  /** Deletes the topic, and makes one of its name that is there for whoever asks. */
  makeAnew(topic: string): Promise<void>
  warnings(): string[]
}

async function withNode(use: (rig: Rig) => Promise<void>): Promise<void> {
  const tidemark = await Tidemark.start({ memory: true })
  const brokers = tidemark.kafka.brokers.map((broker) => parseAddress('brokers', broker))
  const client = new InterruptedClient({ brokers, patienceMs: 1500 }, platform)
  const disk = new MemoryDisk({ powerLoss: false }, { clock: platform.clock })
  const events: Progress[] = []
  const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
  const [admin, producer] = [kafka.admin(), kafka.producer()]
  await Promise.all([admin.connect(), producer.connect()])
  const isThere = async (name: string): Promise<boolean> => {
    const topics = [{ name, partitions: [{ partitionIndex: 0, timestamp: ListOffset.latest }] }]
    const answer = await client.ask(client.anyBroker(), apis.listOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics,
    })
    return answer.topics[0]!.partitions[0]!.errorCode === 0
  }
  const backupOptions = { ...BACKUP_DEFAULTS, folder: '/backup', topics: null, holder: HOLDER, version: 't' }
  try {
    await use({
      client,
      admin,
      backup: () =>
        takeBackup(backupOptions, {
          disk,
          clock: platform.clock,
          client,
          progress: (event) => void events.push(event),
        }),
      send: async (topic, values) => {
        await producer.send({ topic, acks: -1, messages: values.map((value) => ({ partition: 0, value })) })
      },
      makeAnew: async (topic) => {
        await admin.deleteTopics({ topics: [topic] })
        await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
        while (!(await isThere(topic)));
      },
      warnings: () => events.flatMap((event) => (event.type === 'warning' ? [event.text] : [])),
    })
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()])
    client.close()
    await tidemark.stop()
  }
}

/** One position of a group without members. */
async function commit(client: ClusterClient, topic: string): Promise<void> {
  await askCoordinator<null>(client, 'billing', async (coordinator) => {
    const topics = [{ name: topic, partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: '' }] }]
    const request = { groupId: 'billing', generationIdOrMemberEpoch: -1, memberId: '', topics }
    const answer = await client.ask(coordinator, apis.offsetCommit, 7, request)
    return judge(answer.topics[0]!.partitions[0]!.errorCode, 'positions') ?? { value: null }
  })
}

const namesIn = ({ topics }: Manifest): string[] => topics.map(({ name }) => name)

test('backup: a topic that is deleted before its settings are read is left out, and the rest is backed up', async () => {
  await withNode(async ({ client, admin, backup, send, warnings }) => {
    await send('tides', ['a'])
    await send('waves', ['b'])
    client.before(apis.describeConfigs, () => admin.deleteTopics({ topics: ['tides'] }))
    assert.deepEqual(namesIn(await backup()), ['waves'])
    assert.deepEqual(warnings(), ['topic tides was deleted while it was backed up'])
  })
})

test('backup: marks of another topic of the same name are not taken for its own; the next run has the new one', async () => {
  await withNode(async ({ client, backup, makeAnew, send, warnings }) => {
    await send('tides', ['a', 'b'])
    client.before(apis.listOffsets, () => makeAnew('tides'))
    assert.deepEqual(namesIn(await backup()), [])
    assert.deepEqual(warnings(), ['topic tides was deleted while it was backed up'])
    await send('tides', ['c'])
    const { id } = client.topics.get('tides')!
    assert.deepEqual(
      (await backup()).topics.map((topic) => [topic.id, topic.partitions[0]!.nextOffset]),
      [[id, 1]],
    )
  })
})

test('backup: nor is it said that a log went back where a shorter one has the name; the old one and its positions stay', async () => {
  await withNode(async ({ client, backup, makeAnew, send, warnings }) => {
    await send('tides', ['a', 'b'])
    await commit(client, 'tides')
    const before = await backup()
    assert.equal(before.groups.length, 1)
    client.before(apis.listOffsets, () => makeAnew('tides'))
    const { topics, groups } = await backup()
    assert.deepEqual(groups, before.groups)
    assert.deepEqual(
      topics.map(({ gone, partitions }) => [gone, partitions[0]!.nextOffset]),
      [[true, 2]],
    )
    assert.deepEqual(warnings(), ['topic tides was deleted while it was backed up'])
  })
})

test('backup: a topic that is being restored, or was left so, is left out by name; positions of the one before it stay', async () => {
  await withNode(async ({ client, admin, backup, send, warnings }) => {
    await send('tides', ['a'])
    await send('waves', ['b'])
    await commit(client, 'tides')
    const before = await backup()
    await admin.deleteTopics({ topics: ['tides'] })
    const partitions = [{ baseOffset: 0, startOffset: 0, endOffset: 5 }]
    const topics = [{ name: 'tides', replicationFactor: 1, configs: [], partitions }]
    const answer = await client.ask(client.anyBroker(), apis.restoreTopics, 0, { validateOnly: false, topics })
    assert.equal(answer.topics[0]!.errorCode, 0)
    const after = await backup()
    assert.deepEqual(
      after.topics.map(({ name, gone }) => [name, gone]),
      [
        ['tides', true],
        ['waves', false],
      ],
    )
    assert.equal(before.groups.length, 1)
    assert.deepEqual(after.groups, before.groups)
    assert.equal(warnings().length, 1)
    assert.match(warnings()[0]!, /^topic tides is being restored, .* tidemark topic delete tides$/)
  })
})
