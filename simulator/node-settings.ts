/** What a simulated node is started with: addresses that depend on nothing but its id, and the knobs that its seed has drawn. */

import type { NodeTuning } from '../src/node.ts'
import type { NodeOptions } from '../src/node-options.ts'
import { DISK_STUCK_MS } from '../src/storage/index.ts'
import type { Scenario } from './scenario/scenario.ts'

export const DATA = '/tidemark'
export const KAFKA_PORT = 9092
export const PEER_PORT = 7400
const HTTP_PORT = 9644
/** Entries from one comparison of the replicas' states to the next. */
const STATE_SUM_EVERY = 50
/** Files are read through several times in a run: minutes are short. */
const SCRUB_BYTES_PER_SECOND = 1 << 20
const SCRUB_PAUSE_MS = 5000
/** A cleaning goes on for a while, so that other things happen meanwhile. */
const CLEANING_BYTES_PER_SECOND = 64 << 10
/** Retention is looked after this often: minutes of a run are short. */
const RETENTION_CHECK_MS = 1000

export function hostOf(id: number): string {
  return `node-${id}`
}

/** Whose machine that is. */
export function nodeAt({ host }: { readonly host: string }): number {
  return Number(host.slice('node-'.length))
}

export function optionsOf(id: number, nodes: readonly number[], scenario: Scenario): NodeOptions {
  const host = hostOf(id)
  return {
    id,
    data: DATA,
    kafka: { host, port: KAFKA_PORT },
    http: { host, port: HTTP_PORT },
    peer: { host, port: PEER_PORT },
    cluster:
      nodes.length === 1 ? [] : nodes.map((each) => ({ id: each, peer: { host: hostOf(each), port: PEER_PORT } })),
    advertiseKafka: null,
    advertisePeer: null,
    rack: null,
    allowInsecure: true,
    defaultPartitions: 1,
    groupInitialRebalanceDelayMs: 0,
    diskReserveBytes: scenario.diskReserveBytes ?? null,
    diskStuckMs: DISK_STUCK_MS,
    scrubBytesPerSecond: SCRUB_BYTES_PER_SECOND,
    cleaningBytesPerSecond: CLEANING_BYTES_PER_SECOND,
  }
}

export function tuningOf(scenario: Scenario): NodeTuning {
  const { journalSegmentBytes, shardSegmentBytes, shardLogFlushBytes, shardLogsBufferBytesMax } = scenario
  const { tailCacheBytes, tuning } = scenario
  const buffer = shardLogsBufferBytesMax === undefined ? {} : { shardLogsBufferBytesMax }
  const storage = { journalSegmentBytes, shardSegmentBytes, shardLogFlushBytes, ...buffer }
  const host = { tailCacheBytes, stateSumEvery: STATE_SUM_EVERY }
  const streams = { retentionCheckMs: RETENTION_CHECK_MS }
  const care = { scrubPauseMs: SCRUB_PAUSE_MS }
  if (tuning === undefined) return { host, storage, streams, care }
  const { heartbeatIntervalMs, electionTimeoutMs, ...drawn } = tuning
  return {
    mesh: { heartbeatIntervalMs, electionTimeoutMs },
    host: { ...host, electionTimeoutMs, ...drawn },
    storage,
    streams,
    care,
  }
}
