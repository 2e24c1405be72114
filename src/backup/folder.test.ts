/** What a run finds in its folder: files that are not what the manifest says are named, before anything is built on them. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { MemoryDisk } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { encodeBatch, setBaseOffset } from '../records/index.ts'
import { BackupError, type BackupFailure } from './errors.ts'
import { promised, readAt, withFile } from './files.ts'
import { BackupFolder } from './folder.ts'
import type { Manifest, ManifestSegment } from './manifest.ts'
import { SegmentWriter } from './segment-file.ts'
import { segmentName } from './segment-format.ts'

const TOPIC_ID = 'ab'.repeat(16)
const newDisk = (): MemoryDisk => new MemoryDisk({ powerLoss: false }, { clock: nodePlatform().clock })

function batchAt(baseOffset: number): Buffer {
  const batch = encodeBatch([{ key: null, value: Buffer.from('x'), timestamp: 5 }], { timestamp: 5 })
  setBaseOffset(batch, 0, baseOffset)
  return batch
}

/** One partition, two segments of one record each. */
async function surveyed(disk: MemoryDisk): Promise<[BackupFolder, Manifest]> {
  const folder = new BackupFolder('/backup', disk)
  await folder.create()
  const segments: ManifestSegment[] = []
  for (const number of [1, 2]) {
    const previousCrc = segments.at(-1)?.crc ?? 0
    const header = { partition: 0, topicId: TOPIC_ID, number, baseOffset: number - 1, previousCrc }
    const writer = await SegmentWriter.create(disk, folder.segments, header)
    await writer.append([batchAt(number - 1)])
    segments.push(await writer.seal())
  }
  const partitions = [{ startOffset: 0, nextOffset: 2, segments }]
  const topic = {
    name: 'tides',
    id: TOPIC_ID,
    settings: {},
    replicationFactor: 1,
    takenAtMs: 1,
    gone: false,
    partitions,
  }
  const manifest = { version: 1, clusterId: 'c', takenAtMs: 1, takenBy: 't', topics: [topic], groups: [] }
  await folder.survey(manifest)
  return [folder, manifest]
}

async function edit(disk: MemoryDisk, path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await withFile(disk, path, 'write', async (file) => {
    const size = await promised<number>((done) => file.size(done))
    const bytes = change(await readAt(file, 0, size))
    await promised<void>((done) => file.truncate(0, done))
    if (bytes.length > 0) await promised<void>((done) => file.write([bytes], 0, done))
  })
}

test('folder: a run vouches for no file that is empty, cut short, damaged at its ends, or another one', async () => {
  const turned = (at: number) => (bytes: Buffer) => {
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    return bytes
  }
  const disk = newDisk()
  const [{ segments }] = await surveyed(disk)
  let second = Buffer.alloc(0)
  await edit(disk, join(segments, segmentName(2)), (bytes) => (second = Buffer.from(bytes)))
  const changes: [BackupFailure['code'], (bytes: Buffer) => Buffer][] = [
    ['SEGMENT_DAMAGED', () => Buffer.alloc(0)],
    ['SEGMENT_DAMAGED', (bytes) => bytes.subarray(0, -1)],
    ['SEGMENT_DAMAGED', turned(20)],
    ['SEGMENT_DAMAGED', turned(-5)],
    ['SEGMENT_FOREIGN', () => second],
  ]
  for (const [code, change] of changes) {
    const damaged = newDisk()
    const [folder, manifest] = await surveyed(damaged)
    await edit(damaged, join(folder.segments, segmentName(1)), change)
    await assert.rejects(folder.survey(manifest), (error) => {
      assert.ok(error instanceof BackupError, String(error))
      assert.equal(error.code, code)
      assert.match(
        error.message,
        /^\/backup\/segments\/00000001.batches: .*take .* from a copy .*, or back up into another/,
      )
      return true
    })
  }
})
