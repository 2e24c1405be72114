/** `bench consume`: a topic is filled once, then read from its start by a raw client, as fast as the answers come. */
import { apis } from '../src/gateways/kafka/index.ts'
import { batchBytesOf, encodeBatch, lastOffsetOf, recordCountOf } from '../src/records/index.ts'
import { BenchCluster } from './bench-cluster.ts'
import { type BenchOptions, median, type Row } from './produce.ts'
import { leadersOf, RawClient } from './raw-client.ts'

const ROWS = ['100x100', '1024x100', '100x1', '16384x10']
const FILL_BYTES = 128 << 20
const FILL_BATCHES_MAX = 100_000
const FETCH_BYTES = 1 << 20
const FETCH_VERSION = 11

/** Rows are RECORDBYTESxRECORDSPERBATCH. */
export async function benchConsume(rows: readonly string[], options: BenchOptions): Promise<Row[]> {
  const results: Row[] = []
  for (const row of rows.length > 0 ? rows : ROWS) {
    const [bytes, perBatch] = row.split('x').map(Number) as [number, number]
    for (const nodes of options.nodes) {
      const measured: Reading[] = []
      for (let round = 0; round < options.rounds; round++) {
        options.progress(`${row}: ${nodes} ${nodes === 1 ? 'node' : 'nodes'}, round ${round + 1}`)
        measured.push(await measure(bytes, perBatch, nodes))
      }
      results.push({
        row,
        nodes,
        records: measured[0]!.records,
        'records/s': Math.round(median(measured.map((m) => m.records / m.seconds))),
        'MB/s': Math.round(median(measured.map((m) => m.bytes / m.seconds / 1e5))) / 10,
        fetches: median(measured.map((m) => m.fetches)),
        'p50 ms': Math.round(median(measured.map((m) => m.p50Ms)) * 100) / 100,
        'cpu %': Math.round(median(measured.map((m) => m.cpuShare)) * 100),
        errors: measured.reduce((sum, m) => sum + m.errors, 0),
      })
    }
  }
  return results
}

interface Reading {
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  readonly fetches: number
  readonly p50Ms: number
  readonly cpuShare: number
  readonly errors: number
}

async function measure(bytes: number, perBatch: number, nodes: number): Promise<Reading> {
  const bench = new BenchCluster(nodes)
  try {
    await bench.start()
    const anyNode = await RawClient.connect(bench.cluster.kafka(1))
    await anyNode.request(apis.createTopics, 5, {
      topics: [{ name: 'bench', numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }],
      timeoutMs: 5000,
    })
    const [leader] = await leadersOf(anyNode, 'bench')
    anyNode.close()
    const client = await RawClient.connect(leader!)
    const written = await fill(client, bytes, perBatch)
    const before = await bench.usage(leader!)
    const reading = await readAll(client, written)
    const after = await bench.usage(leader!)
    client.close()
    return { ...reading, cpuShare: (after.cpuSeconds - before.cpuSeconds) / reading.seconds }
  } finally {
    await bench.stop()
  }
}

/** Returns how many records were written. */
async function fill(client: RawClient, bytes: number, perBatch: number): Promise<number> {
  const records = Array.from({ length: perBatch }, () => ({ key: null, value: Buffer.alloc(bytes, 'x') }))
  const batch = encodeBatch(records, { timestamp: Date.now() })
  const batches = Math.min(FILL_BATCHES_MAX, Math.ceil(FILL_BYTES / batch.length))
  let sent = 0
  let failed = 0
  await new Promise<void>((resolve) => {
    let done = 0
    const next = (): void => {
      if (sent === batches) return
      sent++
      client.send(
        apis.produce,
        7,
        {
          transactionalId: null,
          acks: -1,
          timeoutMs: 30_000,
          topicData: [{ name: 'bench', partitionData: [{ index: 0, records: batch }] }],
        },
        (error, response) => {
          if (error !== null || response.responses[0]?.partitionResponses[0]?.errorCode !== 0) failed++
          if (++done === batches) resolve()
          else next()
        },
      )
    }
    for (let i = 0; i < 64; i++) next()
  })
  if (failed > 0) throw new Error(`${failed} of ${batches} batches could not be written`)
  return batches * perBatch
}

async function readAll(client: RawClient, written: number): Promise<Omit<Reading, 'cpuShare'>> {
  const latencies: number[] = []
  let offset = 0
  let records = 0
  let bytes = 0
  let errors = 0
  const began = performance.now()
  while (offset < written) {
    const asked = performance.now()
    const response = await client.request(apis.fetch, FETCH_VERSION, {
      replicaId: -1,
      maxWaitMs: 500,
      minBytes: 1,
      maxBytes: FETCH_BYTES,
      isolationLevel: 0,
      topics: [{ topic: 'bench', partitions: [{ partition: 0, fetchOffset: offset, partitionMaxBytes: FETCH_BYTES }] }],
    })
    latencies.push(performance.now() - asked)
    const partition = response.responses[0]!.partitions[0]!
    if (partition.errorCode !== 0 || partition.records === null) {
      errors++
      break
    }
    const slice = partition.records
    for (let at = 0; at < slice.length; at += batchBytesOf(slice, at)) {
      if (lastOffsetOf(slice, at) + 1 - recordCountOf(slice, at) !== offset) errors++
      records += recordCountOf(slice, at)
      offset = lastOffsetOf(slice, at) + 1
    }
    bytes += slice.length
  }
  return {
    records,
    bytes,
    errors,
    seconds: (performance.now() - began) / 1000,
    fetches: latencies.length,
    p50Ms: median(latencies),
  }
}
