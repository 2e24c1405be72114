/** `tidemark backup FOLDER` and `tidemark restore FOLDER`: what is asked, what is shown while it works, and what came of it. */
import { hostname } from 'node:os'
import {
  BACKUP_DEFAULTS,
  BackupError,
  BackupFolder,
  ClusterClient,
  type Holder,
  type Manifest,
  type ManifestTopic,
  pickFrom,
  RESTORE_DEFAULTS,
  type RestoreReport,
  restoreBackup,
  takeBackup,
  verifyTopics,
} from '../backup/index.ts'
import { parseAddress } from '../node-options.ts'
import { VERSION } from '../package.ts'
import { type Platform, PlatformError } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { BackupProgress } from './backup-progress.ts'
import { CliError } from './errors.ts'
import type { ClientFlags } from './kafka-client.ts'
import { output, tell } from './output.ts'
import { bytes, count, duration, jsonLine, table } from './print.ts'

/** The backup is whole as far as it goes, and can be restored; 1 is for one that was not finished. */
const CUT_MEANWHILE = 2

export interface BackupFlags extends ClientFlags {
  readonly topic?: readonly string[]
  readonly verify?: boolean
  readonly segmentBytes?: string
  readonly patience: string
}

export interface RestoreFlags extends ClientFlags {
  readonly topic?: readonly string[]
  readonly until?: string
  readonly patience: string
}

/** An empty one is an unset variable of some script: the current directory is not what it meant. */
function refuseEmpty(folder: string): void {
  if (folder !== '') return
  throw new CliError({ code: 'USAGE', option: 'folder' }, 'FOLDER is empty: name the folder of the backup')
}

export async function backup(folder: string, flags: BackupFlags): Promise<number> {
  refuseEmpty(folder)
  const platform = nodePlatform()
  const { disk } = platform
  if (flags.verify === true) return verify(folder, flags, platform)
  return withCluster(flags, platform, 'backup', async (client, progress) => {
    const before = await manifestOrNull(new BackupFolder(folder, disk))
    const topics = flags.topic ?? null
    const segmentBytes = wholeNumber('segment-bytes', flags.segmentBytes) ?? BACKUP_DEFAULTS.segmentBytes
    const options = { ...BACKUP_DEFAULTS, folder, topics, segmentBytes, holder: holderOf(platform), version: VERSION }
    const manifest = await takeBackup(options, { disk, clock: platform.clock, client, progress: progress.take })
    progress.end()
    await report(flags, {
      folder,
      clusterId: manifest.clusterId,
      takenAt: new Date(manifest.takenAtMs).toISOString(),
      copiedRecords: progress.records,
      copiedBytes: progress.bytes,
      groups: manifest.groups.length,
      cutMeanwhile: progress.cut,
      topics: manifest.topics.map((topic) => told(topic, before)),
    })
    if (progress.cut.length === 0) return 0
    tell(
      `backup: done, without records that went from the log meanwhile (${progress.cut.length} times, see above); exit code ${CUT_MEANWHILE}\n`,
    )
    return CUT_MEANWHILE
  })
}

/** Who is shown as what holds a log that is being read. */
function holderOf({ random }: Platform): Holder {
  const host = hostname()
    .replaceAll(/[^\x21-\x7e]/g, '?')
    .slice(0, 40)
  return { id: random.bytes(16).toString('hex'), name: `a backup on ${host}, process ${process.pid}` }
}

export async function restore(folder: string, flags: RestoreFlags): Promise<number> {
  refuseEmpty(folder)
  const platform = nodePlatform()
  const untilMs = flags.until === undefined ? null : timeOf(flags.until)
  return withCluster(flags, platform, 'restore', async (client, progress) => {
    const options = { ...RESTORE_DEFAULTS, folder, topics: flags.topic ?? null, untilMs }
    const done = await restoreBackup(options, { disk: platform.disk, client, progress: progress.take })
    progress.end()
    await report(flags, {
      folder,
      clusterId: client.clusterId,
      until: untilMs === null ? null : new Date(untilMs).toISOString(),
      copiedRecords: progress.records,
      copiedBytes: progress.bytes,
      groups: done.groups,
      positionsMoved: done.clamped,
      topics: toldRestored(done),
    })
    return 0
  })
}

async function verify(folder: string, flags: BackupFlags, { disk, clock }: Platform): Promise<number> {
  const progress = new BackupProgress('verify', flags.json === true, clock)
  return explained(flags, async () => {
    const place = new BackupFolder(folder, disk)
    const manifest = await place.finishedManifest()
    const topics = flags.topic === undefined ? manifest.topics : pickFrom(manifest, flags.topic)
    await verifyTopics(disk, place, topics, (read) => progress.take({ type: 'checked', bytes: read }))
    progress.end()
    const { clusterId, takenAtMs, groups } = manifest
    const takenAt = new Date(takenAtMs).toISOString()
    const rows = topics.map((topic) => told(topic, manifest))
    await report(flags, {
      folder,
      clusterId,
      takenAt,
      checkedBytes: progress.checked,
      groups: groups.length,
      topics: rows,
    })
    return 0
  }).finally(() => progress.end())
}

interface ToldTopic {
  readonly topic: string
  readonly partitions: number
  readonly records: number
  readonly bytes: number
  readonly newBytes: number | null
  readonly offsets: readonly { readonly start: number; readonly next: number }[]
  readonly gone: boolean
}

function told(topic: ManifestTopic, before: Manifest | null): ToldTopic {
  const earlier = before?.topics.find(({ id }) => id === topic.id)
  const all = topic.partitions.flatMap(({ segments }) => segments)
  const known = new Set((earlier?.partitions ?? []).flatMap(({ segments }) => segments.map(({ number }) => number)))
  const sum = (list: typeof all, of: (segment: (typeof all)[number]) => number): number =>
    list.reduce((total, segment) => total + of(segment), 0)
  return {
    topic: topic.name,
    partitions: topic.partitions.length,
    records: sum(all, ({ records }) => records),
    bytes: sum(all, (segment) => segment.bytes),
    newBytes: sum(
      all.filter(({ number }) => !known.has(number)),
      (segment) => segment.bytes,
    ),
    offsets: topic.partitions.map(({ startOffset: start, nextOffset: next }) => ({ start, next })),
    gone: topic.gone,
  }
}

function toldRestored({ topics }: RestoreReport): ToldTopic[] {
  return topics.map(({ plan: { topic, partitions }, records }) => ({
    topic: topic.name,
    partitions: partitions.length,
    records,
    bytes: partitions.reduce((sum, { segments }) => sum + segments.reduce((total, each) => total + each.bytes, 0), 0),
    newBytes: null,
    offsets: partitions.map(({ startOffset: start, endOffset: next }) => ({ start, next })),
    gone: false,
  }))
}

async function report(
  flags: ClientFlags,
  facts: { readonly topics: readonly ToldTopic[]; readonly [name: string]: unknown },
): Promise<void> {
  if (flags.json === true) {
    output.line(jsonLine(facts))
    await output.taken()
    return
  }
  const { topics } = facts
  const withNew = topics.some(({ newBytes }) => newBytes !== null)
  output.line(
    table(topics, [
      { title: 'topic', value: (row) => (row.gone ? `${row.topic} (deleted)` : row.topic) },
      { title: 'partitions', value: (row) => String(row.partitions), right: true },
      { title: 'records', value: (row) => count(row.records), right: true },
      { title: 'bytes', value: (row) => bytes(row.bytes), right: true },
      ...(withNew ? [{ title: 'new', value: (row: ToldTopic) => bytes(row.newBytes ?? 0), right: true }] : []),
    ]),
  )
  const moved =
    facts.positionsMoved === undefined ? '' : `, positions moved to what exists: ${String(facts.positionsMoved)}`
  output.line(`positions of ${String(facts.groups)} groups${moved}`)
  await output.taken()
}

async function withCluster(
  flags: BackupFlags | RestoreFlags,
  { network, clock }: Platform,
  what: 'backup' | 'restore',
  work: (client: ClusterClient, progress: BackupProgress) => Promise<number>,
): Promise<number> {
  const brokers = flags.brokers.split(',').map((broker) => parseAddress('brokers', broker))
  const patienceMs = (wholeNumber('patience', flags.patience) ?? 60) * 1000
  const client = new ClusterClient({ brokers, patienceMs }, { network, clock })
  const progress = new BackupProgress(what, flags.json === true, clock)
  const started = clock.now()
  try {
    const code = await explained(flags, () => work(client, progress))
    tell(`${what}: done in ${duration(clock.now() - started)}\n`)
    return code
  } finally {
    progress.end()
    client.close()
  }
}

async function explained<T>(flags: ClientFlags, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof BackupError || error instanceof PlatformError)) throw error
    if (flags.json === true) output.line(jsonLine({ error: error.details, message: error.message }))
    throw new CliError({ code: 'REFUSED', subject: error.code }, error.message)
  }
}

async function manifestOrNull(folder: BackupFolder): Promise<Manifest | null> {
  try {
    return await folder.manifest()
  } catch (error) {
    // The run itself will say it.
    if (error instanceof BackupError) return null
    throw error
  }
}

/** In milliseconds September 2001: a smaller number is seconds or a year, and would mean January 1970. */
const MILLISECONDS_LEAST = 1e12

function timeOf(text: string): number {
  const bare = /^\d{1,15}$/.test(text)
  const time = bare ? Number(text) : isoTime(text)
  if (Number.isSafeInteger(time) && !(bare && time < MILLISECONDS_LEAST)) return time
  throw new CliError(
    { code: 'USAGE', option: 'until' },
    `--until ${text}: must be a day like 2026-03-01, a time with its zone like 2026-03-01T12:00:00Z, or milliseconds since 1970 like 1764000000000`,
  )
}

/** A day, or a time of one with its zone; NaN for anything else, also for a day that its month does not have. */
function isoTime(text: string): number {
  const [, day, time, zone] =
    /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.exec(text) ?? []
  if (day === undefined || (time !== undefined && zone === undefined)) return Number.NaN
  const midnight = Date.parse(`${day}T00:00:00Z`)
  const exists = Number.isFinite(midnight) && new Date(midnight).toISOString().startsWith(day)
  return exists ? Date.parse(text) : Number.NaN
}

function wholeNumber(option: string, text: string | undefined): number | null {
  if (text === undefined) return null
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text)
  throw new CliError({ code: 'USAGE', option }, `--${option} ${text}: must be a whole number from 1`)
}
