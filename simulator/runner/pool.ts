/**
 * As many processes as there are cores, each with one seed at a time.
 *
 * A process and not a thread: a run that never comes back (an endless loop, a promise that waits for nothing) must be ended
 * from outside, and what it leaves in memory must not reach its successor. One that dies takes its seed's verdict with it, so
 * that is the verdict; the next seed gets a new process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brokenOutcome, type Job, type Outcome, OWN_PROPERTY } from './job.ts'

export interface PoolOptions {
  readonly workers: number
  /** The module that runs jobs; another tree's for a mutant. */
  readonly entry?: string
  /** Another Node.js than the one that runs here. */
  readonly executable?: string
  /** Of real time, for one job. */
  readonly timeoutMs?: number
}

interface Queued {
  readonly job: Job
  readonly done: (outcome: Outcome) => void
}

interface Worker {
  readonly child: ChildProcess
  /** The end of what it wrote to standard error. */
  complaint: string
  current: Queued | null
  deadline: NodeJS.Timeout | null
}

/** Every core has a process of its own already: threads that collect garbage beside it only cost switches. */
const WORKER_OPTIONS = ['--single-threaded-gc', '--max-semi-space-size=32']
const TIMEOUT_MS = 180_000
const COMPLAINT_CHARACTERS = 2000

export class Pool {
  readonly #options: PoolOptions
  readonly #workers = new Set<Worker>()
  #queue: Queued[] = []
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  run(job: Job): Promise<Outcome> {
    return new Promise((done) => {
      this.#queue.push({ job, done })
      this.#next()
    })
  }

  /** Forgets what has not begun: those jobs never settle. */
  cancel(): void {
    this.#queue = []
  }

  close(): void {
    this.#closed = true
    this.cancel()
    for (const worker of this.#workers) {
      if (worker.deadline !== null) clearTimeout(worker.deadline)
      worker.child.kill('SIGKILL')
    }
  }

  #next(): void {
    if (this.#closed) return
    while (this.#queue.length > 0) {
      const idle = [...this.#workers].find(({ current }) => current === null)
      if (idle === undefined && this.#workers.size >= this.#options.workers) return
      this.#give(idle ?? this.#start(), this.#queue.shift()!)
    }
  }

  #start(): Worker {
    const { entry, executable } = this.#options
    const child = fork(entry ?? workerEntry(), [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Another binary may not know the options of this one.
      ...(executable === undefined
        ? { execArgv: [...process.execArgv, ...WORKER_OPTIONS] }
        : { execPath: executable, execArgv: [] }),
    })
    const worker: Worker = { child, complaint: '', current: null, deadline: null }
    this.#workers.add(worker)
    child.stderr!.on('data', (text: Buffer) => {
      worker.complaint = (worker.complaint + text.toString()).slice(-COMPLAINT_CHARACTERS)
    })
    child.on('message', (outcome: Outcome) => this.#settle(worker, outcome))
    // `close` and not `exit`: by then everything it complained of has been read.
    child.on('close', (code, signal) => {
      this.#workers.delete(worker)
      if (worker.current !== null) {
        const how = `its process ended (${signal ?? `exit code ${code}`})`
        const message = worker.complaint === '' ? how : `${how}: ${worker.complaint.trim()}`
        this.#settle(worker, brokenOutcome(worker.current.job.seed, OWN_PROPERTY.whole, message))
      }
    })
    return worker
  }

  #give(worker: Worker, queued: Queued): void {
    worker.current = queued
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS
    worker.deadline = setTimeout(() => {
      worker.child.kill('SIGKILL')
      const message = `no end after ${Math.round(timeoutMs / 1000)} s of real time`
      this.#settle(worker, brokenOutcome(queued.job.seed, OWN_PROPERTY.ends, message))
    }, timeoutMs)
    worker.child.send(queued.job)
  }

  #settle(worker: Worker, outcome: Outcome): void {
    if (worker.deadline !== null) clearTimeout(worker.deadline)
    const { current } = worker
    worker.current = null
    if (worker.child.killed || worker.child.exitCode !== null) this.#workers.delete(worker)
    current?.done(outcome)
    this.#next()
  }
}

/** The worker beside this file, compiled or not as this file is. */
function workerEntry(): string {
  return fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url))
}
