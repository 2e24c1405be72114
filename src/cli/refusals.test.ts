/** What cannot be done is said in one line, with exit code 1 and no stack. */
import assert from 'node:assert/strict'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import path from 'node:path'
import test from 'node:test'
import { Tidemark } from '../index.ts'
import { crc32c } from '../stdx/index.ts'
import {
  freePorts,
  holdPort,
  type Outcome,
  planCluster,
  portOf,
  Running,
  type RunOptions,
  tidemark,
  withDirectory,
} from './cli-harness.test.ts'

/** The client computes a negative timeout, and newer Node.js say so. */
const QUIET = { NODE_NO_WARNINGS: '1' }

function oneLine(outcome: Outcome, what: RegExp): void {
  const said = `exit code ${outcome.code}\n${outcome.stdout}${outcome.stderr}`
  assert.equal(outcome.code, 1, said)
  assert.match(outcome.stderr, what)
  assert.doesNotMatch(outcome.stderr, /^\s+at /m, said)
  const lines = outcome.stderr.trim().split('\n')
  // What a node logged before it gave up is dated; a usage error points at the help.
  const own = lines.filter((line) => !/^\d{4}-/.test(line) && !line.startsWith('(add --help'))
  assert.equal(own.length, 1, said)
  assert.match(own[0]!, what)
}

async function refuses(args: readonly string[], what: RegExp, options: RunOptions = {}): Promise<void> {
  oneLine(await tidemark(args, options), what)
}

test('help of every command is worth reading and ends well', { timeout: 60_000 }, async () => {
  const commands = [
    [],
    ['start'],
    ['dev'],
    ['status'],
    ['topic'],
    ['topic', 'create'],
    ['topic', 'list'],
    ['topic', 'describe'],
    ['topic', 'delete'],
    ['produce'],
    ['consume'],
    ['log'],
    ['log', 'dump'],
    ['log', 'verify'],
    ['log', 'stats'],
  ]
  const outcomes = await Promise.all(commands.map((command) => tidemark([...command, '--help'])))
  for (const [i, { code, stdout, stderr }] of outcomes.entries()) {
    const command = commands[i]!.join(' ')
    assert.equal(code, 0, command)
    assert.equal(stderr, '', command)
    assert.match(stdout, /^Usage: tidemark/, command)
    assert.ok(stdout.split('\n').length > 5, command)
  }
  for (const name of ['start', 'dev', 'status', 'topic', 'produce', 'consume', 'log'])
    assert.match(outcomes[0]!.stdout, new RegExp(`^ +${name} `, 'm'))
  for (const flag of [
    'id',
    'data',
    'kafka',
    'redis',
    'http',
    'peer',
    'cluster',
    'join',
    'advertise-kafka',
    'advertise-peer',
    'rack',
    'config',
    'allow-insecure',
  ]) {
    assert.match(outcomes[1]!.stdout, new RegExp(`--${flag}\\b`))
  }
  const version = await tidemark(['--version'])
  assert.deepEqual(
    [version.code, version.stdout.trim()],
    [0, (JSON.parse(await readFile('package.json', 'utf8')) as { version: string }).version],
  )
})

test('usage: unknown commands, flags and values', { timeout: 120_000 }, async () => {
  const cases: [string[], RegExp][] = [
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['start', '--nope'], /unknown option '--nope'/],
    [['start', 'extra'], /too many arguments|unexpected/],
    [['start', '--kafka'], /argument missing/],
    [['start', '--id', 'x'], /--id x: must be a whole number/],
    [['start', '--kafka', '0.0.0.0:9092'], /--allow-insecure/],
    [['start', '--kafka', '0.0.0.0:9092', '--allow-insecure'], /--advertise-kafka/],
    [['start', '--redis', '127.0.0.1:6379'], /tables do not exist/],
    [['start', '--config', 'missing.json'], /--config missing.json: cannot be read \(ENOENT\)/],
    [['start', '--config', 'src'], /--config src: cannot be read \(EISDIR\)/],
    [['start', '--config', 'README.md.no'], /cannot be read/],
    [['start', '--config', 'LICENSE'], /is not JSON/],
    [['start', '--config', 'package.json'], /unknown key 'name'/],
    [['dev', '--nodes', '0'], /--nodes 0: must be a whole number from 1 to 9/],
    [['dev', '--base-port', '65530'], /--base-port 65530/],
    [['topic', 'create'], /missing required argument 'name'/],
    [['topic', 'create', 't', '--partitions', '0'], /--partitions 0/],
    [['topic', 'create', 't', '--config', 'x'], /must be KEY=VALUE/],
    // The name that follows an option's value is the command's.
    [['topic', 'create', '--config', 'x', 't'], /--config x: must be KEY=VALUE/],
    [['topic', 'create', '--config', 'a=b', '--config', 'x', 't'], /--config x: must be KEY=VALUE/],
    [['backup', '--verify', '--topic', 'orders', 'nowhere/backup'], /nowhere\/backup/],
    [['restore', 'backup', '--until', '1764000000'], /--until 1764000000: must be .*1764000000000/],
    [
      ['restore', 'backup', '--until', '2026'],
      /--until 2026: must be a day like 2026-03-01, a time with its zone like 2026-03-01T12:00:00Z/,
    ],
    [['restore', 'backup', '--until', 'yesterday'], /--until yesterday: must be a day like/],
    // February has no such day, and this hour has a different name in each zone.
    [['restore', 'backup', '--until', '2026-02-31'], /--until 2026-02-31: must be a day/],
    [['restore', 'backup', '--until', '2026-03-01T12:00'], /--until 2026-03-01T12:00: must be .* zone/],
    [['backup', ''], /FOLDER is empty/],
    [['topic', 'create', 't', '--config', 'a=1', '--config', 'a=2'], /--config a: is given twice/],
    [['topic', 'list', '--brokers', 'nowhere'], /--brokers nowhere: must be HOST:PORT/],
    [['produce', 't', '--acks', '2'], /--acks 2: must be all, 1 or 0/],
    [['consume', 't', '--from', 'middle'], /--from middle: must be start or end/],
    [['consume', 't', '--max', '0'], /--max 0/],
    [['status', '--http', 'http://[nonsense'], /--http http:\/\/\[nonsense: must be HOST:PORT or a URL/],
    [['status', '--http', ''], /--http '': must be HOST:PORT or a URL, like http:/],
    [['status', '--http', 'kafka://127.0.0.1:9092'], /--http kafka:.*: must be HOST:PORT or a URL/],
  ]
  // Not all at once: each process has half a minute, also on a busy machine.
  for (let i = 0; i < cases.length; i += 8)
    await Promise.all(cases.slice(i, i + 8).map(([args, what]) => refuses(args, what)))
})

test('environment and configuration file are checked like flags, and flags win', { timeout: 60_000 }, async () => {
  await withDirectory(async (directory) => {
    const file = path.join(directory, 'tidemark.json')
    await writeFile(file, JSON.stringify({ id: 'from file', data: directory }))
    await refuses(['start'], /--id from-env: must be/, { environment: { TIDEMARK_ID: 'from-env' } })
    await refuses(['start', '--config', file], /--id from file/)
    await refuses(['start', '--config', file], /--id from-env/, { environment: { TIDEMARK_ID: 'from-env' } })
    await refuses(['start', '--config', file, '--id', 'flag'], /--id flag/, {
      environment: { TIDEMARK_ID: 'from-env' },
    })
    await refuses(['start'], /--id from file/, { environment: { TIDEMARK_CONFIG: file } })
  })
})

test('nobody answers: every client command says so and how to start one', { timeout: 60_000 }, async () => {
  const [port] = await freePorts(1)
  const brokers = ['--brokers', `127.0.0.1:${port}`]
  const unreachable = new RegExp(`no node answers at --brokers 127.0.0.1:${port}; is it running\\?`)
  await Promise.all([
    refuses(['topic', 'list', ...brokers], unreachable),
    refuses(['topic', 'create', 't', ...brokers], unreachable),
    refuses(['consume', 't', ...brokers], unreachable),
    refuses(['produce', 't', ...brokers], unreachable, { input: 'x\n' }),
    refuses(['status', '--http', `127.0.0.1:${port}`], /no node answers at --http/),
  ])
})

test('ports in use are named, and nothing stays behind', { timeout: 60_000 }, async () => {
  const holder = await holdPort()
  try {
    for (const flag of ['kafka', 'http', 'peer']) {
      await withDirectory(async (directory) => {
        const [node] = await planCluster(directory, 1)
        const at = `127.0.0.1:${portOf(holder)}`
        await refuses([...node!.args, `--${flag}`, at], new RegExp(`--${flag} ${at}: .*port`))
      })
    }
  } finally {
    holder.close()
  }
})

test('the data directory: in use, of another node, another cluster, a newer version, damaged, not a directory', {
  timeout: 60_000,
}, async () => {
  await withDirectory(async (directory) => {
    const [node] = await planCluster(directory, 1)
    const running = new Running(node!.args)
    await running.printed(/listens/)
    const [other] = await planCluster(directory, 1)
    await refuses(other!.args, /in use by another process|another process uses/)
    await refuses(
      ['backup', node!.directory, '--brokers', node!.kafka],
      /node-1: is no backup, and has something else in it/,
    )
    assert.equal(existsSync(path.join(node!.directory, 'segments')), false)
    assert.equal((await running.stop()).code, 0)

    await refuses([...node!.args, '--id', '2'], /belongs to node 1, not to node 2/)
    const [peer] = await freePorts(1)
    await refuses([...node!.args, '--cluster', `1@${node!.peer},2@127.0.0.1:${peer}`], /not started with --cluster/)

    const identity = path.join(node!.directory, 'identity')
    const whole = await readFile(identity)
    const newer = Buffer.from(whole)
    newer.writeUInt16LE(99, 12)
    newer.writeUInt16LE(99, 14)
    newer.writeUInt32LE(crc32c(newer.subarray(12)), 8)
    await writeFile(identity, newer)
    await refuses(node!.args, /newer/)
    const flipped = Buffer.from(whole)
    flipped[25]! ^= 1
    await writeFile(identity, flipped)
    await writeFile(`${identity}.copy`, flipped)
    await refuses(node!.args, /identity is damaged/)
    await writeFile(identity, whole)

    const file = path.join(directory, 'file')
    await writeFile(file, 'x')
    await refuses([...node!.args, '--data', file], /file/)
    await refuses([...node!.args, '--data', path.join(file, 'below')], /file/)
    await refuses([...node!.args, '--data', '/proc/nowhere'], /cannot create the directory \/proc\/nowhere/)
    await mkdir(path.join(directory, 'backup', 'segments'), { recursive: true })
    await refuses(
      [...node!.args, '--data', path.join(directory, 'backup')],
      /backup: holds a backup, not a node's data/,
    )
    await mkdir(path.join(directory, 'lost', 'journal'), { recursive: true })
    await writeFile(path.join(directory, 'lost', 'journal', '1'), 'x')
    await refuses([...node!.args, '--data', path.join(directory, 'lost')], /no identity file/)
    const again = new Running(node!.args)
    await again.printed(/listens/)
    assert.equal((await again.stop()).code, 0)
  })
})

test('a disk without room refuses the start in one line', { timeout: 60_000 }, async (t) => {
  // A file system of this size is there on Linux for whoever may mount; elsewhere the same path is tested on the disk in memory.
  const { execFileSync } = await import('node:child_process')
  await withDirectory(async (directory) => {
    const small = path.join(directory, 'small')
    await mkdir(small)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small], { stdio: 'ignore' })
    } catch {
      t.diagnostic('cannot mount a small file system here: not tested with a real full disk')
      return
    }
    try {
      const [node] = await planCluster(directory, 1)
      await refuses([...node!.args, '--data', path.join(small, 'data')], /exhausted \(ENOSPC\)/)
    } finally {
      execFileSync('umount', [small])
    }
  })
})

test('produce: an input that cannot be read, or not to its end, is no end of the input', {
  timeout: 60_000,
}, async () => {
  const node = await Tidemark.start({ memory: true })
  try {
    const args = ['produce', 'tides', '--brokers', node.kafka.brokers.join(',')]
    // The memory of a process begins with what is not mapped: a file that fails to be read.
    for (const [file, what] of [
      ['/tmp', /standard input could not be read: it is a folder \(EISDIR\); 0 records were acknowledged/],
      ['/proc/self/mem', /standard input could not be read: EIO.*; 0 records were acknowledged/],
    ] as const) {
      if (!existsSync(file)) continue
      const input = openSync(file, 'r')
      const running = new Running(args, { stdin: input, environment: QUIET })
      closeSync(input)
      oneLine(await running.ended, what)
    }
  } finally {
    await node.stop()
  }
})

test('another program answers at --http: it is said to be no node, of no cluster', { timeout: 60_000 }, async () => {
  const other = createServer((_, response) => response.end('{"hello":1}'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const node = await Tidemark.start({ memory: true })
  try {
    const http = ['--http', `127.0.0.1:${portOf(other)}`]
    const what = /--http 127.0.0.1:\d+: what answers there is not a node; give what its --http says/
    const brokers = ['--brokers', node.kafka.brokers.join(',')]
    assert.equal((await tidemark(['topic', 'create', 'tides', ...brokers])).code, 0)
    await refuses(['status', ...http], what)
    await refuses(['topic', 'describe', 'tides', ...brokers, ...http], what, { environment: QUIET })
  } finally {
    await node.stop()
    other.closeAllConnections()
    other.close()
  }
})
