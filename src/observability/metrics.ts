/**
 * Prometheus metrics, from the events of the layers. One registry per node and none of the library's globals, because several
 * nodes may share a process. Whatever is a state and not an event (marks, roles) is read when somebody asks.
 */
import type * as Instruments from 'prom-client'
import { Counter, Gauge, Histogram, Registry } from './instruments.ts'
import type { NodeEvent } from './node-event.ts'

export interface MetricsSources {
  readonly shards: () => Iterable<{
    readonly shard: number
    readonly topic: string | null
    readonly partition: number | null
    readonly role: string
    readonly term: number
    readonly highWatermark: number
    readonly startOffset: number
    readonly endOffset: number
    readonly storedBytes: number | null
    readonly startMovedBy: string | null
    readonly startHoldKinds: readonly string[]
  }>
  readonly journal: () => { readonly segments: number; readonly heldBy: number | null }
  /** What holds up whoever brings more, when it is too much. */
  readonly backlog: () => { readonly journalQueuedBytes: number; readonly unwrittenBytes: number }
  readonly memoryBytes: () => number
  readonly disk: () => {
    readonly freeBytes: number | null
    readonly reserveBytes: number
    readonly low: string | null
    readonly stuckMs: number
  }
  /** Of logs, known and not repaired. */
  readonly damagedRanges: () => number
}

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

export class Metrics {
  readonly #registry = new Registry()
  readonly #journalSyncs: Instruments.Histogram
  readonly #journalBytes: Instruments.Counter
  readonly #journalEntries: Instruments.Counter
  readonly #recordsIn: Instruments.Counter
  readonly #bytesIn: Instruments.Counter
  readonly #refused: Instruments.Counter<'error'>
  readonly #duplicates: Instruments.Counter
  readonly #campaigns: Instruments.Counter
  readonly #stepDowns: Instruments.Counter<'reason'>
  readonly #sessionsLost: Instruments.Counter
  readonly #requests: Instruments.Histogram<'api'>
  readonly #connections: Instruments.Gauge
  readonly #damagesFound: Instruments.Counter
  readonly #damagesRepaired: Instruments.Counter
  readonly #filesRewritten: Instruments.Counter
  readonly #scrubPasses: Instruments.Counter
  readonly #cuts: Instruments.Counter
  readonly #cleanings: Instruments.Counter
  readonly #cleanedBytes: Instruments.Counter
  readonly #recordsReplaced: Instruments.Counter
  /** What `/api/node` shows, kept beside the library's counters because those are read asynchronously. */
  readonly totals = {
    recordsIn: 0,
    bytesIn: 0,
    recordsOut: 0,
    bytesOut: 0,
    journalSyncs: 0,
    journalBytes: 0,
    kafkaConnections: 0,
  }

  constructor(sources: MetricsSources) {
    const registers = [this.#registry]
    const counter = (name: string, help: string): Instruments.Counter => new Counter({ name, help, registers })
    this.#journalSyncs = new Histogram({
      name: 'tidemark_journal_sync_seconds',
      help: 'Write and fdatasync of one journal block',
      buckets: SECONDS,
      registers,
    })
    this.#journalBytes = counter('tidemark_journal_bytes_total', 'Bytes written to the journal')
    this.#journalEntries = counter('tidemark_journal_entries_total', 'Entries written to the journal')
    this.#recordsIn = counter('tidemark_records_in_total', 'Records appended by this node as a leader')
    this.#bytesIn = counter('tidemark_bytes_in_total', 'Bytes of record batches appended by this node as a leader')
    this.#refused = new Counter({
      name: 'tidemark_batches_refused_total',
      help: 'Batches refused',
      labelNames: ['error'],
      registers,
    })
    this.#duplicates = counter(
      'tidemark_batches_duplicate_total',
      'Batches of idempotent producers that were in the log already',
    )
    this.#campaigns = counter('tidemark_campaigns_total', 'Campaigns started, pre-votes included')
    this.#stepDowns = new Counter({
      name: 'tidemark_leaders_stepped_down_total',
      help: 'Leaderships given up',
      labelNames: ['reason'],
      registers,
    })
    this.#sessionsLost = counter('tidemark_sessions_lost_total', 'Sessions with other nodes that ended')
    this.#requests = new Histogram({
      name: 'tidemark_kafka_request_seconds',
      help: 'From the request read to its answer settled',
      labelNames: ['api'],
      buckets: SECONDS,
      registers,
    })
    this.#damagesFound = counter('tidemark_log_damages_found_total', 'Damaged ranges found in shard logs')
    this.#damagesRepaired = counter('tidemark_log_damages_repaired_total', 'Ranges repaired from other replicas')
    this.#filesRewritten = counter('tidemark_files_rewritten_total', 'Damaged small files written again')
    this.#scrubPasses = counter('tidemark_scrub_passes_total', 'Times that all files were read through')
    this.#cuts = counter('tidemark_log_cuts_total', 'Times that the start of a log was moved up')
    this.#cleanings = counter('tidemark_cleanings_total', 'Cleanings of compacted logs that were finished')
    this.#cleanedBytes = counter('tidemark_cleaning_read_bytes_total', 'Bytes of logs read by cleanings')
    this.#recordsReplaced = counter('tidemark_cleaning_records_dropped_total', 'Records that cleanings have left out')
    this.#connections = new Gauge({ name: 'tidemark_kafka_connections', help: 'Open Kafka connections', registers })
    this.#readOnDemand(sources)
    this.#readJournal(sources)
    this.#readBacklog(sources)
    this.#readDisk(sources)
  }

  #readOnDemand(sources: MetricsSources): void {
    const registers = [this.#registry]
    const labelNames = ['topic', 'partition'] as const
    const perShard = (
      name: string,
      help: string,
      value: (shard: ReturnType<MetricsSources['shards']> extends Iterable<infer S> ? S : never) => number,
    ): void => {
      new Gauge({
        name,
        help,
        labelNames,
        registers,
        collect() {
          this.reset()
          for (const shard of sources.shards())
            this.set({ topic: shard.topic ?? '', partition: shard.partition ?? 0 }, value(shard))
        },
      })
    }
    perShard('tidemark_high_water_mark', 'Offset up to which records may be shown', (shard) => shard.highWatermark)
    perShard('tidemark_low_water_mark', 'Offset at which the log starts', (shard) => shard.startOffset)
    perShard(
      'tidemark_stored_bytes',
      "Bytes of this replica's log, in files and buffers",
      (shard) => shard.storedBytes ?? 0,
    )
    perShard('tidemark_end_offset', "Offset after the last record in this replica's log", (shard) => shard.endOffset)
    perShard('tidemark_term', "Generation of the shard's leadership", (shard) => shard.term)
    perShard('tidemark_leads', '1 where this node leads', (shard) => (shard.role === 'leader' ? 1 : 0))
    new Gauge({
      name: 'tidemark_low_water_mark_moved_by',
      help: '1 for what moved the start of the log last',
      labelNames: ['topic', 'partition', 'reason'],
      registers,
      collect() {
        this.reset()
        for (const { topic, partition, startMovedBy: reason } of sources.shards())
          if (reason !== null) this.set({ topic: topic ?? '', partition: partition ?? 0, reason }, 1)
      },
    })
    new Gauge({
      name: 'tidemark_low_water_mark_held_by',
      help: '1 for each kind of reason why the log starts no higher; a partition has them where it is led',
      labelNames: ['topic', 'partition', 'reason'],
      registers,
      collect() {
        this.reset()
        for (const { topic, partition, startHoldKinds } of sources.shards())
          for (const reason of startHoldKinds) this.set({ topic: topic ?? '', partition: partition ?? 0, reason }, 1)
      },
    })
    this.#gauge('tidemark_log_damages', 'Damaged ranges of shard logs that are not repaired', sources.damagedRanges)
    this.#gauge('tidemark_memory_bytes', 'Resident memory of the process', sources.memoryBytes)
  }

  #readJournal({ journal, shards }: MetricsSources): void {
    const registers = [this.#registry]
    this.#gauge('tidemark_journal_segments', 'Closed segments of the journal that are still there', () => {
      return journal().segments
    })
    new Gauge({
      name: 'tidemark_journal_held_by',
      help: '1 for a shard that needs the oldest closed segment of the journal; none: it goes with the next checkpoint',
      labelNames: ['shard', 'topic', 'partition'],
      registers,
      collect() {
        this.reset()
        const { heldBy } = journal()
        if (heldBy === null) return
        let labels = { shard: heldBy, topic: '', partition: 0 }
        for (const { shard, topic, partition } of shards())
          if (shard === heldBy) labels = { shard, topic: topic ?? '', partition: partition ?? 0 }
        this.set(labels, 1)
      },
    })
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(value())
      },
    })
  }

  #readBacklog({ backlog }: MetricsSources): void {
    this.#gauge('tidemark_journal_queued_bytes', 'Bytes that wait for the journal, or are being synced', () => {
      return backlog().journalQueuedBytes
    })
    this.#gauge('tidemark_unwritten_bytes', 'Committed bytes, in memory, that shard logs have still to write', () => {
      return backlog().unwrittenBytes
    })
  }

  #readDisk({ disk }: MetricsSources): void {
    const gauge = this.#gauge.bind(this)
    gauge('tidemark_disk_free_bytes', 'Free on the disk of the data directory, NaN: unknown', () => {
      return disk().freeBytes ?? Number.NaN
    })
    gauge('tidemark_disk_reserve_bytes', 'With less than this free, records are refused', () => disk().reserveBytes)
    gauge('tidemark_disk_low', '1 while records are refused for lack of room', () => (disk().low === null ? 0 : 1))
    gauge('tidemark_disk_stuck', '1 while the disk does not answer and this node leads nothing', () => {
      return disk().stuckMs > 0 ? 1 : 0
    })
  }

  note({ event }: NodeEvent): void {
    switch (event.type) {
      case 'journal-synced':
        this.#journalSyncs.observe(event.microseconds / 1e6)
        this.#journalBytes.inc(event.bytes)
        this.#journalEntries.inc(event.entries)
        this.totals.journalSyncs++
        this.totals.journalBytes += event.bytes
        return
      case 'stream-appended':
        this.#recordsIn.inc(event.records)
        this.#bytesIn.inc(event.bytes)
        this.totals.recordsIn += event.records
        this.totals.bytesIn += event.bytes
        return
      case 'shard-log-damaged':
        this.#damagesFound.inc()
        return
      case 'shard-log-repaired':
        this.#damagesRepaired.inc()
        return
      case 'file-repaired':
        this.#filesRewritten.inc()
        return
      case 'scrubbed':
        this.#scrubPasses.inc()
        return
      case 'log-cut':
        this.#cuts.inc()
        return
      case 'shard-log-cleaned':
        this.#cleanings.inc()
        this.#cleanedBytes.inc(event.bytesRead)
        this.#recordsReplaced.inc(event.recordsDropped)
        return
      case 'stream-refused':
        this.#refused.inc({ error: String(event.error) })
        return
      case 'stream-duplicate':
        this.#duplicates.inc()
        return
      case 'campaign-started':
        this.#campaigns.inc()
        return
      case 'leader-stepped-down':
        this.#stepDowns.inc({ reason: event.reason })
        return
      case 'peer-down':
        this.#sessionsLost.inc()
        return
      case 'connected':
        this.totals.kafkaConnections++
        this.#connections.inc()
        return
      case 'disconnected':
        this.totals.kafkaConnections--
        this.#connections.dec()
        return
      case 'fetched':
        this.totals.recordsOut += event.records
        this.totals.bytesOut += event.bytes
        return
      case 'request':
        this.#requests.observe({ api: event.api }, event.milliseconds / 1000)
        return
    }
  }

  async text(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }
}
