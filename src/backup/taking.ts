/**
 * Taking a backup of a cluster that runs.
 *
 *     positions of groups ─► per partition: start, mark ─► batches up to the mark, into segments ─► manifest
 *
 * Positions come first, so that none lies above the data. A partition's high-water mark is asked for when its turn begins, and
 * nothing at or above it is kept: what is below is committed, and committed records never change. So each partition is as it was
 * at one moment, and the next run has to copy only what came since; sealed segments are never touched again.
 *
 * Of a compacted topic what came since is not enough once deletions may be gone that came since: what they deleted would stay here,
 * and come back. So after half of their grace (`delete.retention.ms`) a partition of such a topic is copied anew, and also where it
 * was only added to, and that ended after their grace.
 *
 * While a partition is read its leader holds its log for it (holding.ts), from the next offset on: what is copied may go. What goes
 * nevertheless is told, each time. Compaction leaves no word of what it takes out: of a compacted topic the mark is asked for when
 * the log is held, and anew where the hold had a gap.
 */
import type { Clock, Disk } from '../platform/index.ts'
import { partitionSettings } from '../streams/index.ts'
import type { Attempt, ClusterClient, TopicInCluster } from './cluster-client.ts'
import { BackupError } from './errors.ts'
import { BackupFolder, type Leftovers } from './folder.ts'
import { type Holder, LogHold } from './holding.ts'
import {
  MANIFEST_VERSION,
  type Manifest,
  type ManifestGroup,
  type ManifestPartition,
  type ManifestPosition,
  type ManifestSegment,
  type ManifestTopic,
} from './manifest.ts'
import { PartitionReading } from './partition-reading.ts'
import type { Progress } from './progress.ts'
import {
  fetchBatches,
  isBeingRestored,
  pickTopics,
  readGroup,
  readGroupIds,
  readMarks,
  readSettings,
} from './reading.ts'
import type { FoundSegment } from './segment-file.ts'
import { segmentName } from './segment-format.ts'
import { forEachOf } from './workers.ts'

export interface BackupOptions {
  readonly folder: string
  /** Null: all but the cluster's own. */
  readonly topics: readonly string[] | null
  /** A segment is left when it is this large. */
  readonly segmentBytes: number
  readonly fetchBytes: number
  /** Partitions read at the same time. */
  readonly width: number
  readonly holder: Holder
  /** Of this Tidemark. */
  readonly version: string
}

/** A little apart: a new leader has its second, and more. */
const PASSES_MAX = 100

/** Of the grace of deletions, between the last run and one that begins only to add: the rest is for reading. */
const GRACE_SHARE = 0.5

export const BACKUP_DEFAULTS = { segmentBytes: 64 << 20, fetchBytes: 4 << 20, width: 4 } as const

export interface BackupCollaborators {
  readonly disk: Disk
  readonly clock: Clock
  readonly client: ClusterClient
  readonly progress: (event: Progress) => void
}

export async function takeBackup(options: BackupOptions, collaborators: BackupCollaborators): Promise<Manifest> {
  const folder = new BackupFolder(options.folder, collaborators.disk)
  await folder.create()
  const claim = await folder.claim()
  try {
    return await new Taking(options, collaborators, folder).run()
  } finally {
    await claim.release()
  }
}

class Taking {
  readonly #options: BackupOptions
  readonly #with: BackupCollaborators
  readonly #folder: BackupFolder
  #leftovers: Leftovers | null = null
  readonly #saidAnew = new Set<string>()

  constructor(options: BackupOptions, collaborators: BackupCollaborators, folder: BackupFolder) {
    this.#options = options
    this.#with = collaborators
    this.#folder = folder
  }

  async run(): Promise<Manifest> {
    const { client, clock, progress } = this.#with
    const before = await this.#folder.manifest()
    await client.refresh()
    const { clusterId } = client
    if (before !== null && before.clusterId !== clusterId)
      throw new BackupError(
        { code: 'OTHER_CLUSTER', path: this.#folder.path, expected: before.clusterId, found: clusterId },
        `${this.#folder.path}: holds a backup of cluster ${before.clusterId}, this is cluster ${clusterId}; use another folder`,
      )
    this.#leftovers = await this.#folder.survey(before)
    const { halfWritten } = this.#leftovers
    if (halfWritten > 0)
      progress({ type: 'note', text: `${halfWritten} half-written files of a run that was stopped: removed` })
    const picked = pickTopics(client, this.#options.topics)
    const groups = await this.#groups()
    const taken = await this.#topics(picked, before)
    const topics = [...taken, ...this.#kept(before, taken)]
    const manifest: Manifest = {
      version: MANIFEST_VERSION,
      clusterId,
      takenAtMs: clock.wall(),
      takenBy: this.#options.version,
      topics: topics.sort((a, b) => (a.name < b.name ? -1 : 1)),
      groups: withPositions(before?.groups ?? [], groups, new Set(taken.map(({ name }) => name))),
    }
    await this.#folder.writeManifest(manifest)
    await this.#folder.removeReplaced(before, manifest)
    await this.#tidy(manifest, this.#leftovers)
    return manifest
  }

  /** Of what earlier runs left and this one did not use, only what it has copied itself goes: the rest may be somebody's last copy. */
  async #tidy(manifest: Manifest, { unclaimed, undecodable }: Leftovers): Promise<void> {
    const { progress } = this.#with
    const covered = unclaimed.filter((found) => isCovered(found, manifest))
    await this.#folder.remove(covered.map(({ segment }) => segment.number))
    if (covered.length > 0)
      progress({ type: 'note', text: `${covered.length} files of a run that was stopped, copied anew since: removed` })
    const others = unclaimed
      .filter((found) => !covered.includes(found))
      .map(({ segment }) => segmentName(segment.number))
    const names = [...undecodable, ...others].sort()
    if (names.length === 0) return
    const text = `files that this backup does not need were left alone in ${this.#folder.segments}: ${names.join(', ')}; they may be moved away`
    progress({ type: 'warning', text })
  }

  async #groups(): Promise<ManifestGroup[]> {
    const { client } = this.#with
    const groups: ManifestGroup[] = []
    await forEachOf(await readGroupIds(client), this.#options.width, async (id) => {
      groups.push(await readGroup(client, id))
    })
    return groups
  }

  async #topics(picked: readonly TopicInCluster[], before: Manifest | null): Promise<ManifestTopic[]> {
    const { client, clock, progress } = this.#with
    const drafts = new Map<string, { readonly topic: Draft; partitions: ManifestPartition[] }>()
    const saysDeleted = (name: string): void =>
      progress({ type: 'warning', text: `topic ${name} was deleted while it was backed up` })
    for (const found of picked) {
      const { name, id, replicationFactor } = found
      const settings = await readSettings(client, found)
      if (settings === null) {
        saysDeleted(name)
        continue
      }
      if (await isBeingRestored(client, found)) {
        progress({ type: 'warning', text: beingRestored(name) })
        continue
      }
      const topic = { name, id, settings, replicationFactor, takenAtMs: clock.wall(), gone: false }
      drafts.set(id, { topic, partitions: [] })
    }
    const turns = picked
      .filter(({ id }) => drafts.has(id))
      .flatMap((topic) => topic.leaders.map((_, partition) => ({ topic, partition })))
    progress({ type: 'begun', partitions: turns.length })
    await forEachOf(turns, this.#options.width, async ({ topic, partition }, stopped) => {
      const known = before?.topics.find(({ id }) => id === topic.id)
      const draft = drafts.get(topic.id)
      const taken = draft === undefined ? null : await this.#partition(topic, partition, draft.topic, known, stopped)
      if (taken !== null && draft !== undefined) draft.partitions[partition] = taken
      else if (drafts.delete(topic.id)) saysDeleted(topic.name)
    })
    return [...drafts.values()].map(({ topic, partitions }) => ({ ...topic, partitions }))
  }

  /** What earlier runs have and this one has not: other topics, and those that the cluster has no longer. */
  #kept(before: Manifest | null, taken: readonly ManifestTopic[]): ManifestTopic[] {
    const ids = new Set(taken.map(({ id }) => id))
    const alive = new Set([...this.#with.client.topics.values()].map(({ id }) => id))
    return (before?.topics ?? [])
      .filter(({ id }) => !ids.has(id))
      .map((topic) => (alive.has(topic.id) ? topic : { ...topic, gone: true }))
  }

  /** Null: the topic is gone. */
  async #partition(
    topic: TopicInCluster,
    partition: number,
    draft: Draft,
    before: ManifestTopic | undefined,
    stopped: () => boolean,
  ): Promise<ManifestPartition | null> {
    const known = before?.partitions[partition]
    const read = (goesOn: GoingOn) => this.#read(topic, partition, known, goesOn, stopped)
    const graceMs = graceOf(draft, before)
    let taken: ManifestPartition | null
    if (graceMs === null) taken = await read('from-leftovers')
    else if (before === undefined) taken = await this.#readAnew(topic, partition, graceMs, read)
    else {
      const adds = this.#isWithin(graceMs * GRACE_SHARE, before.takenAtMs)
      taken = adds ? await read('from-the-last-run') : null
      // Until then every deletion that came since the last run was there when it was read.
      const isGood = adds && (taken === null || stopped() || this.#isWithin(graceMs, before.takenAtMs))
      if (!isGood) {
        const old = new Set(known?.segments.map(({ number }) => number))
        const added = (taken?.segments ?? []).map(({ number }) => number).filter((number) => !old.has(number))
        await this.#folder.remove(added)
        this.#sayAnew(topic)
        taken = await this.#readAnew(topic, partition, graceMs, read)
      }
    }
    if (taken !== null) this.#with.progress({ type: 'partition-done', topic: topic.name, partition })
    return taken
  }

  /** Two wall clocks: one that went back, or one that is fast, is met by copying what need not be. */
  #isWithin(graceMs: number, fromMs: number): boolean {
    const sinceMs = this.#with.clock.wall() - fromMs
    return sinceMs >= 0 && sinceMs <= graceMs
  }

  #sayAnew({ id, name }: TopicInCluster): void {
    const text = `topic ${name} is compacted, and deletions since the last run may be gone: copied anew`
    if (!this.#saidAnew.has(id)) this.#with.progress({ type: 'note', text })
    this.#saidAnew.add(id)
  }

  /** No hold keeps deletions for longer than their grace, which began before it; so it is with any reader. */
  async #readAnew(
    topic: TopicInCluster,
    partition: number,
    graceMs: number,
    read: (goesOn: GoingOn) => Promise<ManifestPartition | null>,
  ): Promise<ManifestPartition | null> {
    const beganMs = this.#with.clock.wall()
    const taken = await read('anew')
    if (taken === null || this.#isWithin(graceMs, beganMs)) return taken
    const text =
      `topic ${topic.name}, partition ${partition}: to be read took longer than deletions are kept (delete.retention.ms: ${graceMs}); ` +
      'keys that were deleted meanwhile may be in the backup: set it higher'
    this.#with.progress({ type: 'warning', text })
    return taken
  }

  async #read(
    topic: TopicInCluster,
    partition: number,
    known: ManifestPartition | undefined,
    goesOn: GoingOn,
    stopped: () => boolean,
  ): Promise<ManifestPartition | null> {
    const { client, progress } = this.#with
    const adopted = goesOn === 'from-leftovers' ? this.#leftovers!.adopt(topic.id, partition, known) : []
    const segments = goesOn === 'anew' ? [] : [...(known?.segments ?? []), ...adopted]
    const marks = await readMarks(client, topic, partition)
    if (marks === null) return null
    const { startOffset, highWatermark } = marks
    // Where the log was cut above the last segment, the manifest knows of more than that.
    const ends = [segments.at(-1), known].flatMap((each) => each?.nextOffset ?? [])
    const backedUpTo = ends.length === 0 ? startOffset : Math.max(...ends)
    if (backedUpTo > highWatermark)
      throw new BackupError(
        { code: 'LOG_WENT_BACK', topic: topic.name, partition, endOffset: highWatermark, backedUpTo },
        `topic ${topic.name}, partition ${partition}: ends at offset ${highWatermark}, the backup holds it up to ${backedUpTo}; ` +
          'records were lost or this is another log: keep the backup, and use another folder for a new one',
      )
    const have = goesOn === 'anew' ? startOffset : backedUpTo
    const reading = new PartitionReading(topic, partition, startOffset, segments, {
      disk: this.#with.disk,
      folder: this.#folder.segments,
      segmentBytes: this.#options.segmentBytes,
      nextNumber: () => this.#leftovers!.nextNumber++,
      progress,
    })
    this.#tellHoles(reading, known, adopted)
    this.#skipTo(reading, have, startOffset)
    const hold = new LogHold(client, this.#with.clock, this.#options.holder, topic, partition)
    try {
      const found =
        goesOn === 'from-leftovers'
          ? await this.#readTo(highWatermark, reading, hold, stopped)
          : await this.#readHeld(reading, hold, stopped)
      if (!found) return null
      await reading.seal()
    } finally {
      await reading.abandon()
      await hold.release()
    }
    if (hold.refusal !== null)
      progress({ type: 'note', text: `${reading.place}: was not held against retention at last: ${hold.refusal}` })
    return {
      startOffset: Math.min(reading.startOffset, reading.next),
      nextOffset: reading.next,
      segments: reading.segments,
    }
  }

  /** The run that left them has told it, but its exit code was that of a run that was stopped. */
  #tellHoles(
    reading: PartitionReading,
    known: ManifestPartition | undefined,
    adopted: readonly ManifestSegment[],
  ): void {
    const { topic, partition } = reading
    if (known !== undefined && adopted.length > 0) this.#tellCut(reading, known.nextOffset, adopted[0]!.baseOffset)
    for (const [i, { nextOffset: from }] of adopted.slice(0, -1).entries()) {
      const to = adopted[i + 1]!.baseOffset
      const text = `${reading.place}: offsets ${from} to ${to - 1} went while a run that was stopped backed it up, and are not in the backup`
      if (from < to) this.#with.progress({ type: 'cut', topic: topic.name, partition, from, to, text })
    }
  }

  #skipTo(reading: PartitionReading, have: number, startOffset: number): void {
    reading.startOffset = startOffset
    reading.next = Math.max(have, startOffset)
    this.#tellCut(reading, have, startOffset)
  }

  /** Between two runs, or before the log was held. */
  #tellCut(reading: PartitionReading, from: number, to: number): void {
    if (from >= to) return
    const text = `${reading.place}: offsets ${from} to ${to - 1} were cut from the log before they were backed up`
    this.#with.progress({ type: 'warning', text })
  }

  /**
   * Of a compacted topic. What compaction takes out is below its floor, and was written anew below it, too. So the mark is asked for when
   * the log is held: no floor comes above it then. Where there was a gap, one may have, and what was written anew lies below the
   * mark of the next pass; each is as long as what was written during the one before. False: the topic is gone.
   */
  async #readHeld(reading: PartitionReading, hold: LogHold, stopped: () => boolean): Promise<boolean> {
    const { client, progress } = this.#with
    const { topic, partition } = reading
    for (let pass = 1; ; pass++) {
      await hold.begin(reading.next)
      const marks = await readMarks(client, topic, partition)
      if (marks === null) return false
      const { next: from } = reading
      const to = marks.highWatermark
      if (to <= from) return true
      if (pass > PASSES_MAX) {
        const by = hold.refusal ?? 'its leaders changed'
        const text = `${reading.place}: was not held against compaction (${by}): of keys written at offsets ${from} to ${to - 1}, which are not in the backup, earlier values may be missing, too`
        progress({ type: 'cut', topic: topic.name, partition, from, to, text })
        return true
      }
      if (!(await this.#readTo(to, reading, hold, stopped))) return false
      if (stopped() || (await hold.stood(reading.next))) return true
      await client.pause()
    }
  }

  /** False: the topic is gone. */
  async #readTo(mark: number, reading: PartitionReading, hold: LogHold, stopped: () => boolean): Promise<boolean> {
    while (reading.next < mark) {
      const step = await this.#with.client.persist(reading.place, () => this.#step(mark, reading, hold, stopped))
      if (step !== 'more') return step === 'end'
    }
    return true
  }

  async #step(mark: number, reading: PartitionReading, hold: LogHold, stopped: () => boolean): Promise<Attempt<Step>> {
    if (stopped()) return { value: 'end' }
    const { topic, partition, next } = reading
    const { fetchBytes } = this.#options
    await hold.keep(next)
    const fetched = await fetchBatches(this.#with.client, topic, partition, next, { maxBytes: fetchBytes })
    if (fetched === null) return { value: 'gone' }
    const isOut = fetched === 'out-of-range'
    const step = isOut ? await this.#logWasCut(reading, hold) : await reading.keep(fetched.batches, mark)
    if (step !== 'more' || reading.next > next) return { value: step }
    return { again: isOut ? `offset ${next} is out of the leader’s range` : `nothing comes from offset ${next} on` }
  }

  /** Below the log's start: DeleteRecords was faster, or retention where nothing held it. Or the leader is behind, for a while. */
  async #logWasCut(reading: PartitionReading, hold: LogHold): Promise<'more' | 'gone'> {
    await reading.seal()
    hold.lost()
    const marks = await readMarks(this.#with.client, reading.topic, reading.partition)
    if (marks === null) return 'gone'
    const { next: from, topic, partition } = reading
    const to = marks.startOffset
    if (to <= from) return 'more'
    if (reading.hasBegun) {
      reading.startOffset = reading.next = to
      const by = hold.refusal === null ? 'deleted, or cut as leadership moved' : `the log was not held: ${hold.refusal}`
      const text = `${reading.place}: offsets ${from} to ${to - 1} went while it was backed up, and are not in the backup (${by})`
      this.#with.progress({ type: 'cut', topic: topic.name, partition, from, to, text })
    }
    // The cut was decided before the log was held.
    else this.#skipTo(reading, from, to)
    return 'more'
  }
}

/**
 * From what the last run has, and a killed one after it; from the last run; from the log's start. How old what a killed run has left
 * is nobody knows: to a compacted topic it is of no use.
 */
type GoingOn = 'from-leftovers' | 'from-the-last-run' | 'anew'

/** What came of one question. */
type Step = 'more' | 'end' | 'gone'

type Draft = Omit<ManifestTopic, 'partitions'>

/** How long deletions are kept. Null: nothing is ever compacted. */
function graceOf(topic: Draft, before: ManifestTopic | undefined): number | null {
  const settings = [topic, ...(before === undefined ? [] : [before])].map((each) => partitionSettings(each.settings))
  if (!settings.some(({ compacted }) => compacted)) return null
  return Math.min(...settings.map(({ deleteRetentionMs }) => deleteRetentionMs))
}

function beingRestored(name: string): string {
  return (
    `topic ${name} is being restored, and not backed up; run the backup again when that is done, ` +
    `or, if the restore was given up: tidemark topic delete ${name}`
  )
}

/** Positions in topics that were not backed up now, or were deleted meanwhile, stay as they were. */
function withPositions(
  before: readonly ManifestGroup[],
  now: readonly ManifestGroup[],
  taken: ReadonlySet<string>,
): ManifestGroup[] {
  const positions = new Map<string, ManifestPosition[]>()
  const add = ({ id, positions: more }: ManifestGroup, isWanted: (topic: string) => boolean): void => {
    positions.set(id, [...(positions.get(id) ?? []), ...more.filter(({ topic }) => isWanted(topic))])
  }
  for (const group of before) add(group, (topic) => !taken.has(topic))
  for (const group of now) add(group, (topic) => taken.has(topic))
  const groups = [...positions].map(([id, list]) => ({ id, positions: list }))
  return groups.filter((group) => group.positions.length > 0).sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Every offset that it holds is in a segment that the manifest names. */
function isCovered({ header, segment }: FoundSegment, manifest: Manifest): boolean {
  const topic = manifest.topics.find(({ id }) => id === header.topicId)
  const partition = topic?.partitions[header.partition]
  if (partition === undefined) return false
  return segment.baseOffset >= partition.startOffset && segment.nextOffset <= partition.nextOffset
}
