/**
 * From looks to a picture: what the page knows after each answer of `/api/cluster`. No document, no clock, no network in
 * here, so that it can be tested by handing it statuses.
 *
 * Counters are sums since a node's start; rates are differences of two looks. A node's rates divide by the difference of its
 * own uptimes, which came in the same report as its counters: how long an answer travelled does not matter, and an uptime
 * that fell says that the node was restarted and there is nothing to subtract.
 *
 * When is a replica behind? Under load every follower misses the entries that are just on their way, so a lag above zero
 * says nothing. Behind is a replica whose journal lacks what was already committed at the look before.
 */
import { duration } from './elements.js'

/** What the charts reach back. */
export const WINDOW_MS = 120_000

/** Values over the last two minutes; null where nothing is known. */
export class Series {
  points = []

  add(at, value) {
    this.points.push({ at, value })
    while (this.points[0].at < at - WINDOW_MS - 2000) this.points.shift()
  }

  get last() {
    return this.points.at(-1)?.value ?? null
  }

  get max() {
    return this.points.reduce((most, { value }) => Math.max(most, value ?? 0), 0)
  }
}

export const NODE_RATES = ['recordsIn', 'recordsOut', 'bytesIn', 'bytesOut', 'journalSyncs', 'journalBytes']

export class Model {
  #cluster = null
  #at = null
  #nodes = new Map()
  #shards = new Map()
  #totals = seriesOf(NODE_RATES)

  /** `at` in milliseconds, from any clock that only rises. Returns the picture. */
  observe(status, at) {
    if (status.cluster !== this.#cluster) this.#forget(status.cluster)
    const seconds = this.#at === null ? null : (at - this.#at) / 1000
    this.#at = at
    const nodes = status.nodes.map((node) => this.#node(node, at))
    const up = new Set(status.nodes.filter((node) => node.up).map((node) => node.node))
    const rows = status.shards.map((shard) => this.#shard(shard, up, seconds, at))
    keepOnly(this.#nodes, new Set(status.nodes.map((node) => node.node)))
    keepOnly(this.#shards, new Set(status.shards.map((shard) => shard.shard)))
    const metadata = rows.filter((row) => row.topic === null)
    const topics = topicsOf(rows.filter((row) => row.topic !== null))
    for (const topic of topics) topic.series = this.#topicSeries(topic)
    return {
      at,
      cluster: status.cluster,
      controller: status.controller,
      nodes,
      topics,
      metadata,
      totals: this.#total(nodes, rows, at),
      problems: problemsOf(status, nodes, rows),
    }
  }

  #forget(cluster) {
    this.#cluster = cluster
    this.#at = null
    this.#nodes.clear()
    this.#shards.clear()
    this.#totals = seriesOf(NODE_RATES)
  }

  #node(node, at) {
    const before = this.#nodes.get(node.node)
    const history = before?.history ?? seriesOf(NODE_RATES)
    const rates = ratesOf(before, node)
    for (const name of NODE_RATES) history[name].add(at, rates === null ? null : rates[name])
    this.#nodes.set(node.node, { counters: node.counters, uptimeMs: node.uptimeMs, rates, history })
    return { ...node, state: !node.up ? 'down' : node.counters === null ? 'silent' : 'up', rates, history }
  }

  #shard(shard, up, seconds, at) {
    const before = this.#shards.get(shard.shard)
    const rate =
      before === undefined || seconds === null || seconds <= 0
        ? null
        : Math.max(0, shard.highWatermark - before.highWatermark) / seconds
    const series = before?.series ?? new Series()
    series.add(at, rate)
    const committed = Math.max(before?.committed ?? 0, ...shard.replicas.map((replica) => replica.commitIndex ?? 0))
    const replicas = [...shard.replicas]
      .sort((a, b) => a.node - b.node)
      .map((replica) => ({
        ...replica,
        state: replicaState(replica, shard.leader, up, before?.committed ?? 0),
      }))
    this.#shards.set(shard.shard, { highWatermark: shard.highWatermark, committed, series })
    const state =
      shard.leader === null
        ? 'leaderless'
        : replicas.some((r) => r.state !== 'ok' && r.state !== 'leader')
          ? 'degraded'
          : 'ok'
    return { ...shard, inFlight: shard.endOffset - shard.highWatermark, rate, series, replicas, state }
  }

  /** The partitions' points of the same moment added up. */
  #topicSeries(topic) {
    const sums = new Map()
    for (const { series } of topic.partitions) {
      for (const { at, value } of series.points) {
        if (value === null) sums.set(at, sums.get(at) ?? null)
        else sums.set(at, (sums.get(at) ?? 0) + value)
      }
    }
    const series = new Series()
    series.points = [...sums].map(([at, value]) => ({ at, value })).sort((a, b) => a.at - b.at)
    return series
  }

  #total(nodes, rows, at) {
    const rates = {}
    for (const name of NODE_RATES) {
      rates[name] = sum(nodes.map((node) => node.rates?.[name] ?? null))
      this.#totals[name].add(at, rates[name])
    }
    return {
      rates,
      history: this.#totals,
      recordsPerSync: rates.journalSyncs > 0 ? rates.recordsIn / rates.journalSyncs : null,
      held: rows.filter((row) => row.topic !== null).reduce((n, row) => n + row.highWatermark - row.startOffset, 0),
      inFlight: rows.reduce((n, row) => n + row.inFlight, 0),
      connections: sum(nodes.map((node) => node.counters?.kafkaConnections ?? null)),
    }
  }
}

function seriesOf(names) {
  return Object.fromEntries(names.map((name) => [name, new Series()]))
}

function keepOnly(map, keys) {
  for (const key of map.keys()) if (!keys.has(key)) map.delete(key)
}

/** Null when nothing is known; unknown parts of a sum count as nothing. */
function sum(values) {
  return values.reduce((total, value) => (value === null ? total : (total ?? 0) + value), null)
}

function ratesOf(before, node) {
  if (!before?.counters || node.counters === null || node.uptimeMs === null || before.uptimeMs === null) return null
  const seconds = (node.uptimeMs - before.uptimeMs) / 1000
  if (seconds < 0) return null
  if (seconds === 0) return before.rates
  return Object.fromEntries(
    NODE_RATES.map((name) => [name, Math.max(0, node.counters[name] - before.counters[name]) / seconds]),
  )
}

function replicaState(replica, leader, up, committedBefore) {
  if (!up.has(replica.node)) return 'down'
  if (replica.journaledIndex === null) return 'unknown'
  if (replica.journaledIndex < committedBefore) return 'behind'
  return replica.node === leader ? 'leader' : 'ok'
}

function topicsOf(rows) {
  const byName = new Map()
  for (const row of rows) {
    if (!byName.has(row.topic)) byName.set(row.topic, [])
    byName.get(row.topic).push(row)
  }
  const total = (partitions, value) => partitions.reduce((n, row) => n + value(row), 0)
  const topics = [...byName].map(([name, partitions]) => ({
    name,
    internal: name.startsWith('__'),
    partitions: partitions.sort((a, b) => a.partition - b.partition),
    startOffset: total(partitions, (row) => row.startOffset),
    highWatermark: total(partitions, (row) => row.highWatermark),
    inFlight: total(partitions, (row) => row.inFlight),
    ceiling: partitions.reduce((most, row) => Math.max(most, row.endOffset), 0),
    rate: sum(partitions.map((row) => row.rate)),
    leaders: new Set(partitions.flatMap((row) => (row.leader === null ? [] : [row.leader]))),
    leaderless: partitions.filter((row) => row.state === 'leaderless').length,
    degraded: partitions.filter((row) => row.state === 'degraded').length,
  }))
  return topics.sort((a, b) => Number(a.internal) - Number(b.internal) || (a.name < b.name ? -1 : 1))
}

export function shardName({ topic, partition }) {
  return topic === null ? 'the metadata shard' : `${topic}/${partition}`
}

/** `a, b, c and 4 more` */
export function listed(names, shown = 3) {
  if (names.length <= shown + 1) return names.join(', ')
  return `${names.slice(0, shown).join(', ')} and ${names.length - shown} more`
}

/** The sentences of `tidemark status`. */
function diskProblems({ node, disk, files }) {
  const problems = []
  if (disk?.low) problems.push({ key: `low ${node}`, severity: 'bad', text: `${capital(disk.low)}.` })
  if (disk?.stuckMs > 0) {
    const since = disk.stuckMs < 1000 ? `${Math.round(disk.stuckMs)} ms` : duration(disk.stuckMs)
    const text = `Node ${node}’s disk has not answered a journal write for ${since}: the node leads nothing until it does.`
    problems.push({ key: `stuck ${node}`, severity: 'bad', text })
  }
  const damages = files?.damages ?? []
  if (damages.length === 0) return problems
  const failed = damages.find(({ unrepaired }) => unrepaired !== null)
  const { shard, file, position, reason, unrepaired } = failed ?? damages[0]
  const others = damages.length === 1 ? '' : `; ${damages.length - 1} more damaged`
  const state = unrepaired === null ? 'it is being repaired from the other replicas' : `not repaired: ${unrepaired}`
  const text = `Node ${node}: the log of shard ${shard} is damaged at byte ${position} of ${file} (${reason}), ${state}${others}.`
  problems.push({ key: `damaged ${node}`, severity: failed === undefined ? 'warn' : 'bad', text })
  return problems
}

const capital = (sentence) => sentence[0].toUpperCase() + sentence.slice(1)

function problemsOf(status, nodes, rows) {
  const problems = []
  const bad = (key, text) => problems.push({ key, severity: 'bad', text })
  const warn = (key, text) => problems.push({ key, severity: 'warn', text })
  if (status.cluster === null)
    warn('forming', 'The cluster is being formed: its nodes have not agreed on an identity yet.')
  for (const node of nodes) {
    const held = node.replicas === 1 ? '1 replica' : `${node.replicas} replicas`
    if (node.state === 'down')
      bad(`down ${node.node}`, `Node ${node.node} is down. It holds ${held}, which now miss what is written.`)
    if (node.state === 'silent')
      warn(`silent ${node.node}`, `Node ${node.node} did not answer the last question; its own figures are missing.`)
    for (const { key, severity, text } of diskProblems(node)) problems.push({ key, severity, text })
  }
  const leaderless = rows.filter((row) => row.state === 'leaderless')
  if (leaderless.some((row) => row.topic === null)) {
    bad('metadata', 'The metadata shard has no leader: topics cannot be created or placed until one is elected.')
  }
  const partitions = leaderless.filter((row) => row.topic !== null)
  if (partitions.length > 0) {
    const count = partitions.length === 1 ? '1 partition has' : `${partitions.length} partitions have`
    bad(
      'leaderless',
      `${count} no leader and cannot be written or read until one is elected: ${listed(partitions.map(shardName))}.`,
    )
  }
  const behind = new Map()
  for (const row of rows) {
    for (const replica of row.replicas) {
      if (replica.state !== 'behind') continue
      if (!behind.has(replica.node)) behind.set(replica.node, [])
      behind.get(replica.node).push({ row, lag: replica.lag })
    }
  }
  for (const [node, shards] of behind) {
    const known = shards.filter(({ lag }) => lag !== null).sort((a, b) => b.lag - a.lag)
    const most =
      known.length === 0 ? '' : `, by ${known[0].lag.toLocaleString('en-US')} entries on ${shardName(known[0].row)}`
    const count = shards.length === 1 ? '1 shard' : `${shards.length} shards`
    warn(`behind ${node}`, `Node ${node} is behind on ${count}${most}. It is catching up, or it cannot keep up.`)
  }
  return problems
}
