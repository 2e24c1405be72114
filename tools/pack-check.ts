#!/usr/bin/env node
/**
 * The package as its users get it: packed, installed into an empty project that knows nothing of this repository, started,
 * imported, required and type-checked there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'

const STEP_TIMEOUT_MS = 180_000
const READY_TIMEOUT_MS = 15_000
/** Room for growth; what users download should not double unnoticed. */
const UNPACKED_BYTES_MAX = 6 << 20

const root = path.resolve(
  path.dirname(fileURLToPath(import.meta.url)),
  import.meta.url.endsWith('.ts') ? '..' : '../..',
)

const CONSUMER = `import { type NodeStatus, OptionError, type StartOptions, Tidemark } from 'tidemark'

const options: StartOptions = { memory: true, http: '127.0.0.1:0' }
const tidemark: Tidemark = await Tidemark.start(options)
const brokers: readonly string[] = tidemark.kafka.brokers
const status = await tidemark.status()
const cluster: string | null = status.cluster
const nodes: number = status.nodes.length
console.log(brokers.length, nodes, cluster !== null, tidemark.http.urls.length)
await tidemark.stop()
try {
  await Tidemark.start({ nodes: 0 })
} catch (error) {
  if (error instanceof OptionError) console.log(error.details.option)
}
export type Seen = NodeStatus
`

/** Strict, and with skipLibCheck off: the declarations must stand on their own. */
const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    moduleResolution: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: false,
    outDir: 'out',
    types: ['node'],
  },
  files: ['consumer.ts'],
}

class Failure extends Error {}
/** What is wrong and does not keep the rest from being looked at. */
const problems: string[] = []

const flags = new Command('npm run pack-check --')
  .description('Packs, installs into an empty project, and uses what was installed.')
  .option('--keep', 'leave the project there, and say where')
  .parse()
  .opts<{ keep?: boolean }>()
const project = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-pack-'))
try {
  await check()
  if (problems.length > 0) throw new Failure(problems.join('; '))
  console.log('pack-check: the packed package works')
} catch (error) {
  console.log(`pack-check: ${error instanceof Failure ? error.message : (error as Error).stack}`)
  process.exitCode = 1
} finally {
  if (flags.keep === true) console.log(`project: ${project}`)
  else fs.rmSync(project, { recursive: true, force: true })
}

async function check(): Promise<void> {
  step('npm pack')
  const packed = JSON.parse(
    await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], root),
  ) as { filename: string; unpackedSize: number; files: { path: string }[] }[]
  const { filename, unpackedSize, files } = packed[0]!
  const paths = files.map((file) => file.path)
  say(`${paths.length} files, ${Math.round(unpackedSize / 1024)} KiB unpacked`)
  const strays = paths.filter((file) =>
    /\.(?:test|fuzz|bench)\.|testdata|-harness|-testing\.|test-messages|\.tsbuildinfo|(?:^|\/)(?:contract|simulator|compat|bench|tools)\//.test(
      file,
    ),
  )
  if (strays.length > 0)
    problems.push(
      `these do not belong into the package: ${strays.slice(0, 10).join(', ')}${strays.length > 10 ? ` and ${strays.length - 10} more` : ''}`,
    )
  for (const needed of [
    'README.md',
    'LICENSE',
    'package.json',
    'dist/bundle/index.js',
    'dist/src/index.d.ts',
    'dist/bundle/main.js',
    'dashboard/index.html',
  ]) {
    if (!paths.includes(needed)) throw new Failure(`${needed} is missing from the package`)
  }
  if (unpackedSize > UNPACKED_BYTES_MAX)
    throw new Failure(`the package unpacks to ${unpackedSize} bytes, more than ${UNPACKED_BYTES_MAX}`)

  step('npm install into an empty project')
  fs.writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }\n')
  await run('npm', ['install', '--no-audit', '--no-fund', `./${filename}`], project)

  step('npx tidemark start --help')
  const help = await run('npx', ['--no-install', 'tidemark', 'start', '--help'], project)
  if (!help.includes('--cluster')) throw new Failure(`the help says nothing of --cluster:\n${help}`)

  step('npx tidemark start, and its page')
  await startsAndStops()

  step('import, typed')
  fs.writeFileSync(path.join(project, 'consumer.ts'), CONSUMER)
  fs.writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  // A TypeScript project brings Node.js' types; nothing else is lent from this repository.
  fs.mkdirSync(path.join(project, 'node_modules', '@types'), { recursive: true })
  for (const types of ['@types/node', 'undici-types']) {
    const from = path.join(root, 'node_modules', types)
    if (fs.existsSync(from)) fs.cpSync(from, path.join(project, 'node_modules', types), { recursive: true })
  }
  await run(process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], project)
  const said = await run(process.execPath, ['out/consumer.js'], project)
  if (said.trim() !== '1 1 true 1\nnodes') throw new Failure(`the importing program said:\n${said}`)

  step('require, from CommonJS')
  fs.writeFileSync(
    path.join(project, 'consumer.cjs'),
    `const { Tidemark } = require('tidemark')\nTidemark.start({ memory: true }).then((one) => one.stop()).then(() => console.log('stopped'))\n`,
  )
  const required = await run(process.execPath, ['consumer.cjs'], project)
  if (required.trim() !== 'stopped') throw new Failure(`the requiring program said:\n${required}`)
}

async function startsAndStops(): Promise<void> {
  const [kafka, http, peer] = await freePorts(3)
  const args = [
    '--no-install',
    'tidemark',
    'start',
    '--kafka',
    `127.0.0.1:${kafka}`,
    '--http',
    `127.0.0.1:${http}`,
    '--peer',
    `127.0.0.1:${peer}`,
  ]
  const node = spawn('npx', args, { cwd: project, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let output = ''
  for (const stream of [node.stdout, node.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const ended = new Promise<void>((resolve) => node.once('close', () => resolve()))
  try {
    await ready(`http://127.0.0.1:${http}/health/ready`, node, () => output)
    const page = await fetch(`http://127.0.0.1:${http}/`)
    if (!page.ok || !(await page.text()).includes('<html')) throw new Failure(`the page answers ${page.status}`)
    await run(
      'npx',
      ['--no-install', 'tidemark', 'topic', 'create', 'first', '--brokers', `127.0.0.1:${kafka}`],
      project,
    )
    await run(
      'npx',
      ['--no-install', 'tidemark', 'produce', 'first', '--brokers', `127.0.0.1:${kafka}`],
      project,
      'hello\n',
    )
    const read = await run(
      'npx',
      [
        '--no-install',
        'tidemark',
        'consume',
        'first',
        '--from',
        'start',
        '--until-end',
        '--brokers',
        `127.0.0.1:${kafka}`,
      ],
      project,
    )
    if (read !== 'hello\n') throw new Failure(`what was written came back as ${JSON.stringify(read)}`)
  } finally {
    // npx, its shell and the node share a process group of their own.
    process.kill(-node.pid!, 'SIGTERM')
    await ended
  }
}

async function ready(url: string, node: ChildProcess, output: () => string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS
  for (;;) {
    if (
      await fetch(url).then(
        (response) => response.ok,
        () => false,
      )
    )
      return
    if (node.exitCode !== null || performance.now() > deadline)
      throw new Failure(`the node did not get ready:\n${output()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function step(name: string): void {
  process.stderr.write(`${name}\n`)
}

function say(text: string): void {
  process.stderr.write(`  ${text}\n`)
}

/** What it printed; fails with everything it said when it does not end well. */
function run(command: string, args: readonly string[], cwd: string, input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: 'pipe', timeout: STEP_TIMEOUT_MS })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(stdout)
      else reject(new Failure(`${command} ${args.join(' ')}: ${signal ?? `exit code ${code}`}\n${stdout}${stderr}`))
    })
    child.stdin.end(input)
  })
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<net.Server>((resolve, reject) => {
          const server = net.createServer()
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
