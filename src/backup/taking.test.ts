/** What a run copies where the leader, the hold on the log or the clock are not as they usually are. */
import assert from 'node:assert/strict'
import test from 'node:test'
import kafkajs, { type Admin } from 'kafkajs'
import { type Api, apis, type DraftOf, type MessageDefinition, type MessageOf } from '../gateways/kafka/index.ts'
import { Tidemark } from '../index.ts'
import { parseAddress } from '../node-options.ts'
import type { Address, Clock } from '../platform/index.ts'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { encodeBatch, forEachRecord, lastOffsetOf, setBaseOffset } from '../records/index.ts'
import { crc32c } from '../stdx/index.ts'
import { KafkaError, ListOffset } from '../streams/index.ts'
import { sampleManifest } from './backup.fuzz.ts'
import { ClusterClient } from './cluster-client.ts'
import { BackupError } from './errors.ts'
import { promised } from './files.ts'
import { BackupFolder } from './folder.ts'
import type { Manifest } from './manifest.ts'
import { verifyTopics } from './plan.ts'
import type { Progress } from './progress.ts'
import { fetchBatches, readMarks } from './reading.ts'
import { RESTORE_DEFAULTS, restoreBackup } from './restoring.ts'
import { SegmentWriter } from './segment-file.ts'
import { BACKUP_DEFAULTS, type BackupOptions, takeBackup } from './taking.ts'

const platform = nodePlatform()
const FOLDER = '/backup'
const HOLDER = { id: 'cd'.repeat(16), name: 'a backup of the tests' }
const COMPACTED = { 'cleanup.policy': 'compact', 'segment.bytes': '300000', 'min.cleanable.dirty.ratio': '0.01' }

const newDisk = (): MemoryDisk => new MemoryDisk({ powerLoss: false }, { clock: platform.clock })

/** Something happens before a request is sent; what it returns is the answer. */
class WatchedClient extends ClusterClient {
  before: (apiKey: number, message: Record<string, unknown>) => Promise<unknown> = async () => undefined

  override async ask<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    const answer = await this.before(api.apiKey, message as Record<string, unknown>)
    return answer === undefined ? super.ask(to, api, version, message) : (answer as MessageOf<R>)
  }

  /** Before the n-th request of this kind from now on, once. */
  beforeThe(n: number, { apiKey }: { readonly apiKey: number }, happens: () => Promise<void>): void {
    let left = n
    this.before = async (key) => {
      if (key !== apiKey || --left > 0) return
      this.before = async () => undefined
      await happens()
    }
  }
}

interface Rig {
  readonly admin: Admin
  readonly client: WatchedClient
  readonly events: Progress[]
  create(topic: string, settings?: Record<string, string>): Promise<void>
  send(topic: string, key: string, value: string | null): Promise<void>
  backup(disk: MemoryDisk, options?: Partial<BackupOptions>, clock?: Clock): Promise<Manifest>
  restore(disk: MemoryDisk): Promise<void>
  /** Of all records of partition 0: `key@offset`. */
  keys(topic: string): Promise<string[]>
}

async function withNode(use: (rig: Rig) => Promise<void>, patienceMs = 20_000): Promise<void> {
  const tidemark = await Tidemark.start({ memory: true })
  const brokers = tidemark.kafka.brokers.map((broker) => parseAddress('brokers', broker))
  const client = new WatchedClient({ brokers, patienceMs }, platform)
  const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
  const [admin, producer] = [kafka.admin(), kafka.producer({ idempotent: true, maxInFlightRequests: 1 })]
  const events: Progress[] = []
  const progress = (event: Progress) => void events.push(event)
  try {
    await Promise.all([admin.connect(), producer.connect()])
    await use({
      admin,
      client,
      events,
      create: async (topic, settings = {}) => {
        const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
        await admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }] })
      },
      send: async (topic, key, value) => {
        await producer.send({ topic, acks: -1, messages: [{ partition: 0, key, value }] })
      },
      backup: (disk, options = {}, clock = platform.clock) =>
        takeBackup(
          { ...BACKUP_DEFAULTS, folder: FOLDER, topics: null, width: 1, holder: HOLDER, version: 't', ...options },
          { disk, clock, client, progress },
        ),
      restore: async (disk) => {
        const options = { ...RESTORE_DEFAULTS, folder: FOLDER, topics: null, untilMs: null }
        await restoreBackup(options, { disk, client, progress })
        await client.refresh()
      },
      keys: (topic) => keysOf(client, topic),
    })
  } finally {
    client.close()
    await Promise.all([admin.disconnect(), producer.disconnect()])
    await tidemark.stop()
  }
}

async function keysOf(client: ClusterClient, name: string): Promise<string[]> {
  await client.refresh()
  const topic = client.topics.get(name)!
  const { startOffset, highWatermark } = (await readMarks(client, topic, 0))!
  const keys: string[] = []
  for (let next = startOffset; next < highWatermark; ) {
    const fetched = await fetchBatches(client, topic, 0, next, { maxBytes: 1 << 20 })
    assert.ok(fetched !== null && fetched !== 'out-of-range')
    for (const batch of fetched.batches) {
      forEachRecord(batch, 0, ({ offset, key }) => {
        keys.push(`${key}@${offset}`)
        return true
      })
      next = lastOffsetOf(batch, 0) + 1
    }
  }
  return keys
}

/** As when the lease has ended: whatever may go the leader lets go at once, and not at its next look. */
async function loseHold(client: ClusterClient, name: string): Promise<void> {
  const topic = client.topics.get(name)!
  const message = { name, topicId: topic.id, partitionIndex: 0, holder: HOLDER.id, holderName: HOLDER.name }
  for (const leaseMs of [30_000, 0])
    await client.ask(topic.leaders[0]!, apis.holdLog, 0, { ...message, offset: 0, leaseMs })
}

const told = (events: readonly Progress[]): string[] =>
  events.flatMap((event) => ('text' in event ? [`${event.type}: ${event.text}`] : []))

/** Nine records below the mark, a victim among them, and then, while the log is not held, it is written anew above the mark. */
async function overwriteUnheld({ create, client, send, keys }: Rig): Promise<void> {
  await create('prices', COMPACTED)
  for (let i = 0; i < 4; i++) await send('prices', `${i}`, 'x'.repeat(100_000))
  await send('prices', 'victim', 'one')
  await send('prices', 'tail', 'one')
  client.beforeThe(2, apis.fetch, async () => {
    await send('prices', 'victim', 'two')
    const compacted = (async () => {
      while ((await keys('prices')).includes('victim@4')) await loseHold(client, 'prices')
    })()
    for (let i = 0; i < 6; i++) await send('prices', `${i % 3}`, 'x'.repeat(100_000))
    await compacted
  })
}

test('compacted: what goes while the log is not held, written anew above the mark, is copied from there', async () => {
  const disk = newDisk()
  await withNode(async (rig) => {
    await overwriteUnheld(rig)
    await rig.backup(disk, { fetchBytes: 150_000 })
    assert.deepEqual(told(rig.events), [])
  })
  await withNode(async ({ restore, keys }) => {
    await restore(disk)
    assert.deepEqual(
      (await keys('prices')).filter((key) => key.startsWith('victim')),
      ['victim@6'],
    )
  })
})

test('compacted: a log that nobody holds is read until it is quiet; where it never is, the keys that may lack are told', async () => {
  await withNode(async ({ create, send, backup, client, events, keys }) => {
    await create('prices', COMPACTED)
    for (const key of ['a', 'b', 'c']) await send('prices', key, 'one')
    let written = 0
    let until = 5
    client.pause = () => Promise.resolve()
    client.before = async (apiKey) => {
      if (apiKey === apis.holdLog.apiKey)
        return { errorCode: KafkaError.POLICY_VIOLATION, errorMessage: 'held by 16', logStartOffset: 0, renewed: false }
      if (apiKey === apis.fetch.apiKey && written < until) await send('prices', `${written++}`, 'one')
      return undefined
    }
    const quiet = await backup(newDisk())
    assert.equal(quiet.topics[0]!.partitions[0]!.nextOffset, 8)
    assert.deepEqual(told(events), [
      'note: topic prices, partition 0: was not held against retention at last: held by 16',
    ])
    events.length = 0
    until = Number.POSITIVE_INFINITY
    const busy = await backup(newDisk())
    const { nextOffset } = busy.topics[0]!.partitions[0]!
    const cuts = events.filter((event) => event.type === 'cut')
    assert.deepEqual(
      cuts.map(({ topic, partition, from, to }) => [topic, partition, from, to]),
      [['prices', 0, nextOffset, nextOffset + 1]],
    )
    assert.match(cuts[0]!.text, /^topic prices, partition 0: was not held against compaction \(held by 16\): of keys/)
    until = written
    assert.equal((await keys('prices')).length, nextOffset + 1)
  })
})

/** The wall stands still until it is moved. */
function wallClock(): { readonly clock: Clock; pass(ms: number): void } {
  let wallMs = platform.clock.wall()
  const clock = Object.assign(Object.create(platform.clock) as Clock, {
    now: () => platform.clock.now(),
    wall: () => wallMs,
  })
  const pass = (ms: number): void => {
    wallMs += ms
  }
  return { clock, pass }
}

const ANEW = 'note: topic prices is compacted, and deletions since the last run may be gone: copied anew'

test('compacted: a deletion that goes while the partition waits for its turn is not forgotten', async () => {
  const disk = newDisk()
  await withNode(async ({ create, send, backup, client, events, keys }) => {
    await create('before')
    await create('prices', { ...COMPACTED, 'delete.retention.ms': '200' })
    const { clock, pass } = wallClock()
    await send('prices', 'gone', 'v')
    await backup(disk, {}, clock)
    await send('before', 'k', 'v')
    await send('prices', 'gone', null)
    client.beforeThe(1, apis.fetch, async () => {
      for (let i = 0; i < 6; i++) await send('prices', `${i % 3}`, 'x'.repeat(100_000))
      while ((await keys('prices')).some((key) => key.startsWith('gone'))) await loseHold(client, 'prices')
      pass(201)
    })
    await backup(disk, {}, clock)
    assert.deepEqual(told(events), [ANEW])
  })
  await withNode(async ({ restore, keys }) => {
    await restore(disk)
    assert.ok((await keys('prices')).every((key) => !key.startsWith('gone')))
  })
})

test('compacted: what took longer to add than deletions are kept is copied anew, and the addition goes', async () => {
  const disk = newDisk()
  await withNode(async ({ create, send, backup, client, events }) => {
    await create('prices', { ...COMPACTED, 'delete.retention.ms': '60000' })
    const { clock, pass } = wallClock()
    const segments = async () =>
      (await backup(disk, {}, clock)).topics[0]!.partitions[0]!.segments.map(({ number }) => number)
    await send('prices', 'k', '1')
    assert.deepEqual(await segments(), [1])
    await send('prices', 'k', '2')
    pass(30_000)
    client.beforeThe(1, apis.fetch, async () => pass(30_000))
    assert.deepEqual([await segments(), told(events)], [[1, 2], []], 'in time')
    await send('prices', 'k', '3')
    client.beforeThe(1, apis.fetch, async () => pass(60_001))
    assert.deepEqual([await segments(), told(events)], [[4], [ANEW]])
    assert.deepEqual(await promised<string[]>((done) => disk.list(`${FOLDER}/segments`, done)), ['00000004.batches'])
    assert.equal(events.filter(({ type }) => type === 'partition-done').length, 3)
  })
})

test('a leader that never serves what its log is said to have is given up when the patience is over', async () => {
  const answers: [RegExp, number][] = [
    [
      /topic tides, partition 0: given up after 0 s .*offset 0 is out of the leader’s range.*goes on/,
      KafkaError.OFFSET_OUT_OF_RANGE,
    ],
    [/topic tides, partition 0: given up after 0 s .*nothing comes from offset 0 on/, KafkaError.NONE],
  ]
  await withNode(async ({ create, send, backup, client }) => {
    await create('tides')
    await send('tides', 'k', 'v')
    for (const [message, errorCode] of answers) {
      client.before = async (apiKey) =>
        apiKey === apis.fetch.apiKey ? { responses: [{ partitions: [{ errorCode, records: null }] }] } : undefined
      await assert.rejects(backup(newDisk()), (error) => {
        assert.ok(error instanceof BackupError && error.code === 'UNREACHABLE', String(error))
        assert.match(error.message, message)
        return true
      })
    }
  }, 250)
})

test('what was cut between two runs is told once', async () => {
  await withNode(async ({ admin, create, send, backup, client, events }) => {
    await create('tides')
    const disk = newDisk()
    for (const key of ['a', 'b', 'c']) await send('tides', key, 'v')
    await backup(disk)
    for (const key of ['d', 'e']) await send('tides', key, 'v')
    await admin.fetchTopicOffsets('tides')
    await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '5' }] })
    await backup(disk)
    assert.deepEqual(told(events), [
      'warning: topic tides, partition 0: offsets 3 to 4 were cut from the log before they were backed up',
    ])
    // The last segment ends at 3; the log was known up to 5.
    client.before = async (apiKey) =>
      apiKey === apis.listOffsets.apiKey ? { topics: [{ partitions: [{ errorCode: 0, offset: 4 }] }] } : undefined
    await assert.rejects(backup(disk), /ends at offset 4, the backup holds it up to 5/)
    client.before = async () => undefined
    await backup(disk)
    await send('tides', 'f', 'v')
    const { startOffset, nextOffset } = (await backup(disk)).topics[0]!.partitions[0]!
    assert.deepEqual([startOffset, nextOffset, told(events).length], [5, 6, 1])
  })
})

test('a segment is left before its records are more than its footer can count', async () => {
  const many = 0x7fff_fffe
  let atOnce = 0
  const batches = [0, 1, 2].map((i) => {
    const batch = encodeBatch([{ key: null, value: Buffer.from('x'), timestamp: 1 }], { timestamp: 1 })
    setBaseOffset(batch, 0, i * many)
    // As a compressed batch may say of itself: what is stored is taken at its word.
    batch.writeInt32BE(many - 1, 23)
    batch.writeInt32BE(many, 57)
    batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
    return batch
  })
  await withNode(async ({ create, backup, client }) => {
    await create('tides')
    client.before = async (apiKey, message) => {
      if (apiKey === apis.listOffsets.apiKey) {
        const { topics } = message as { topics: { partitions: { timestamp: number }[] }[] }
        const offset = topics[0]!.partitions[0]!.timestamp === ListOffset.earliest ? 0 : 3 * many
        return { topics: [{ partitions: [{ errorCode: 0, offset }] }] }
      }
      if (apiKey !== apis.fetch.apiKey) return undefined
      const { topics } = message as { topics: { partitions: { fetchOffset: number }[] }[] }
      const from = topics[0]!.partitions[0]!.fetchOffset / many
      const records = Buffer.concat(batches.slice(from, from + atOnce))
      return { responses: [{ partitions: [{ errorCode: 0, records }] }] }
    }
    for (atOnce of [3, 1]) {
      const disk = newDisk()
      const { topics } = await backup(disk)
      const counts = topics[0]!.partitions[0]!.segments.map(({ records }) => records)
      assert.deepEqual(counts, [2 * many, many])
      await verifyTopics(disk, new BackupFolder(FOLDER, disk), topics, () => {})
    }
  })
})

test('what a stopped run knew to have gone meanwhile is told by the one that goes on from it', async () => {
  await withNode(async ({ admin, create, send, backup, client, events }) => {
    await create('tides')
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) await send('tides', key, 'v')
    await client.refresh()
    const topic = client.topics.get('tides')!
    const fetched = (await fetchBatches(client, topic, 0, 0, { maxBytes: 1 << 20 })) as { batches: Buffer[] }
    const disk = newDisk()
    const folder = new BackupFolder(FOLDER, disk)
    await folder.create()
    let previousCrc = 0
    for (const [number, offsets] of [[0, 1], [3], [4]].entries()) {
      const header = { partition: 0, topicId: topic.id, number: number + 1, baseOffset: offsets[0]!, previousCrc }
      const writer = await SegmentWriter.create(disk, folder.segments, header)
      await writer.append(offsets.map((offset) => fetched.batches[offset]!))
      previousCrc = (await writer.seal()).crc
    }
    await admin.fetchTopicOffsets('tides')
    await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '3' }] })
    await backup(disk)
    const cuts = events.filter((event) => event.type === 'cut')
    assert.deepEqual(
      cuts.map(({ partition, from, to }) => [partition, from, to]),
      [[0, 2, 3]],
    )
    assert.match(cuts[0]!.text, /^topic tides, partition 0: offsets 2 to 2 went while a run that was stopped/)
    events.length = 0
    const { segments } = (await backup(disk)).topics[0]!.partitions[0]!
    assert.deepEqual([segments.map(({ number }) => number), told(events)], [[1, 2, 3, 4], []])
  })
})

test('a manifest that nobody could read does not take the place of one', async () => {
  const disk = newDisk()
  const folder = new BackupFolder(FOLDER, disk)
  await folder.create()
  const manifest = { ...sampleManifest(), topics: [], groups: [] }
  await folder.writeManifest(manifest)
  const [topic] = sampleManifest().topics
  const partitions = [{ startOffset: 8, nextOffset: 7, segments: [] }]
  const wrong = { ...manifest, topics: [{ ...topic!, partitions }] }
  await assert.rejects(folder.writeManifest(wrong), /manifest.json \(a new one, not written\): .*starts above its end/)
  assert.deepEqual(await folder.manifest(), manifest)
})

test('compacted: whoever reads for longer than deletions are kept is told what that may mean', async () => {
  await withNode(async ({ create, send, backup, client, events }) => {
    await create('prices', { ...COMPACTED, 'delete.retention.ms': '60000' })
    await send('prices', 'k', '1')
    const { clock, pass } = wallClock()
    client.beforeThe(1, apis.fetch, async () => pass(60_001))
    await backup(newDisk(), {}, clock)
    assert.deepEqual(told(events), [
      'warning: topic prices, partition 0: to be read took longer than deletions are kept (delete.retention.ms: 60000); keys that were deleted meanwhile may be in the backup: set it higher',
    ])
  })
})
