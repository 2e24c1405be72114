/** What `--until` makes of batches that compaction has emptied: their times are those of records that are gone. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { baseOffsetOf, emptiedBatch, encodeBatch, setBaseOffset } from '../records/index.ts'
import { BackupFolder } from './folder.ts'
import type { ManifestSegment, ManifestTopic } from './manifest.ts'
import { planTopic, refuseEmptied, type TopicPlan } from './plan.ts'
import { SegmentWriter } from './segment-file.ts'

const TOPIC_ID = 'ab'.repeat(16)

function batchAt(baseOffset: number, timestamp: number): Buffer {
  const batch = encodeBatch([{ key: null, value: Buffer.from('x'), timestamp }], { timestamp })
  setBaseOffset(batch, 0, baseOffset)
  return batch
}

interface Rig {
  plan(untilMs: number): Promise<TopicPlan>
  refuse(untilMs: number): Promise<void>
}

/** One partition, a segment for each list of batches. */
async function planning(files: readonly (readonly Buffer[])[]): Promise<Rig> {
  const disk = new MemoryDisk({ powerLoss: false }, { clock: nodePlatform().clock })
  const folder = new BackupFolder('/backup', disk)
  await folder.create()
  const segments: ManifestSegment[] = []
  for (const [i, batches] of files.entries()) {
    const previousCrc = segments.at(-1)?.crc ?? 0
    const header = {
      partition: 0,
      topicId: TOPIC_ID,
      number: i + 1,
      baseOffset: baseOffsetOf(batches[0]!, 0),
      previousCrc,
    }
    const writer = await SegmentWriter.create(disk, folder.segments, header)
    await writer.append(batches)
    segments.push(await writer.seal())
  }
  const partitions = [{ startOffset: 0, nextOffset: segments.at(-1)!.nextOffset, segments }]
  const settings = { 'cleanup.policy': 'compact' }
  const topic: ManifestTopic = {
    ...{ name: 'tides', id: TOPIC_ID, settings, replicationFactor: 1, takenAtMs: 1, gone: false },
    partitions,
  }
  const plan = (untilMs: number): Promise<TopicPlan> => planTopic(disk, folder, topic, untilMs)
  return { plan, refuse: async (untilMs) => refuseEmptied(disk, folder, [await plan(untilMs)], untilMs) }
}

test('plans: a batch without records is not later than any time', async () => {
  const { plan } = await planning([
    [batchAt(0, 10), emptiedBatch(batchAt(1, 90)), batchAt(2, 20)],
    [emptiedBatch(batchAt(3, 90)), batchAt(4, 30)],
    [batchAt(5, 40)],
  ])
  const end = async (untilMs: number): Promise<number> => (await plan(untilMs)).partitions[0]!.endOffset
  assert.deepEqual([await end(10), await end(20), await end(30), await end(40)], [2, 4, 5, 6])
})

test('plans: a time before every record is refused, whatever lies before them', async () => {
  const { refuse } = await planning([[emptiedBatch(batchAt(0, 5)), emptiedBatch(batchAt(1, 90)), batchAt(2, 20)]])
  await refuse(20)
  for (const untilMs of [4, 6, 19]) await assert.rejects(refuse(untilMs), /1970-01-01T00:00:00.020Z or later/)
})
