/**
 * A cluster of real processes on this machine: what `tidemark dev` runs, and what the main job, the soak and the client checks
 * start, kill and restart. Node i (from 1) has Kafka at base + 10 (i − 1), Redis at + 1, HTTP at + 2, peers at + 3.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { COMMAND } from '../package.ts'

export interface DevClusterOptions {
  readonly nodes: number
  readonly directory: string
  readonly basePort: number
  /** Where node `id` keeps its data; default `node-<id>` below `directory`. */
  readonly directoryOf?: (id: number) => string
  /** More flags for every `tidemark start`. */
  readonly flags?: readonly string[]
  readonly environment?: Record<string, string>
  /** The interpreter; default the one that runs this. */
  readonly nodeBinary?: string
  /** A line that a node printed. */
  readonly output?: (node: number, line: string) => void
  /** A node ended without being asked to. */
  readonly exited?: (node: number, code: number | null, signal: string | null) => void
}

interface Member {
  readonly id: number
  process: ChildProcess | null
  /** We ended it ourselves. */
  expected: boolean
  ended: Promise<void>
}

export class DevCluster {
  readonly #options: DevClusterOptions
  readonly #members: Member[]

  constructor(options: DevClusterOptions) {
    this.#options = options
    this.#members = Array.from({ length: options.nodes }, (_, i) => ({
      id: i + 1,
      process: null,
      expected: false,
      ended: Promise.resolve(),
    }))
  }

  get ids(): number[] {
    return this.#members.map((member) => member.id)
  }

  get brokers(): string[] {
    return this.ids.map((id) => this.kafka(id))
  }

  kafka(id: number): string {
    return `127.0.0.1:${this.#port(id)}`
  }

  http(id: number): string {
    return `http://127.0.0.1:${this.#port(id) + 2}`
  }

  directory(id: number): string {
    return this.#options.directoryOf?.(id) ?? path.join(this.#options.directory, `node-${id}`)
  }

  pid(id: number): number | null {
    return this.#member(id).process?.pid ?? null
  }

  isRunning(id: number): boolean {
    return this.#member(id).process !== null
  }

  #port(id: number): number {
    return this.#options.basePort + 10 * (id - 1)
  }

  #member(id: number): Member {
    const member = this.#members[id - 1]
    if (member === undefined) throw new Error(`no node ${id} in a cluster of ${this.#options.nodes}`)
    return member
  }

  startAll(): void {
    for (const id of this.ids) this.start(id)
  }

  start(id: number): void {
    const member = this.#member(id)
    if (member.process !== null) throw new Error(`node ${id} is running already`)
    const { nodes, flags = [], environment = {}, nodeBinary = process.execPath } = this.#options
    fs.mkdirSync(this.directory(id), { recursive: true })
    const port = this.#port(id)
    const args = [
      'start',
      '--id',
      String(id),
      '--data',
      this.directory(id),
      '--kafka',
      `127.0.0.1:${port}`,
      '--http',
      `127.0.0.1:${port + 2}`,
      '--peer',
      `127.0.0.1:${port + 3}`,
    ]
    if (nodes > 1) args.push('--cluster', this.ids.map((n) => `${n}@127.0.0.1:${this.#port(n) + 3}`).join(','))
    const child = spawn(nodeBinary, [...process.execArgv, COMMAND, ...args, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    })
    member.process = child
    member.expected = false
    for (const stream of [child.stdout, child.stderr]) this.#lines(id, stream)
    member.ended = new Promise((resolve) => {
      child.once('error', (error) => this.#options.output?.(id, `cannot be started: ${error.message}`))
      child.once('close', (code, signal) => {
        member.process = null
        if (!member.expected) this.#options.exited?.(id, code, signal)
        resolve()
      })
    })
  }

  #lines(id: number, stream: NodeJS.ReadableStream | null): void {
    let rest = ''
    stream?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.#options.output?.(id, line)
    })
  }

  /** Sends the signal; resolves when the process has ended (at once for signals that do not end it). */
  async signal(id: number, signal: NodeJS.Signals): Promise<void> {
    const member = this.#member(id)
    if (member.process === null) return
    const ends = signal !== 'SIGSTOP' && signal !== 'SIGCONT'
    if (ends) member.expected = true
    member.process.kill(signal)
    if (ends) await member.ended
  }

  /** Stops all of them cleanly; whoever is not gone after `patienceMs` is killed. */
  async stopAll(patienceMs = 10_000): Promise<void> {
    await Promise.all(
      this.ids.map(async (id) => {
        const member = this.#member(id)
        if (member.process === null) return
        member.expected = true
        member.process.kill('SIGCONT')
        member.process.kill('SIGTERM')
        const impatience = setTimeout(() => member.process?.kill('SIGKILL'), patienceMs)
        await member.ended
        clearTimeout(impatience)
      }),
    )
  }

  /** Resolves when every given node answers that it can serve. Throws with what is missing after `timeoutMs`. */
  async ready(ids: readonly number[] = this.ids, timeoutMs = 15_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (const id of ids) {
      let last = 'no answer'
      for (;;) {
        if (!this.isRunning(id)) throw new Error(`node ${id} ended while it was waited for`)
        try {
          const response = await fetch(`${this.http(id)}/health/ready`, { signal: AbortSignal.timeout(2000) })
          if (response.ok) break
          last = await response.text()
        } catch (error) {
          last = (error as Error).message
        }
        if (performance.now() > deadline) throw new Error(`node ${id} is not ready after ${timeoutMs} ms: ${last}`)
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
    }
  }
}
