/** Runs the command line as a user does: a process, its exit code, what it printed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { COMMAND } from '../package.ts'

const TIMEOUT_MS = 30_000

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** It is killed after so long. */
  readonly timeoutMs?: number
  /** Descriptors that are its standard input, output or error; nothing is said or heard there then. */
  readonly stdin?: number
  readonly stdout?: number
  readonly stderr?: number
}

/** A `tidemark` process under way. */
export class Running {
  readonly process: ChildProcess
  readonly ended: Promise<Outcome>
  stdout = ''
  stderr = ''
  #changed: () => void = () => {}

  constructor(args: readonly string[], options: RunOptions = {}) {
    const inherited = process.execArgv.filter((flag) => !flag.startsWith('--test'))
    const environment: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1', ...options.environment }
    delete environment.NODE_TEST_CONTEXT
    delete environment.FORCE_COLOR
    this.process = spawn(process.execPath, [...inherited, COMMAND, ...args], {
      stdio: [options.stdin ?? 'pipe', options.stdout ?? 'pipe', options.stderr ?? 'pipe'],
      env: environment,
      cwd: options.cwd,
    })
    this.process.stdin?.on('error', () => {})
    if (options.input !== undefined) this.process.stdin!.end(options.input)
    const hear = (stream: 'stdout' | 'stderr') => (text: string) => {
      this[stream] += text
      this.#changed()
    }
    this.process.stdout?.setEncoding('utf8').on('data', hear('stdout'))
    this.process.stderr?.setEncoding('utf8').on('data', hear('stderr'))
    const impatience = setTimeout(() => this.process.kill('SIGKILL'), options.timeoutMs ?? TIMEOUT_MS)
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code) => {
        clearTimeout(impatience)
        resolve({ code, stdout: this.stdout, stderr: this.stderr })
        this.#changed()
      })
    })
  }

  /** Resolves when the text was printed, on either stream; rejects when the process ends without. */
  async printed(what: RegExp): Promise<void> {
    let over = false
    void this.ended.then(() => {
      over = true
    })
    await new Promise<void>((resolve, reject) => {
      this.#changed = () => {
        if (what.test(this.stdout + this.stderr)) resolve()
        else if (this.process.exitCode !== null || over)
          reject(new Error(`ended without printing ${what}:\n${this.stdout}${this.stderr}`))
      }
      this.#changed()
    })
  }

  async stop(): Promise<Outcome> {
    this.process.kill('SIGTERM')
    return this.ended
  }

  kill(): Promise<Outcome> {
    this.process.kill('SIGKILL')
    return this.ended
  }
}

export function tidemark(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Running(args, { input: '', ...options }).ended
}

export async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'tidemark-cli-'))
  try {
    await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Listening on a port that nobody else uses. */
export function holdPort(): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(server))
  })
}

export function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, holdPort))
  const ports = servers.map(portOf)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

export interface NodePlan {
  readonly id: number
  readonly directory: string
  readonly kafka: string
  readonly http: string
  readonly peer: string
  readonly args: readonly string[]
}

/** Flags for `count` nodes of one cluster, each in its own folder of `directory`. */
export async function planCluster(directory: string, count: number): Promise<NodePlan[]> {
  const ports = await freePorts(3 * count)
  const peers = Array.from({ length: count }, (_, i) => `127.0.0.1:${ports[3 * i + 2]}`)
  const cluster = count === 1 ? [] : ['--cluster', peers.map((peer, i) => `${i + 1}@${peer}`).join(',')]
  return peers.map((peer, i) => {
    const id = i + 1
    const data = path.join(directory, `node-${id}`)
    const [kafka, http] = [`127.0.0.1:${ports[3 * i]}`, `127.0.0.1:${ports[3 * i + 1]}`]
    return {
      id,
      directory: data,
      kafka,
      http,
      peer,
      args: ['start', '--id', String(id), '--data', data, '--kafka', kafka, '--http', http, '--peer', peer, ...cluster],
    }
  })
}

export async function untilReady(nodes: readonly NodePlan[]): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS
  for (const { id, http } of nodes) {
    for (;;) {
      const ready = await fetch(`http://${http}/health/ready`).then(
        (response) => response.ok,
        () => false,
      )
      if (ready) break
      if (performance.now() > deadline) throw new Error(`node ${id} is not ready`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
