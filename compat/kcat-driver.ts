/**
 * kcat, and with it librdkafka: a process per errand. It prints what it reads behind lengths, so that values may hold any
 * byte, and takes what it sends between delimiters that no value holds.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import type {
  ClientDriver,
  GroupDescription,
  GroupMember,
  Incoming,
  JoinSettings,
  Lacking,
  Outgoing,
  ProduceSettings,
} from './driver.ts'

const RECORD_END = '<<end>>'
const KEY_END = '<<key>>'
const FORMAT = '%p %o %K %S %k%s'
const PATIENCE_MS = 20_000

/** What `kcat -V` says of its own and librdkafka's version; null where there is no kcat. */
export function kcatVersion(): string | null {
  const { stdout, error } = spawnSync('kcat', ['-V'], { encoding: 'utf8' })
  if (error !== undefined) return null
  const kcat = /Version ([\d.]+)/.exec(stdout)?.[1] ?? '?'
  return `${kcat}, librdkafka ${/librdkafka ([\d.]+)/.exec(stdout)?.[1] ?? '?'}`
}

export class KcatDriver implements ClientDriver {
  readonly version = kcatVersion() ?? 'absent'
  readonly lacks: ReadonlyMap<Lacking, string> = new Map<Lacking, string>([
    ['nullValues', 'kcat sends null and empty values alike'],
    ['manualCommit', 'kcat commits what it printed, and nothing else'],
    ['committed', 'kcat shows no committed offsets'],
    ['groups', 'kcat lists and describes no groups'],
  ])
  readonly #brokers: string
  readonly #running = new Set<ChildProcess>()

  constructor(brokers: readonly string[]) {
    this.#brokers = brokers.join(',')
  }

  /** kcat administers nothing: asking for a topic's metadata as a producer creates it, with the default of four partitions. */
  async createTopic(topic: string, partitions: number): Promise<void> {
    const listing = (await this.#run(['-L', '-t', topic])).toString()
    const found = /topic "[^"]*" with (\d+) partitions/.exec(listing)?.[1]
    if (found !== String(partitions)) throw new Error(`kcat -L shows ${found} partitions of ${topic}:\n${listing}`)
  }

  async produce(topic: string, records: readonly Outgoing[], { codec, idempotent }: ProduceSettings): Promise<void> {
    for (const partition of new Set(records.map((record) => record.partition))) {
      const input: Buffer[] = []
      for (const { partition: its, key, value } of records) {
        if (its === partition) input.push(key ?? Buffer.alloc(0), Buffer.from(KEY_END), value!, Buffer.from(RECORD_END))
      }
      const args = ['-P', '-t', topic, '-p', String(partition), '-D', RECORD_END, '-K', KEY_END, '-z', codec]
      // kcat keeps a line of its input no longer than this, and librdkafka a batch.
      const settings = ['-X', 'acks=all', '-X', 'message.max.bytes=1000000', '-X', `enable.idempotence=${idempotent}`]
      await this.#run([...args, ...settings], Buffer.concat(input))
    }
  }

  async read(topic: string, from: ReadonlyMap<number, number>, count: number): Promise<Incoming[]> {
    const records: Incoming[] = []
    for (const [partition, offset] of from) {
      const args = ['-C', '-t', topic, '-p', String(partition), '-o', String(offset), '-e', '-f', FORMAT]
      const parser = new Parser((record) => records.push(record))
      parser.write(await this.#run(args))
    }
    if (records.length < count)
      throw new Error(`kcat read ${records.length} of ${count} records of ${topic} to the end`)
    return records
  }

  async join({ group, topic, autoCommit, received }: JoinSettings): Promise<GroupMember> {
    const settings = {
      'auto.offset.reset': 'earliest',
      'heartbeat.interval.ms': 200,
      'session.timeout.ms': 10_000,
      'enable.auto.commit': autoCommit,
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-X', `${name}=${value}`])
    const child = this.#start(['-u', '-f', FORMAT, ...flags, '-G', group, topic])
    const state: { partitions: number[] | null; failure: Error | null } = { partitions: null, failure: null }
    let leaving = false
    const parser = new Parser(received)
    child.stdout!.on('data', (bytes: Buffer) => parser.write(bytes))
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const lines = said.split('\n')
      said = lines.pop()!
      for (const line of lines) {
        const assigned = /^% Group .* rebalanced .*: assigned: (.*)$/.exec(line)?.[1]
        if (assigned !== undefined)
          state.partitions = [...assigned.matchAll(/\[(\d+)\]/g)].map((match) => Number(match[1]))
        else if (/^% ERROR/.test(line)) state.failure = new Error(line)
      }
    })
    const ended = new Promise<void>((resolve) => {
      child.once('close', (code) => {
        if (!leaving) state.failure ??= new Error(`kcat ended with code ${code}: ${said}`)
        resolve()
      })
    })
    return {
      get partitions() {
        return state.partitions
      },
      get failure() {
        return state.failure
      },
      commit: async () => {},
      leave: async () => {
        leaving = true
        child.kill('SIGINT')
        await ended
      },
    }
  }

  committed(): Promise<number[]> {
    throw new Error(this.lacks.get('committed'))
  }

  listGroups(): Promise<string[]> {
    throw new Error(this.lacks.get('groups'))
  }

  describeGroup(): Promise<GroupDescription> {
    throw new Error(this.lacks.get('groups'))
  }

  async offsetsAt(topic: string, timestamp: number, partitions: number): Promise<number[]> {
    const queries = Array.from({ length: partitions }, (_, partition) => ['-t', `${topic}:${partition}:${timestamp}`])
    const offsets: number[] = new Array(partitions).fill(-1)
    for (const match of (await this.#run(['-Q', ...queries.flat()])).toString().matchAll(/\[(\d+)\] offset (-?\d+)/g)) {
      offsets[Number(match[1])] = Number(match[2])
    }
    return offsets
  }

  async close(): Promise<void> {
    for (const child of this.#running) child.kill('SIGKILL')
  }

  #start(args: readonly string[]): ChildProcess {
    const child = spawn('kcat', ['-b', this.#brokers, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#running.add(child)
    child.once('close', () => this.#running.delete(child))
    child.stdin!.on('error', () => {})
    return child
  }

  #run(args: readonly string[], input = Buffer.alloc(0)): Promise<Buffer> {
    const child = this.#start(args)
    const [out, said]: [Buffer[], Buffer[]] = [[], []]
    child.stdout!.on('data', (bytes: Buffer) => out.push(bytes))
    child.stderr!.on('data', (bytes: Buffer) => said.push(bytes))
    child.stdin!.end(input)
    const impatience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        clearTimeout(impatience)
        if (code === 0) resolve(Buffer.concat(out))
        else
          reject(
            new Error(`kcat ${args.join(' ')}: ${signal ?? `code ${code}`}: ${Buffer.concat(said).toString().trim()}`),
          )
      })
    })
  }
}

/** Cuts records out of what kcat prints with `FORMAT`. */
class Parser {
  readonly #received: (record: Incoming) => void
  #rest: Buffer = Buffer.alloc(0)

  constructor(received: (record: Incoming) => void) {
    this.#received = received
  }

  write(bytes: Buffer): void {
    let rest = Buffer.concat([this.#rest, bytes])
    for (;;) {
      const head = /^(\d+) (\d+) (-?\d+) (-?\d+) /.exec(rest.toString('latin1', 0, 80))
      if (head === null) break
      const [partition, offset, keyBytes, valueBytes] = head.slice(1).map(Number) as [number, number, number, number]
      const keyAt = head[0].length
      const valueAt = keyAt + Math.max(0, keyBytes)
      const end = valueAt + Math.max(0, valueBytes)
      if (rest.length < end) break
      const [key, value] = [rest.subarray(keyAt, valueAt), rest.subarray(valueAt, end)].map((part) => Buffer.from(part))
      rest = rest.subarray(end)
      this.#received({ partition, offset, key: keyBytes <= 0 ? null : key!, value: valueBytes < 0 ? null : value! })
    }
    this.#rest = rest
  }
}
