/**
 * What the checks ask of a client library, so that they are written once and every library is put through the same.
 *
 * A driver adds nothing to its library but names: no retry, no patience, no repair. What the library cannot do it says in
 * `lacks`, with the reason that stands in the table.
 */

export type CodecName = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** In the order of the bits in a record batch's attributes. */
export const CODEC_NAMES: readonly CodecName[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** Of every topic that the checks make; also what a topic gets by default, for clients that cannot say a number. */
export const PARTITIONS = 4

export interface Outgoing {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

export interface Incoming extends Outgoing {
  readonly offset: number
}

export interface ProduceSettings {
  readonly codec: CodecName
  readonly idempotent: boolean
}

export interface JoinSettings {
  readonly group: string
  readonly topic: string
  /** Commit what was handed over, as the library does by itself. */
  readonly autoCommit: boolean
  readonly received: (record: Incoming) => void
}

export interface GroupMember {
  /** What it is assigned; null while it has not joined. */
  readonly partitions: readonly number[] | null
  /** What went wrong behind its back. */
  readonly failure: Error | null
  /** Next offset by partition. */
  commit(positions: ReadonlyMap<number, number>): Promise<void>
  leave(): Promise<void>
}

export interface GroupDescription {
  readonly state: string
  readonly members: number
  readonly protocolType: string
}

/** What a library may lack: a codec, or one of the driver's methods. */
export type Lacking = CodecName | 'createTopic' | 'nullValues' | 'manualCommit' | 'committed' | 'groups' | 'offsetsAt'

export interface ClientDriver {
  readonly version: string
  readonly lacks: ReadonlyMap<Lacking, string>
  createTopic(topic: string, partitions: number): Promise<void>
  produce(topic: string, records: readonly Outgoing[], settings: ProduceSettings): Promise<void>
  /** Reads `count` records from the given offsets (by partition) on. */
  read(topic: string, from: ReadonlyMap<number, number>, count: number): Promise<Incoming[]>
  join(settings: JoinSettings): Promise<GroupMember>
  /** Committed offset by partition; −1 where there is none. */
  committed(group: string, topic: string, partitions: number): Promise<number[]>
  listGroups(): Promise<string[]>
  describeGroup(group: string): Promise<GroupDescription>
  /** The first offset at or after the time, by partition. */
  offsetsAt(topic: string, timestamp: number, partitions: number): Promise<number[]>
  close(): Promise<void>
}

/** Waits until `condition` holds; says what was waited for when it does not in time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`after ${timeoutMs} ms still waiting for ${typeof what === 'string' ? what : what()}`)
    }
    await pause(10)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
