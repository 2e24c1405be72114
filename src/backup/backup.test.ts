/** Backups against nodes in memory: what damaged, missing and foreign files are called, logs that begin in a batch, times. */
import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import test from 'node:test'
import kafkajs from 'kafkajs'
import { apis } from '../gateways/kafka/index.ts'
import { Tidemark } from '../index.ts'
import { parseAddress } from '../node-options.ts'
import { PlatformError } from '../platform/index.ts'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { baseOffsetOf, encodeBatch, forEachRecord, lastOffsetOf, setBaseOffset } from '../records/index.ts'
import { KafkaError } from '../streams/index.ts'
import { fuzz, sampleManifest } from './backup.fuzz.ts'
import { ClusterClient } from './cluster-client.ts'
import { BackupError, type BackupFailure } from './errors.ts'
import { promised, readAt, withFile } from './files.ts'
import { BackupFolder } from './folder.ts'
import { decodeManifest, encodeManifest, type Manifest, type ManifestTopic } from './manifest.ts'
import { batchesOf, planTopic, verifyTopics } from './plan.ts'
import type { Progress } from './progress.ts'
import { fetchBatches, readMarks } from './reading.ts'
import { RESTORE_DEFAULTS, type RestoreOptions, type RestoreReport, restoreBackup } from './restoring.ts'
import { SegmentWriter } from './segment-file.ts'
import { segmentName } from './segment-format.ts'
import { BACKUP_DEFAULTS, type BackupOptions, takeBackup } from './taking.ts'

const platform = nodePlatform()
const FOLDER = '/backup'
const TOPIC_ID = 'ab'.repeat(16)
const HOLDER = { id: 'cd'.repeat(16), name: 'a backup of the tests' }

const newDisk = (): MemoryDisk => new MemoryDisk({ powerLoss: false }, { clock: platform.clock })

function coded(code: BackupFailure['code'], message = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BackupError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }
}

function batchAt(baseOffset: number, count: number, timestamp: number): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({
    key: null,
    value: Buffer.from(`${baseOffset + i}`),
    timestamp: timestamp + i,
  }))
  const batch = encodeBatch(records, { timestamp, producerId: 1, producerEpoch: 0, baseSequence: 0 })
  setBaseOffset(batch, 0, baseOffset)
  return batch
}

/** A folder as a run would leave it: one partition, these batches in each of its segments. */
async function folderWith(
  disk: MemoryDisk,
  files: readonly (readonly Buffer[])[],
  startOffset: number,
  groups: Manifest['groups'] = [],
): Promise<BackupFolder> {
  const folder = new BackupFolder(FOLDER, disk)
  await folder.create()
  const segments = []
  let previousCrc = 0
  for (const [i, batches] of files.entries()) {
    const baseOffset = baseOffsetOf(batches[0]!, 0)
    const header = { partition: 0, topicId: TOPIC_ID, number: i + 1, baseOffset, previousCrc }
    const writer = await SegmentWriter.create(disk, folder.segments, header)
    await writer.append(batches)
    segments.push(await writer.seal())
    previousCrc = segments[i]!.crc
  }
  const nextOffset = segments.at(-1)?.nextOffset ?? startOffset
  const partitions = [{ startOffset, nextOffset, segments }]
  // Its records are of 1970: a minute after the restore nothing would be left of them.
  // The second was accepted once, and meant nothing.
  const settings = { 'retention.ms': '-1', 'compression.type': 'zstd' }
  const topic: ManifestTopic = {
    name: 'tides',
    id: TOPIC_ID,
    settings,
    replicationFactor: 3,
    takenAtMs: 1,
    gone: false,
    partitions,
  }
  await folder.writeManifest({ version: 1, clusterId: 'other', takenAtMs: 1, takenBy: 't', topics: [topic], groups })
  return folder
}

interface Rig {
  readonly tidemark: Tidemark
  readonly client: ClusterClient
  readonly events: Progress[]
  backup(disk: MemoryDisk, options?: Partial<BackupOptions>): Promise<Manifest>
  restore(disk: MemoryDisk, options?: Partial<RestoreOptions>): Promise<RestoreReport>
  send(topic: string, values: readonly string[]): Promise<void>
}

async function withNode<T>(use: (rig: Rig) => Promise<T>): Promise<T> {
  const tidemark = await Tidemark.start({ memory: true })
  const brokers = tidemark.kafka.brokers.map((broker) => parseAddress('brokers', broker))
  const client = new ClusterClient({ brokers, patienceMs: 20_000 }, platform)
  const events: Progress[] = []
  const progress = (event: Progress) => void events.push(event)
  const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    return await use({
      tidemark,
      client,
      events,
      backup: (disk, options = {}) =>
        takeBackup(
          { ...BACKUP_DEFAULTS, folder: FOLDER, topics: null, holder: HOLDER, version: 't', ...options },
          { disk, clock: platform.clock, client, progress },
        ),
      restore: (disk, options = {}) =>
        restoreBackup(
          { ...RESTORE_DEFAULTS, folder: FOLDER, topics: null, untilMs: null, ...options },
          { disk, client, progress },
        ),
      send: async (topic, values) => {
        await producer.send({ topic, acks: -1, messages: values.map((value) => ({ partition: 0, value })) })
      },
    })
  } finally {
    await producer.disconnect()
    client.close()
    await tidemark.stop()
  }
}

async function edit(disk: MemoryDisk, path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await withFile(disk, path, 'write', async (file) => {
    const size = await promised<number>((done) => file.size(done))
    const bytes = change(await readAt(file, 0, size))
    await promised<void>((done) => file.truncate(0, done))
    await promised<void>((done) => file.write([bytes], 0, done))
  })
}

test('manifest: comes back as it was; with any bit turned it is damaged', () => {
  const manifest = sampleManifest()
  const bytes = encodeManifest(manifest)
  assert.deepEqual(decodeManifest(bytes, 'm'), manifest)
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 1 << (at % 8)
    assert.throws(
      () => decodeManifest(damaged, '/b/manifest.json'),
      coded('MANIFEST_DAMAGED', /^\/b\/manifest.json: .*copy/),
    )
    assert.throws(() => decodeManifest(bytes.subarray(0, at), 'm'), coded('MANIFEST_DAMAGED'))
  }
})

test('manifest: what contradicts itself is damaged, whatever its sum; a newer one says so', () => {
  const contradictions: [RegExp, (manifest: Record<string, never>) => void][] = [
    [/named twice/, (it) => set(it, 'topics.0.partitions.2.segments.0.number', 1)],
    [/holds nothing/, (it) => set(it, 'topics.0.partitions.0.segments.0.nextOffset', 0)],
    [/follows another/, (it) => set(it, 'topics.0.partitions.0.segments.1.previousCrc', 8)],
    [/overlaps/, (it) => set(it, 'topics.0.partitions.0.segments.1.baseOffset', 9)],
    [/leaves a hole/, (it) => set(it, 'topics.0.partitions.2.startOffset', 49)],
    [/ends too early/, (it) => set(it, 'topics.0.partitions.0.nextOffset', 19)],
    [/lacks its end/, (it) => set(it, 'topics.0.partitions.0.nextOffset', 21)],
    [/lacks its start/, (it) => set(it, 'topics.0.partitions.0.segments.0.baseOffset', 4)],
    [/starts above/, (it) => set(it, 'topics.0.partitions.1.startOffset', 1)],
    [/id is not one/, (it) => set(it, 'topics.0.id', '../../etc')],
    [/is no text/, (it) => set(it, 'topics.0.name', 7)],
    [/is no text/, (it) => set(it, 'topics.0.settings.x', 7)],
    [/is no list/, (it) => set(it, 'groups', {})],
    [/is no object/, (it) => set(it, 'groups.0', null)],
    [/below 0/, (it) => set(it, 'groups.0.positions.0.offset', -1)],
    [/neither true nor false/, (it) => set(it, 'topics.0.gone', 0)],
    [/is no whole number/, (it) => set(it, 'takenAtMs', 1.5)],
  ]
  for (const [reason, change] of contradictions) {
    const manifest = structuredClone(sampleManifest()) as unknown as Record<string, never>
    change(manifest)
    assert.throws(() => decodeManifest(encodeManifest(manifest as never), 'm'), coded('MANIFEST_DAMAGED', reason))
  }
  const newer = encodeManifest({ ...sampleManifest(), version: 2 })
  assert.throws(() => decodeManifest(newer, 'm'), coded('VERSION_UNKNOWN', /newer/))
})

function set(object: Record<string, never>, path: string, value: unknown): void {
  const keys = path.split('.')
  let at = object
  for (const key of keys.slice(0, -1)) at = at[key]!
  at[keys.at(-1)!] = value as never
}

test('manifest and segment heads survive a short fuzzing', () => fuzz(3, 300))

test('folders: nothing there, never finished, in use', async () => {
  const disk = newDisk()
  const folder = new BackupFolder(FOLDER, disk)
  await assert.rejects(folder.finishedManifest(), coded('NOT_A_BACKUP', /name the folder/))
  await folder.create()
  await assert.rejects(folder.finishedManifest(), coded('NOT_A_BACKUP'))
  const header = { partition: 0, topicId: TOPIC_ID, number: 1, baseOffset: 0, previousCrc: 0 }
  await SegmentWriter.create(disk, folder.segments, header)
  await assert.rejects(folder.finishedManifest(), coded('UNFINISHED', /run tidemark backup \/backup again/))
  const claim = await folder.claim()
  await assert.rejects(folder.claim(), coded('FOLDER_IN_USE', /another backup/))
  await claim.release()
  const leftovers = await folder.survey(null)
  assert.deepEqual([leftovers.halfWritten, leftovers.nextNumber], [1, 2])
})

test('files: each bit that is turned is found, and the file is named; so is a missing, and another one', async () => {
  const disk = newDisk()
  const folder = await folderWith(disk, [[batchAt(0, 2, 5), batchAt(2, 1, 9)], [batchAt(3, 2, 20)]], 0)
  const { topics } = await folder.finishedManifest()
  const verify = () => verifyTopics(disk, folder, topics, () => {})
  await verify()
  const [one, two] = [1, 2].map((number) => join(folder.segments, segmentName(number))) as [string, string]
  let original = Buffer.alloc(0)
  await edit(disk, one, (bytes) => (original = Buffer.from(bytes)))
  for (let at = 0; at < original.length; at++) {
    await edit(disk, one, () => {
      const damaged = Buffer.from(original)
      damaged[at]! ^= 1 << (at % 8)
      return damaged
    })
    await assert.rejects(verify(), (error) => {
      assert.ok(error instanceof BackupError && /^SEGMENT_(DAMAGED|FOREIGN)$/.test(error.code), `byte ${at}`)
      assert.match(error.message, /segments\/00000001.batches: .*take .* from a copy/)
      return true
    })
  }
  for (let length = 0; length < original.length; length += 13) {
    await edit(disk, one, () => original.subarray(0, length))
    await assert.rejects(verify(), coded('SEGMENT_DAMAGED'))
  }
  let second = Buffer.alloc(0)
  await edit(disk, two, (bytes) => (second = Buffer.from(bytes)))
  await edit(disk, one, () => second)
  await assert.rejects(verify(), coded('SEGMENT_FOREIGN', /it is segment 2/))
  await promised<void>((done) => disk.remove(one, done))
  await assert.rejects(verify(), coded('SEGMENT_MISSING', /00000001.batches: .*missing/))
  const manifest = await folder.finishedManifest()
  // The next run would vouch for what nobody can restore.
  await assert.rejects(folder.survey(manifest), coded('SEGMENT_MISSING', /00000001.batches: .*missing/))
})

test('plans: the log starts in a batch; a time ends each partition before its first later batch', async () => {
  const disk = newDisk()
  const files = [
    [batchAt(1000, 2, 10), batchAt(1002, 3, 20)],
    [batchAt(1005, 1, 5)],
    [batchAt(1006, 2, 30), batchAt(1008, 1, 12)],
  ]
  const folder = await folderWith(disk, files, 1003)
  const topic = (await folder.finishedManifest()).topics[0]!
  const plan = async (untilMs: number | null) => (await planTopic(disk, folder, topic, untilMs)).partitions[0]!
  const range = async (untilMs: number | null) => {
    const { baseOffset, startOffset, endOffset } = await plan(untilMs)
    return [baseOffset, startOffset, endOffset]
  }
  assert.deepEqual(await range(null), [1002, 1003, 1009])
  assert.deepEqual(await range(31), [1002, 1003, 1009])
  assert.deepEqual(await range(30), [1002, 1003, 1006])
  assert.deepEqual(await range(22), [1002, 1003, 1006])
  assert.deepEqual(await range(21), [1003, 1003, 1003])
  const offsets: number[] = []
  for await (const batch of batchesOf(disk, folder, await plan(30))) offsets.push(baseOffsetOf(batch, 0))
  assert.deepEqual(offsets, [1002, 1005])
})

test('restore: offsets from above 0, positions within what exists; what exists already is refused', async () => {
  await withNode(async ({ client, events, restore, tidemark }) => {
    const disk = newDisk()
    const positions = [{ topic: 'tides', partition: 0, offset: 1008, metadata: 'here' }]
    const files = [
      [batchAt(1000, 2, 10), batchAt(1002, 3, 20)],
      [batchAt(1005, 1, 22), batchAt(1006, 3, 90)],
    ]
    await folderWith(disk, files, 1001, [{ id: 'billing', positions }])
    await assert.rejects(restore(disk, { untilMs: 10 }), coded('UNTIL_TOO_EARLY', /1970-01-01T00:00:00.011Z or later/))
    const report = await restore(disk, { untilMs: 22, appendBytes: 1 })
    assert.deepEqual([report.groups, report.clamped], [1, 1])
    for (const note of [/had 3 replicas/, /a setting is left out: .*zstd for configuration compression.type/])
      assert.ok(events.some((event) => event.type === 'note' && note.test(event.text)))
    await client.refresh()
    const topic = client.topics.get('tides')!
    assert.deepEqual(await readMarks(client, topic, 0), { startOffset: 1001, highWatermark: 1006 })
    const fetched = await fetchBatches(client, topic, 0, 1001, { maxBytes: 1 << 20 })
    assert.ok(fetched !== null && fetched !== 'out-of-range')
    assert.deepEqual(
      fetched.batches.map((batch) => baseOffsetOf(batch, 0)),
      [1000, 1002, 1005],
    )
    assert.equal(await fetchBatches(client, topic, 0, 1000, { maxBytes: 1 << 20 }), 'out-of-range')
    const admin = new kafkajs.Kafka({
      brokers: [...tidemark.kafka.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
    await admin.connect()
    assert.deepEqual(await admin.fetchOffsets({ groupId: 'billing', topics: ['tides'] }), [
      { topic: 'tides', partitions: [{ partition: 0, offset: '1006', metadata: 'here' }] },
    ])
    await admin.disconnect()
    await assert.rejects(restore(disk), coded('TOPIC_EXISTS', /'tides' already exists.*Nothing was changed/))
    await assert.rejects(restore(disk, { topics: ['nobody'] }), coded('TOPIC_UNKNOWN', /not in this backup/))
  })
})

test('restore: an append that is in the leader’s log, and not committed yet, is asked for again', async () => {
  const disk = newDisk()
  const batches = [batchAt(0, 3, 20), batchAt(3, 3, 23)]
  await folderWith(disk, [batches], 0)
  await withNode(async ({ client, restore }) => {
    const ask = client.ask.bind(client) as (...request: unknown[]) => Promise<unknown>
    let refused = 0
    client.ask = (async (...request: unknown[]) => {
      const answer = await ask(...request)
      const [, api, , message] = request as [unknown, unknown, unknown, { records: Buffer }]
      if (api !== apis.restoreRecords || message.records.length === 0 || refused++ > 0) return answer
      // As a node says whose quorum has not answered yet.
      return { errorCode: KafkaError.OFFSET_OUT_OF_RANGE, errorMessage: 'it goes on at offset 6', endOffset: 0 }
    }) as never
    const report = await restore(disk)
    assert.deepEqual([refused > 1, report.topics[0]!.records], [true, 6])
  })
})

test('restore: nothing is created where a file is damaged or one topic exists', async () => {
  await withNode(async ({ client, restore, send }) => {
    const disk = newDisk()
    const folder = await folderWith(disk, [[batchAt(0, 1, 5)]], 0)
    const path = join(folder.segments, segmentName(1))
    const turn = (bytes: Buffer): Buffer => {
      bytes[80]! ^= 4
      return bytes
    }
    await edit(disk, path, turn)
    await assert.rejects(restore(disk), coded('SEGMENT_DAMAGED'))
    await client.refresh()
    assert.equal(client.topics.get('tides'), undefined)
    await edit(disk, path, turn)
    const manifest = await folder.finishedManifest()
    const taken = {
      ...manifest.topics[0]!,
      name: 'taken',
      id: 'cd'.repeat(16),
      partitions: [{ startOffset: 0, nextOffset: 0, segments: [] }],
    }
    await folder.writeManifest({ ...manifest, topics: [...manifest.topics, taken] })
    await send('taken', ['x'])
    await assert.rejects(restore(disk), coded('TOPIC_EXISTS', /taken/))
    await client.refresh()
    assert.equal(client.topics.get('tides'), undefined)
  })
})

test('backup: the second run copies what is new; deleted topics are kept and marked; another cluster is refused', async () => {
  const disk = newDisk()
  await withNode(async ({ backup, events, send, tidemark }) => {
    await send('tides', ['a', 'b'])
    await send('waves', ['c'])
    const first = await backup(disk, { segmentBytes: 1 })
    const segmentsOf = (manifest: Manifest, name: string) =>
      manifest.topics.find((topic) => topic.name === name)!.partitions[0]!.segments
    assert.deepEqual(
      segmentsOf(first, 'tides').map(({ nextOffset }) => nextOffset),
      [2],
    )
    await send('tides', ['d'])
    events.length = 0
    const second = await backup(disk)
    assert.deepEqual(segmentsOf(second, 'tides').slice(0, 1), segmentsOf(first, 'tides'))
    assert.deepEqual(
      segmentsOf(second, 'tides').map(({ baseOffset }) => baseOffset),
      [0, 2],
    )
    const moved = events.filter((event) => event.type === 'moved')
    assert.deepEqual(
      moved.map(({ topic, records }) => [topic, records]),
      [['tides', 1]],
    )
    const admin = new kafkajs.Kafka({
      brokers: [...tidemark.kafka.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: ['waves'] })
    await admin.disconnect()
    const third = await backup(disk, { topics: ['tides'] })
    assert.deepEqual(
      third.topics.map(({ name, gone }) => [name, gone]),
      [
        ['tides', false],
        ['waves', true],
      ],
    )
    await assert.rejects(backup(disk, { topics: ['nobody'] }), coded('TOPIC_UNKNOWN', /does not exist/))
  })
  await withNode(async ({ backup, client, restore }) => {
    await assert.rejects(backup(disk), coded('OTHER_CLUSTER', /use another folder/))
    await restore(disk)
    await client.refresh()
    assert.deepEqual([client.topics.has('tides'), client.topics.has('waves')], [true, false])
    await restore(disk, { topics: ['waves'] })
    await client.refresh()
    assert.deepEqual(await readMarks(client, client.topics.get('waves')!, 0), { startOffset: 0, highWatermark: 1 })
  })
})

test('backup: a log that is not the one it was is refused, and so are leftovers that follow nothing', async () => {
  await withNode(async ({ backup, client, events, send }) => {
    const disk = newDisk()
    await send('tides', ['a'])
    const manifest = await backup(disk)
    const topic = manifest.topics[0]!
    const folder = new BackupFolder(FOLDER, disk)
    const header = { partition: 0, topicId: topic.id, number: 9, baseOffset: 1, previousCrc: 12345 }
    const stray = await SegmentWriter.create(disk, folder.segments, header)
    await stray.append([batchAt(1, 1, 5)])
    await stray.seal()
    await backup(disk)
    assert.ok(
      events.some(
        (event) =>
          event.type === 'warning' &&
          /alone in \/backup\/segments: 00000009.batches; they may be moved/.test(event.text),
      ),
    )
    // As a killed run leaves it, but of a log that went further than this one: it has been set back.
    const last = topic.partitions[0]!.segments.at(-1)!
    const next = await SegmentWriter.create(disk, folder.segments, { ...header, number: 10, previousCrc: last.crc })
    await next.append([batchAt(1, 2, 5)])
    await next.seal()
    await assert.rejects(backup(disk), coded('LOG_WENT_BACK', /ends at offset 1, the backup holds it up to 3/))
    await client.refresh()
  })
})

test('backup: a log that was cut between two runs, in a batch and beyond what was copied; restored from where it starts', async () => {
  const disk = newDisk()
  await withNode(async ({ backup, events, send, tidemark }) => {
    const admin = new kafkajs.Kafka({
      brokers: [...tidemark.kafka.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
    await admin.connect()
    const cut = async (offset: string) => {
      // This client looks for leaders among the topics that it has asked about before.
      await admin.fetchTopicOffsets('tides')
      await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset }] })
    }
    const taken = async () => (await backup(disk)).topics[0]!.partitions[0]!
    await send('tides', ['a', 'b', 'c'])
    assert.deepEqual([(await taken()).startOffset, (await taken()).nextOffset], [0, 3])
    await cut('1')
    assert.deepEqual([(await taken()).startOffset, (await taken()).segments.length], [1, 1])
    await send('tides', ['d', 'e'])
    await send('tides', ['f', 'g', 'h'])
    await cut('6')
    const last = await taken()
    assert.ok(events.some((event) => event.type === 'warning' && /offsets 3 to 5 were cut/.test(event.text)))
    assert.deepEqual([last.startOffset, last.segments.map(({ baseOffset }) => baseOffset)], [6, [0, 5]])
    await admin.disconnect()
  })
  await withNode(async ({ client, restore }) => {
    const { topics } = await restore(disk)
    assert.deepEqual(
      topics.map(({ plan, records }) => [plan.topic.name, records]),
      [['tides', 2]],
    )
    await client.refresh()
    assert.deepEqual(await readMarks(client, client.topics.get('tides')!, 0), { startOffset: 6, highWatermark: 8 })
  })
})

test('backup: what compaction has taken out of a log stays out of it; offsets and latest values come back', async () => {
  const disk = newDisk()
  const latest = async (client: ClusterClient) => {
    const values = new Map<string, string>()
    let records = 0
    const topic = client.topics.get('prices')!
    const { highWatermark } = (await readMarks(client, topic, 0))!
    for (let next = 0; next < highWatermark; ) {
      const fetched = await fetchBatches(client, topic, 0, next, { maxBytes: 1 << 20 })
      assert.ok(fetched !== null && fetched !== 'out-of-range')
      for (const batch of fetched.batches) {
        forEachRecord(batch, 0, ({ offset, key, value }) => {
          values.set(`${key}`, `${offset} ${value!.toString().slice(0, 4)}`)
          records++
          return true
        })
        next = lastOffsetOf(batch, 0) + 1
      }
    }
    return { values, highWatermark, records }
  }
  const before = await withNode(async ({ backup, client, tidemark }) => {
    const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
    const [admin, producer] = [kafka.admin(), kafka.producer({ idempotent: true, maxInFlightRequests: 1 })]
    await Promise.all([admin.connect(), producer.connect()])
    const settings = { 'cleanup.policy': 'compact', 'segment.bytes': '300000', 'min.cleanable.dirty.ratio': '0.01' }
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [{ topic: 'prices', numPartitions: 1, configEntries }] })
    for (let i = 100; i < 150; i++)
      await producer.send({ topic: 'prices', messages: [{ key: `${i % 3}`, value: `${i} ${'x'.repeat(100_000)}` }] })
    await Promise.all([admin.disconnect(), producer.disconnect()])
    await client.refresh()
    const isCleaned = async () => {
      const fetched = await fetchBatches(client, client.topics.get('prices')!, 0, 0, { maxBytes: 1 })
      return fetched !== null && fetched !== 'out-of-range' && baseOffsetOf(fetched.batches[0]!, 0) > 0
    }
    while (!(await isCleaned()));
    await backup(disk)
    return latest(client)
  })
  const after = await withNode(async ({ client, restore }) => {
    const { topics } = await restore(disk)
    await client.refresh()
    const found = await latest(client)
    assert.equal(topics[0]!.records, found.records, 'records are counted, not offsets')
    assert.ok(found.records < found.highWatermark)
    return found
  })
  // What came late is compacted on one side, or on both.
  assert.deepEqual([after.values, after.highWatermark], [before.values, before.highWatermark])
  assert.equal(before.highWatermark, 50)
  assert.deepEqual([...before.values.values()].sort(), ['47 147 ', '48 148 ', '49 149 '])
})

test('backup: a key whose deletion came and went between two runs does not come back', async () => {
  const disk = newDisk()
  const manifests = await withNode(async ({ backup, client, events, tidemark }) => {
    const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
    const [admin, producer] = [kafka.admin(), kafka.producer({ idempotent: true, maxInFlightRequests: 1 })]
    await Promise.all([admin.connect(), producer.connect()])
    const settings = { 'cleanup.policy': 'compact', 'segment.bytes': '300000', 'min.cleanable.dirty.ratio': '0.01' }
    const configEntries = Object.entries({ ...settings, 'delete.retention.ms': '200' })
    await admin.createTopics({
      topics: [
        {
          topic: 'prices',
          numPartitions: 1,
          configEntries: configEntries.map(([name, value]) => ({ name, value })),
        },
      ],
    })
    const send = (key: string, value: string | null) => producer.send({ topic: 'prices', messages: [{ key, value }] })
    await send('gone', 'v')
    const first = await backup(disk)
    await send('gone', null)
    const keys = async () => (await keysOf(client, 'prices')).filter((key) => key === 'gone')
    for (let i = 0; i === 0 || (await keys()).length > 0; i++) await send(`${i % 3}`, 'x'.repeat(100_000))
    const second = await backup(disk)
    assert.ok(events.some((event) => event.type === 'note' && /prices is compacted, .* copied anew/.test(event.text)))
    await Promise.all([admin.disconnect(), producer.disconnect()])
    return [first, second]
  })
  const numbers = manifests.map(({ topics }) => topics[0]!.partitions[0]!.segments.map(({ number }) => number))
  assert.ok(numbers[0]!.every((number) => !numbers[1]!.includes(number)))
  assert.deepEqual(
    await promised<string[]>((done) => disk.list(join(FOLDER, 'segments'), done)),
    numbers[1]!.map(segmentName),
    'what was replaced is gone',
  )
  await withNode(async ({ client, restore }) => {
    await restore(disk)
    await client.refresh()
    assert.ok(!(await keysOf(client, 'prices')).includes('gone'))
  })
})

test('backup: of a compacted topic half a grace later only what is new is copied, and later all of it', async () => {
  const disk = newDisk()
  await withNode(async ({ client, tidemark }) => {
    const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
    const [admin, producer] = [kafka.admin(), kafka.producer()]
    await Promise.all([admin.connect(), producer.connect()])
    const configEntries = [{ name: 'cleanup.policy', value: 'compact' }]
    await admin.createTopics({ topics: [{ topic: 'prices', numPartitions: 1, configEntries }] })
    const segments: number[][] = []
    for (const hours of [0, 11, 36, 35]) {
      await producer.send({ topic: 'prices', messages: [{ key: 'k', value: `${hours}` }] })
      const { clock } = platform
      const later = { now: () => clock.now(), wall: () => clock.wall() + hours * 3_600_000, endOfTurn: clock.endOfTurn }
      const taken = await takeBackup(
        { ...BACKUP_DEFAULTS, folder: FOLDER, topics: null, holder: HOLDER, version: 't' },
        { disk, clock: Object.assign(Object.create(clock), later), client, progress: () => {} },
      )
      segments.push(taken.topics[0]!.partitions[0]!.segments.map(({ number }) => number))
    }
    // The clock went back at the last one.
    assert.deepEqual(segments, [[1], [1, 2], [3], [4]])
    await Promise.all([admin.disconnect(), producer.disconnect()])
  })
})

/** Of all records of partition 0, in their order. */
async function keysOf(client: ClusterClient, name: string): Promise<string[]> {
  await client.refresh()
  const topic = client.topics.get(name)!
  const { startOffset, highWatermark } = (await readMarks(client, topic, 0))!
  const keys: string[] = []
  for (let next = startOffset; next < highWatermark; ) {
    const fetched = await fetchBatches(client, topic, 0, next, { maxBytes: 1 << 20 })
    assert.ok(fetched !== null && fetched !== 'out-of-range')
    for (const batch of fetched.batches) {
      forEachRecord(batch, 0, ({ key }) => {
        keys.push(`${key}`)
        return true
      })
      next = lastOffsetOf(batch, 0) + 1
    }
  }
  return keys
}

test('backup: what a stopped run has copied of a compacted topic goes once it is copied anew; what is not ours stays', async () => {
  await withNode(async ({ backup, events, send, tidemark }) => {
    await send('tides', ['a', 'b', 'c'])
    const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: kafkajs.ConfigResourceTypes.TOPIC,
          name: 'tides',
          configEntries: [{ name: 'cleanup.policy', value: 'compact' }],
        },
      ],
    })
    await admin.disconnect()
    const disk = newDisk()
    const { id } = (await backup(disk, { folder: '/other' })).topics[0]!
    const folder = new BackupFolder(FOLDER, disk)
    await folder.create()
    for (const [number, baseOffset] of [
      [1, 0],
      [2, 100],
    ] as const) {
      const header = { partition: 0, topicId: id, number, baseOffset, previousCrc: 0 }
      const left = await SegmentWriter.create(disk, folder.segments, header)
      await left.append([batchAt(baseOffset, 2, 5)])
      await left.seal()
    }
    const write = (name: string, text: string): Promise<void> =>
      withFile(disk, join(folder.segments, name), 'create', (file) =>
        promised<void>((done) => file.write([Buffer.from(text)], 0, done)),
      )
    await write('00000003.partial', 'a letter to somebody')
    await write('00000004.batches', 'and the answer')
    await write('00000005.partial', '')
    await backup(disk)
    // The second lies above all that was copied: of what log it is nobody knows.
    const left = await promised<string[]>((done) => disk.list(folder.segments, done))
    assert.deepEqual(left, ['00000002.batches', '00000003.partial', '00000004.batches', '00000006.batches'])
    const told = events.flatMap((event) => ('text' in event ? [event.text] : []))
    assert.ok(told.includes('1 files of a run that was stopped, copied anew since: removed'), told.join('\n'))
    assert.ok(told.includes('1 half-written files of a run that was stopped: removed'), told.join('\n'))
    assert.match(told.at(-1)!, /alone in \/backup\/segments: 00000002.batches, 00000003.partial, 00000004.batches; /)
  })
})

test('backup: a segment that the disk has no room for leaves no file behind, and no open one', async () => {
  const disk = newDisk()
  const folder = new BackupFolder(FOLDER, disk)
  await folder.create()
  const header = { partition: 0, topicId: TOPIC_ID, number: 1, baseOffset: 0, previousCrc: 0 }
  const isFull = (error: unknown): boolean => error instanceof PlatformError && error.code === 'DISK_FULL'
  disk.capacityBytes = disk.usedBytes
  await assert.rejects(SegmentWriter.create(disk, folder.segments, header), isFull)
  assert.deepEqual(await promised<string[]>((done) => disk.list(folder.segments, done)), [])
  disk.capacityBytes += 1 << 20
  const writer = await SegmentWriter.create(disk, folder.segments, header)
  await writer.append([batchAt(0, 1, 5)])
  disk.fault = (operation) => (operation === 'datasync' ? 'EIO' : null)
  await assert.rejects(writer.seal(), /EIO/)
  await writer.abandon()
  await writer.abandon()
  assert.deepEqual(await promised<string[]>((done) => disk.list(folder.segments, done)), [])
})

test('backup: a folder of something else is refused by name, and nothing is put into it', async () => {
  for (const [file, what] of [
    [
      'identity',
      coded('NOT_A_BACKUP', /^\/backup: is no backup, and has something else in it \(identity\); name an empty/),
    ],
    ['manifest.json', coded('MANIFEST_DAMAGED')],
    ['segments/letter', coded('NOT_A_BACKUP', /\(letter\)/)],
  ] as const) {
    const disk = newDisk()
    const path = join(FOLDER, file)
    await promised<void>((done) => disk.makeDirectory(dirname(path), done))
    await withFile(disk, path, 'create', (opened) =>
      promised<void>((done) => opened.write([Buffer.from('{"name":"mine"}')], 0, done)),
    )
    await assert.rejects(new BackupFolder(FOLDER, disk).create(), what)
    assert.deepEqual(await promised<string[]>((done) => disk.list(FOLDER, done)), [file.split('/')[0]])
  }
})
