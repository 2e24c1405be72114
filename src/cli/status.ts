/** `tidemark status`: what the page shows, in a terminal. */

import type { ClusterStatus, FilesStatus, ShardStatus } from '../gateways/http/index.ts'
import { colors } from './colors.ts'
import { CliError } from './errors.ts'
import { output } from './output.ts'
import { bytes, count, duration, jsonLine, table } from './print.ts'

interface StatusFlags {
  readonly http: string
  readonly watch?: boolean
  readonly json?: boolean
}

export async function status(flags: StatusFlags): Promise<number> {
  if (flags.watch !== true) {
    const cluster = await ask(flags.http)
    output.line(flags.json === true ? jsonLine(cluster) : render(cluster))
    return 0
  }
  for (;;) {
    const cluster = await ask(flags.http)
    if (flags.json === true) output.line(jsonLine(cluster))
    else output.write(`${process.stdout.isTTY ? '\x1b[H\x1b[2J' : ''}${render(cluster)}\n`)
    if (!(await output.taken())) return 0
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

export async function ask(address: string): Promise<ClusterStatus> {
  const url = urlOf(address)
  let response: Response
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(5000) })
  } catch {
    throw new CliError(
      { code: 'UNREACHABLE', address },
      `no node answers at --http ${address}; is it running? (tidemark dev has its first node at http://127.0.0.1:19094)`,
    )
  }
  if (!response.ok)
    throw new CliError(
      { code: 'REFUSED', subject: address },
      `--http ${address} answers ${response.status}: ${(await response.text().catch(String)).split('\n')[0]}`,
    )
  const told: unknown = await response.json().catch(() => null)
  if (isStatus(told)) return told
  throw new CliError(
    { code: 'REFUSED', subject: address },
    `--http ${address}: what answers there is not a node; give what its --http says (tidemark start: 127.0.0.1:9644)`,
  )
}

function urlOf(address: string): URL {
  try {
    const url = new URL(address.includes('://') ? address : `http://${address}`)
    if (/^https?:$/.test(url.protocol)) return new URL('/api/cluster', url)
  } catch {
    // Said below, like a URL of something else.
  }
  throw new CliError(
    { code: 'USAGE', option: 'http' },
    `--http ${address === '' ? "''" : address}: must be HOST:PORT or a URL, like http://127.0.0.1:9644`,
  )
}

/** As far as it tells a node from any other program that speaks JSON. */
function isStatus(told: unknown): told is ClusterStatus {
  if (typeof told !== 'object' || told === null) return false
  const { cluster, nodes, shards } = told as Record<string, unknown>
  return (cluster === null || typeof cluster === 'string') && Array.isArray(nodes) && Array.isArray(shards)
}

export function render(cluster: ClusterStatus): string {
  const nodes = table(cluster.nodes, [
    { title: 'node', value: (node) => String(node.node), right: true },
    {
      title: 'state',
      value: (node) => (node.up ? 'up' : 'down'),
      colour: (text, node) => (node.up ? colors.green(text) : colors.red(text)),
    },
    { title: 'leads', value: (node) => `${node.leads} of ${node.replicas}`, right: true },
    { title: 'kafka', value: (node) => node.kafka },
    { title: 'http', value: (node) => node.http ?? '-' },
    { title: 'up for', value: (node) => (node.uptimeMs === null ? '-' : duration(node.uptimeMs)), right: true },
    { title: 'memory', value: (node) => (node.memoryBytes === null ? '-' : bytes(node.memoryBytes)), right: true },
    {
      title: 'records in',
      value: (node) => (node.counters === null ? '-' : count(node.counters.recordsIn)),
      right: true,
    },
    {
      title: 'syncs',
      value: (node) => (node.counters === null ? '-' : count(node.counters.journalSyncs)),
      right: true,
    },
  ])
  const held = cluster.nodes.filter(({ journal }) => journal !== null && journal.heldBy !== null)
  const journals = held
    .map(
      ({ node, journal }) =>
        `node ${node}: ${journal!.segments} journal segments are kept for shard ${journal!.heldBy}`,
    )
    .join('\n')
  const damages = damagesOf(cluster).map(damageLine)
  const repaired = cluster.nodes
    .filter(({ files }) => files !== null && files.repaired + files.rewritten > 0)
    .map(({ node, files }) => `node ${node}: ${files!.repaired} damaged ranges and ${files!.rewritten} files repaired`)
  const disks = cluster.nodes.flatMap(({ node, disk }) => diskNotes(node, disk))
  const notes = [
    disks.map((line) => colors.red(line)).join('\n'),
    journals,
    damages.map((line) => colors.red(line)).join('\n'),
    repaired.join('\n'),
  ]
    .filter((note) => note !== '')
    .map((note) => `\n\n${note}`)
    .join('')
  const shards = table(cluster.shards, [
    { title: 'shard', value: name },
    {
      title: 'leader',
      value: (shard) => (shard.leader === null ? 'none' : String(shard.leader)),
      right: true,
      colour: (text, shard) => (shard.leader === null ? colors.red(text) : text),
    },
    { title: 'term', value: (shard) => String(shard.term), right: true },
    { title: 'low-water', value: (shard) => count(shard.startOffset), right: true },
    { title: 'high-water', value: (shard) => count(shard.highWatermark), right: true },
    { title: 'end', value: (shard) => count(shard.endOffset), right: true },
    {
      title: 'replicas (lag)',
      value: (shard) =>
        shard.replicas
          .map(
            (replica) =>
              `${replica.node}${replica.lag === null ? ' (?)' : replica.lag > 0 ? ` (${count(replica.lag)})` : ''}`,
          )
          .join(', '),
    },
  ])
  return `cluster ${colors.bold(cluster.cluster ?? 'being formed')}, controller ${cluster.controller ?? 'none'}\n\n${nodes}\n\n${shards}${notes}`
}

function diskNotes(node: number, disk: ClusterStatus['nodes'][number]['disk']): string[] {
  if (disk === null) return []
  const stuck = `node ${node}'s disk has not answered a journal write for ${duration(disk.stuckMs)}: the node leads nothing until it does`
  return [...(disk.low === null ? [] : [disk.low]), ...(disk.stuckMs > 0 ? [stuck] : [])]
}

type Damage = FilesStatus['damages'][number] & { readonly node: number }

export function damagesOf(cluster: ClusterStatus): Damage[] {
  return cluster.nodes.flatMap(({ node, files }) => (files?.damages ?? []).map((damage) => ({ node, ...damage })))
}

export function damageLine({ node, shard, file, position, reason, unrepaired }: Damage): string {
  return (
    `node ${node}: the log of shard ${shard} is damaged at byte ${position} of ${file} (${reason}), ` +
    (unrepaired === null ? 'being repaired' : `not repaired: ${unrepaired}`)
  )
}

function name(shard: ShardStatus): string {
  return shard.topic === null ? '(metadata)' : `${shard.topic}/${shard.partition}`
}
