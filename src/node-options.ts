/**
 * What a node is told at its start: one table of settings, each with a flag, an environment variable and a key in the
 * configuration file, the same check for all three, and an error that names the setting, the value and the way out.
 *
 * Precedence: flag, then environment, then file, then default.
 */
import type { Address } from './platform/index.ts'
import { TypedError } from './stdx/index.ts'

export class OptionError extends TypedError<{ code: 'OPTION_INVALID'; option: string; value: string }> {}

export interface Member {
  readonly id: number
  readonly peer: Address
}

export interface NodeOptions {
  readonly id: number
  readonly data: string
  readonly kafka: Address
  readonly http: Address
  readonly peer: Address
  /** The members at the cluster's first start; empty for a single node. */
  readonly cluster: readonly Member[]
  readonly advertiseKafka: Address | null
  readonly advertisePeer: Address | null
  readonly rack: string | null
  readonly allowInsecure: boolean
  /** Partitions of a topic that says nothing. */
  readonly defaultPartitions: number
  /** How long the first members of a new consumer group wait for others. */
  readonly groupInitialRebalanceDelayMs: number
  /** Of the data directory's file system, kept for what must always be written; null: as much as suits it. */
  readonly diskReserveBytes: number | null
  /** A journal write that takes longer costs this node its leaderships. */
  readonly diskStuckMs: number
  /** How fast files that nobody asks for are read through for damage; 0: not at all. */
  readonly scrubBytesPerSecond: number
  /** How fast compaction reads; 0: as fast as it can. */
  readonly cleaningBytesPerSecond: number
}

interface Setting {
  readonly flag: string
  readonly argument: string | null
  readonly help: string
}

/** In the order of `tidemark start --help`. The key in the configuration file is the flag without dashes; the variable is TIDEMARK_ and the flag. */
export const SETTINGS = [
  {
    flag: 'id',
    argument: 'N',
    help: "this node's number, 1 to 65535; it belongs to the data directory (default 1)",
  },
  { flag: 'data', argument: 'DIR', help: 'the data directory (default ./tidemark-data)' },
  { flag: 'kafka', argument: 'HOST:PORT', help: 'where Kafka clients connect (default 127.0.0.1:9092)' },
  { flag: 'redis', argument: 'HOST:PORT', help: 'refused until tables exist' },
  { flag: 'http', argument: 'HOST:PORT', help: 'health, metrics, API and the page (default 127.0.0.1:9644)' },
  {
    flag: 'peer',
    argument: 'HOST:PORT',
    help: 'where the other nodes connect (default: as in --cluster, else 127.0.0.1:7400)',
  },
  {
    flag: 'cluster',
    argument: 'MEMBERS',
    help: 'first start of a cluster: 1@HOST:PORT,2@HOST:PORT,… all peer addresses, the same on each',
  },
  { flag: 'join', argument: 'HOST:PORT', help: 'refused until membership changes exist' },
  {
    flag: 'advertise-kafka',
    argument: 'HOST:PORT',
    help: 'where Kafka clients reach this node, if not where it listens',
  },
  {
    flag: 'advertise-peer',
    argument: 'HOST:PORT',
    help: 'where the other nodes reach this node, if not where it listens',
  },
  { flag: 'advertise-redis', argument: 'HOST:PORT', help: 'refused until tables exist' },
  { flag: 'rack', argument: 'NAME', help: 'replicas of a partition are kept on different racks' },
  {
    flag: 'allow-insecure',
    argument: null,
    help: 'allow listeners beyond the loopback interface, unauthenticated and in clear text',
  },
  {
    flag: 'default-partitions',
    argument: 'N',
    help: 'partitions of a topic that does not say how many (default 4)',
  },
  {
    flag: 'group-initial-rebalance-delay-ms',
    argument: 'MS',
    help: 'how long a new consumer group waits for more members (default 300)',
  },
  {
    flag: 'disk-reserve-bytes',
    argument: 'BYTES',
    help: 'with less than this free, records are refused (default 256 MiB or 5 % of the disk; never above 10 %)',
  },
  {
    flag: 'disk-stuck-ms',
    argument: 'MS',
    help: 'after so long without an answer from the disk this node leads nothing (default 700)',
  },
  {
    flag: 'scrub-bytes-per-second',
    argument: 'BYTES',
    help: 'how fast all files are read through for damage, again and again; 0 for never (default 4194304)',
  },
  {
    flag: 'cleaning-bytes-per-second',
    argument: 'BYTES',
    help: 'how fast compaction reads what it cleans; 0 for as fast as it can (default 16777216)',
  },
] as const satisfies readonly Setting[]

const DEFAULT_PEER: Address = { host: '127.0.0.1', port: 7400 }

export type SettingName = (typeof SETTINGS)[number]['flag']
export type RawSettings = Partial<Record<SettingName, string>>

export function environmentVariableOf(flag: string): string {
  return `TIDEMARK_${flag.toUpperCase().replaceAll('-', '_')}`
}

export function settingsFromEnvironment(environment: Record<string, string | undefined>): RawSettings {
  const settings: RawSettings = {}
  for (const { flag } of SETTINGS) {
    const value = environment[environmentVariableOf(flag)]
    if (value !== undefined && value !== '') settings[flag] = value
  }
  return settings
}

/** The configuration file is one JSON object whose keys are the flags. */
export function settingsFromFile(text: string, file: string): RawSettings {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw invalid('config', file, `is not JSON: ${(error as Error).message}`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw invalid('config', file, 'must hold one JSON object')
  const settings: RawSettings = {}
  const known = new Set<string>(SETTINGS.map((setting) => setting.flag))
  for (const [key, value] of Object.entries(parsed)) {
    if (!known.has(key)) throw invalid('config', file, `has the unknown key '${key}'; known: ${[...known].join(', ')}`)
    if (typeof value === 'object')
      throw invalid(
        'config',
        file,
        `has a ${Array.isArray(value) ? 'list' : value === null ? 'null' : 'object'} as '${key}'; a text, a number or true is needed`,
      )
    settings[key as SettingName] = String(value)
  }
  return settings
}

export function parseNodeOptions(raw: RawSettings): NodeOptions {
  for (const option of ['redis', 'advertise-redis'] as const) {
    const value = raw[option]
    if (value === undefined) continue
    throw invalid(option, value, 'cannot be served yet: tables do not exist in this version; leave the option out')
  }
  if (raw.join !== undefined) {
    throw invalid(
      'join',
      raw.join,
      'cannot be served yet: this version has no membership changes; list all members in --cluster at the first start',
    )
  }
  const allowInsecure = yesOrNo('allow-insecure', raw['allow-insecure'])
  if (raw.data === '') throw invalid('data', '(empty)', 'must be a directory')
  if (raw.rack === '') throw invalid('rack', '(empty)', 'must be a name; leave the option out where there are no racks')
  const id = integer('id', raw.id ?? '1', 1, 65_535)
  const cluster = members(raw.cluster)
  const own = cluster.find((member) => member.id === id)
  const options: NodeOptions = {
    id,
    data: raw.data ?? './tidemark-data',
    kafka: address('kafka', raw.kafka ?? '127.0.0.1:9092'),
    http: address('http', raw.http ?? '127.0.0.1:9644'),
    peer: raw.peer === undefined ? (own?.peer ?? DEFAULT_PEER) : address('peer', raw.peer),
    cluster,
    advertiseKafka: advertised('advertise-kafka', raw['advertise-kafka']),
    advertisePeer: advertised('advertise-peer', raw['advertise-peer']) ?? whereClusterSays(own, raw.peer),
    rack: raw.rack ?? null,
    allowInsecure,
    defaultPartitions: integer('default-partitions', raw['default-partitions'] ?? '4', 1, 10_000),
    groupInitialRebalanceDelayMs: integer(
      'group-initial-rebalance-delay-ms',
      raw['group-initial-rebalance-delay-ms'] ?? '300',
      0,
      600_000,
    ),
    diskReserveBytes:
      raw['disk-reserve-bytes'] === undefined
        ? null
        : integer('disk-reserve-bytes', raw['disk-reserve-bytes'], 0, Number.MAX_SAFE_INTEGER),
    diskStuckMs: integer('disk-stuck-ms', raw['disk-stuck-ms'] ?? '700', 50, 600_000),
    scrubBytesPerSecond: integer(
      'scrub-bytes-per-second',
      raw['scrub-bytes-per-second'] ?? '4194304',
      0,
      10_000_000_000,
    ),
    cleaningBytesPerSecond: integer(
      'cleaning-bytes-per-second',
      raw['cleaning-bytes-per-second'] ?? '16777216',
      0,
      10_000_000_000,
    ),
  }
  if (cluster.length > 0 && own === undefined) {
    throw invalid(
      'cluster',
      raw.cluster!,
      `does not list this node's id ${id}; add ${id}@HOST:PORT or give the right --id`,
    )
  }
  // A second process under a member's id, with an address of its own, would wait for ever for others to find it there.
  const reachedAt = options.advertisePeer ?? options.peer
  if (own !== undefined && formatAddress(own.peer) !== formatAddress(reachedAt)) {
    const said = formatAddress(own.peer)
    throw invalid(
      'peer',
      formatAddress(reachedAt),
      `is not where --cluster says node ${id} is (${said}); give the same address, or --advertise-peer ${said}`,
    )
  }
  for (const [name, listener] of [
    ['kafka', options.kafka],
    ['http', options.http],
    ['peer', options.peer],
  ] as const) {
    if (!allowInsecure && !isLoopback(listener.host)) {
      throw invalid(
        name,
        `${listener.host}:${listener.port}`,
        'is reachable from other machines without encryption or authentication; say --allow-insecure if that is meant, or listen on 127.0.0.1',
      )
    }
  }
  for (const [name, listener, advertised] of [
    ['kafka', options.kafka, options.advertiseKafka],
    ['peer', options.peer, options.advertisePeer],
  ] as const) {
    if (isWildcard(listener.host) && advertised === null) {
      throw invalid(
        name,
        `${listener.host}:${listener.port}`,
        `listens everywhere, but others need one address to come to: say --advertise-${name} HOST:PORT`,
      )
    }
  }
  return options
}

export function parseAddress(option: string, text: string): Address {
  return address(option, text)
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function members(text: string | undefined): readonly Member[] {
  if (text === undefined) return []
  const found = text.split(',').map((part): Member => {
    const [id, at, ...rest] = part.trim().split('@')
    if (id === undefined || at === undefined || rest.length > 0)
      throw invalid('cluster', text, `has '${part}' where ID@HOST:PORT is needed`)
    return { id: integer('cluster', id, 1, 65_535), peer: address('cluster', at) }
  })
  if (found.some((member) => member.peer.port === 0))
    throw invalid('cluster', text, 'has port 0, where others could not find that member')
  if (new Set(found.map((member) => member.id)).size !== found.length)
    throw invalid('cluster', text, 'names an id twice')
  if (new Set(found.map((member) => formatAddress(member.peer))).size !== found.length)
    throw invalid('cluster', text, 'names an address twice')
  return found
}

function address(option: string, text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]/]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535)
    throw invalid(option, text, 'must be HOST:PORT, for example 127.0.0.1:9092 or [::1]:9092')
  return { host: (match[1] ?? match[2])!, port }
}

/** What others are told to come to must be one place. */
function advertised(option: string, text: string | undefined): Address | null {
  if (text === undefined) return null
  const found = address(option, text)
  if (isWildcard(found.host)) throw invalid(option, text, 'is every address; say the one HOST that others reach')
  if (found.port === 0) throw invalid(option, text, 'names no port; others need one to come to')
  return found
}

/** A member that listens on every address is reached where all others were told it is. */
function whereClusterSays(own: Member | undefined, listener: string | undefined): Address | null {
  return own !== undefined && listener !== undefined && isWildcard(address('peer', listener).host) ? own.peer : null
}

function yesOrNo(option: string, text: string | undefined): boolean {
  if (text === undefined || text === 'false') return false
  if (text === 'true' || text === '') return true
  throw invalid(option, text, 'must be true or false')
}

function integer(option: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw invalid(option, text, `must be a whole number from ${min} to ${max}`)
  return value
}

function invalid(option: string, value: string, why: string): OptionError {
  return new OptionError({ code: 'OPTION_INVALID', option, value }, `--${option} ${value}: ${why}`)
}
