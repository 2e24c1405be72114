/**
 * Everything that is in the log, read from each partition's leader by a raw client, entered into the ledger of the main job.
 * A record's number within its partition is also the offset at which it must stand; the ledger finds what is lost, double or out
 * of order, and what is wrong beyond that is told here.
 */
import { leadersOf, RawClient } from '../../bench/raw-client.ts'
import { apis } from '../../src/gateways/kafka/index.ts'
import { baseOffsetOf, batchBytesOf, forEachRecord, lastOffsetOf } from '../../src/records/index.ts'
import { Ledger, type Verdict } from '../main-job/ledger.ts'
import { wait } from './raw-writer.ts'

const FETCH_BYTES = 1 << 20
const PATIENCE_MS = 30_000
const RETRY_MS = 50
const LEADER_NOT_AVAILABLE = 5
const NOT_LEADER_OR_FOLLOWER = 6

export interface Written {
  readonly topic: string
  /** By partition: records handed to a client, and records acknowledged. Numbers count from 0. */
  readonly sent: readonly number[]
  readonly acknowledged: readonly number[]
  readonly keys: number
  readonly keyOf: (partition: number, n: number) => number
  readonly keyText: (partition: number, n: number) => string
  readonly valueText: (partition: number, n: number) => string
  /** By producers that are not idempotent: a record may stand there again, and those after it further back. */
  readonly repeats?: boolean
}

export interface ReadBack {
  readonly verdict: Verdict
  readonly problems: readonly string[]
}

export async function readBack(anyBroker: string, written: Written): Promise<ReadBack> {
  const { topic, sent, acknowledged } = written
  const firstLine: number[] = []
  let lines = 0
  for (const count of sent) {
    firstLine.push(lines)
    lines += count
  }
  const keyOf = new Uint32Array(lines)
  sent.forEach((count, p) => {
    for (let n = 0; n < count; n++) keyOf[firstLine[p]! + n] = written.keyOf(p, n)
  })
  const ledger = new Ledger(lines, written.keys, keyOf)
  ledger.sent(lines)
  acknowledged.forEach((count, p) => {
    for (let n = 0; n < count; n++) ledger.acknowledge(firstLine[p]! + n)
  })
  const problems: string[] = []
  for (const partition of sent.keys()) {
    await readPartition(anyBroker, { topic, partition, next: 0 }, (offset, n, key, value) => {
      const known = n >= 0 && n < sent[partition]!
      const intact = known && key === written.keyText(partition, n) && value === written.valueText(partition, n)
      if (n !== offset && written.repeats !== true && problems.length < 20)
        problems.push(`${topic}/${partition}: record ${n} stands at offset ${offset}`)
      ledger.saw(partition, offset, known ? firstLine[partition]! + n : -1, intact)
    })
  }
  return { verdict: ledger.verdict(), problems }
}

type Saw = (offset: number, n: number, key: string, value: string) => void

interface Cursor {
  readonly topic: string
  readonly partition: number
  /** The offset to be read next. */
  next: number
}

/** Leadership may still move: the last of the nodes has only just come back. */
async function readPartition(anyBroker: string, cursor: Cursor, saw: Saw): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    const asked = await RawClient.connect(anyBroker)
    const leaders = await leadersOf(asked, cursor.topic)
    asked.close()
    const client = await RawClient.connect(leaders[cursor.partition]!)
    try {
      return await readOn(client, cursor, saw)
    } catch (error) {
      if (!(error instanceof Refusal) || !error.isPassing || performance.now() > deadline) throw error
      await wait(RETRY_MS)
    } finally {
      client.close()
    }
  }
}

class Refusal extends Error {
  readonly errorCode: number

  constructor(errorCode: number, message: string) {
    super(message)
    this.errorCode = errorCode
  }

  get isPassing(): boolean {
    return this.errorCode === LEADER_NOT_AVAILABLE || this.errorCode === NOT_LEADER_OR_FOLLOWER
  }
}

async function readOn(client: RawClient, cursor: Cursor, saw: Saw): Promise<void> {
  const { topic, partition } = cursor
  const end = await endOf(client, topic, partition)
  while (cursor.next < end) {
    const fetchOffset = cursor.next
    const response = await client.request(apis.fetch, 11, {
      replicaId: -1,
      maxWaitMs: 500,
      minBytes: 1,
      maxBytes: FETCH_BYTES,
      isolationLevel: 0,
      topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: FETCH_BYTES }] }],
    })
    const { errorCode, records } = response.responses[0]!.partitions[0]!
    if (errorCode !== 0 || records === null || records.length === 0)
      throw new Refusal(
        errorCode,
        `${topic}/${partition} at offset ${fetchOffset} of ${end}: error ${errorCode}, ${records?.length ?? 0} bytes`,
      )
    for (let at = 0; at < records.length; at += batchBytesOf(records, at)) {
      if (baseOffsetOf(records, at) > cursor.next)
        throw new Error(`${topic}/${partition}: offset ${cursor.next} was asked for, ${baseOffsetOf(records, at)} came`)
      forEachRecord(records, at, (record) => {
        if (record.offset < cursor.next) return
        const n = record.headers().find((header) => header.key === 'n')?.value
        saw(
          record.offset,
          n === undefined || n === null ? -1 : Number(n.toString()),
          record.key?.toString() ?? '',
          record.value?.toString() ?? '',
        )
      })
      cursor.next = lastOffsetOf(records, at) + 1
    }
  }
}

async function endOf(client: RawClient, topic: string, partition: number): Promise<number> {
  const response = await client.request(apis.listOffsets, 4, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp: -1 }] }],
  })
  const { errorCode, offset } = response.topics[0]!.partitions[0]!
  if (errorCode !== 0) throw new Refusal(errorCode, `${topic}/${partition}: the end is not told (error ${errorCode})`)
  return offset
}
