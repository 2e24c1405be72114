/**
 * What shards cost the disk: a node with one, ten, a hundred, a thousand partitions under the same load. The journal's syncs per
 * second must not grow with them; a checkpoint may sync the log of every shard that was written to since the one before, once.
 *
 * The nodes run side by side in this process, each on its own directory with a disk that counts, and are loaded in turn.
 */
import fs from 'node:fs'
import path from 'node:path'
import { type TidemarkNode, TraceFile } from '../src/node.ts'
import type { NodeEvent } from '../src/observability/index.ts'
import { nodePlatform } from '../src/platform/nodejs/index.ts'
import { CountingDisk } from './counting-disk.ts'
import { produceTo, sameRecords, startLocalNode } from './local-node.ts'
import { median, type Row } from './produce.ts'
import { RawClient } from './raw-client.ts'

const TOPIC = 'bench'
const CONNECTIONS = 4
const IN_FLIGHT = 64
const VALUE_BYTES = 512
/** Small, so that a few seconds see many of them; every shard is active in each all the same. */
const JOURNAL_SEGMENT_BYTES = 4 << 20
/** Two measured rates of the same thing differ by so much on a busy machine. */
const TOLERANCE = 1.15

export interface ShardsOptions {
  readonly seconds: number
  readonly rounds: number
  readonly shards: readonly number[]
  readonly progress: (text: string) => void
}

export async function measureShards(
  directory: string,
  { seconds, rounds, shards, progress }: ShardsOptions,
): Promise<{ rows: Row[]; missed: string[] }> {
  const nodes: LoadedNode[] = []
  try {
    for (const count of shards) {
      progress(`${count} shards: starting`)
      nodes.push(await LoadedNode.start(path.join(directory, `${count}`), count))
    }
    for (let round = 0; round <= rounds; round++) {
      for (const node of nodes) {
        progress(`${node.shards} shards: round ${round} of ${rounds}`)
        await node.run(seconds, round > 0)
      }
    }
    const rows = nodes.map((node) => node.row())
    const missed: string[] = []
    const [one, ...more] = rows
    for (const row of more)
      if (Number(row['journal syncs/s']) > Number(one!['journal syncs/s']) * TOLERANCE)
        missed.push(
          `${row.shards} shards: ${row['journal syncs/s']} journal syncs/s, with one ${one!['journal syncs/s']}`,
        )
    for (const node of nodes) missed.push(...node.excess)
    return { rows, missed }
  } finally {
    for (const node of nodes) await node.stop()
  }
}

class LoadedNode {
  readonly shards: number
  readonly excess: string[] = []
  readonly #node: TidemarkNode
  readonly #disk: CountingDisk
  readonly #clients: RawClient[]
  readonly #records = sameRecords(1, VALUE_BYTES)
  readonly #rates: { requests: number; syncs: number }[] = []
  /** When each shard moved on: first, and last, since the checkpoint before was begun. */
  readonly #moved = new Map<number, { firstMs: number; lastMs: number }>()
  readonly #nowMs: () => number
  readonly #checkpoints: { captured: number; active: number }[] = []
  #segments = 0
  readonly #syncedBefore: number
  #next = 0

  static async start(directory: string, shards: number): Promise<LoadedNode> {
    fs.mkdirSync(directory, { recursive: true })
    const real = nodePlatform()
    const disk = new CountingDisk(real.disk)
    let loaded: LoadedNode | null = null
    const { node, broker } = await startLocalNode({
      data: directory,
      platform: { ...real, disk },
      topic: TOPIC,
      partitions: shards,
      traceFile: new Observer((event) => loaded?.note(event), real.clock),
      storage: { journalSegmentBytes: JOURNAL_SEGMENT_BYTES },
    })
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => RawClient.connect(broker)))
    loaded = new LoadedNode(node, disk, clients, shards, () => real.clock.now())
    return loaded
  }

  private constructor(
    node: TidemarkNode,
    disk: CountingDisk,
    clients: RawClient[],
    shards: number,
    nowMs: () => number,
  ) {
    this.#nowMs = nowMs
    this.#node = node
    this.#disk = disk
    this.#clients = clients
    this.shards = shards
    this.#syncedBefore = disk.counts.shards.syncs
  }

  note({ event }: NodeEvent): void {
    if (event.type === 'committed') this.#move(event.shard)
    else if (event.type === 'segment-entered') this.#segments++
    else if (event.type === 'checkpointed') {
      const active = this.#movedBefore(this.#nowMs() - event.milliseconds)
      // Metadata moved before anybody looked.
      if (event.captured > active + 1)
        this.excess.push(`${this.shards} shards: a checkpoint captured ${event.captured}, ${active} had moved on`)
      this.#checkpoints.push({ captured: event.captured, active })
    }
  }

  #move(shard: number): void {
    const now = this.#nowMs()
    const moved = this.#moved.get(shard)
    if (moved === undefined) this.#moved.set(shard, { firstMs: now, lastMs: now })
    else moved.lastMs = now
  }

  /** How many shards did between the capture before and this one. Many do again while it is written: those are for the next. */
  #movedBefore(capturedMs: number): number {
    let count = 0
    for (const [shard, moved] of this.#moved) {
      if (moved.firstMs <= capturedMs) count++
      if (moved.lastMs <= capturedMs) this.#moved.delete(shard)
      else if (moved.firstMs <= capturedMs) moved.firstMs = moved.lastMs
    }
    return count
  }

  async run(seconds: number, counts: boolean): Promise<void> {
    const endsAt = performance.now() + seconds * 1000
    const { journal } = this.#disk.counts
    const before = journal.syncs
    const from = performance.now()
    let requests = 0
    await Promise.all(
      this.#clients.flatMap((client) =>
        Array.from({ length: IN_FLIGHT / CONNECTIONS }, async () => {
          for (; performance.now() < endsAt; requests++)
            await produceTo(client, TOPIC, this.#next++ % this.shards, this.#records)
        }),
      ),
    )
    const elapsed = (performance.now() - from) / 1000
    if (counts) this.#rates.push({ requests: requests / elapsed, syncs: (journal.syncs - before) / elapsed })
  }

  row(): Row {
    const mean = (values: number[]): number =>
      Math.round(values.reduce((a, b) => a + b, 0) / Math.max(1, values.length))
    return {
      shards: this.shards,
      'requests/s': Math.round(median(this.#rates.map(({ requests }) => requests))),
      'journal syncs/s': Math.round(median(this.#rates.map(({ syncs }) => syncs))),
      'requests/sync': Math.round(10 * median(this.#rates.map(({ requests, syncs }) => requests / syncs))) / 10,
      'journal segments': this.#segments,
      checkpoints: this.#checkpoints.length,
      'active shards': mean(this.#checkpoints.map(({ active }) => active)),
      captured: mean(this.#checkpoints.map(({ captured }) => captured)),
      'shard log syncs': this.#disk.counts.shards.syncs - this.#syncedBefore,
    }
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close()
    await this.#node.stop()
  }
}

/** Sees every event of the node, and writes none of them down. */
class Observer extends TraceFile {
  readonly #seen: (event: NodeEvent) => void

  constructor(seen: (event: NodeEvent) => void, clock: ConstructorParameters<typeof TraceFile>[1]['clock']) {
    super(1, { clock, write: () => {} })
    this.#seen = seen
  }

  override note(event: NodeEvent): void {
    this.#seen(event)
  }
}
