/**
 * Many seeds on all cores: the regressions, then ranges of seeds in chunks, each chunk a line of the results file.
 *
 *      regressions ──► chunk 1 ──► chunk 2 ──► …            every 100th seed also: twice, and by another Node.js
 *                         └─ line ─┘ line ─┘
 *
 * A chunk that is done for this commit is not run again (`--resume`), so a campaign of days may be stopped at any moment.
 */
import { writeFileSync } from 'node:fs'
import type { Options } from './arguments.ts'
import { currentCommit, firstSeedOf } from './commit.ts'
import { presentFailure } from './failure.ts'
import { type Job, type Outcome, OWN_PROPERTY, scenarioFor } from './job.ts'
import { Pool } from './pool.ts'
import { Progress } from './progress.ts'
import { readRegressions } from './regressions.ts'
import { print, printSummary } from './report.ts'
import { appendResult, chunksOf, isDone, type Range, readResults } from './results.ts'
import { Tally } from './tally.ts'

export async function campaign(options: Options): Promise<number> {
  return new Campaign(options).run()
}

class Campaign {
  readonly #options: Options
  readonly #commit: string
  readonly #tally = new Tally()
  readonly #progress = new Progress(this.#tally)
  readonly #pool: Pool
  /** With another Node.js, for the seeds that are compared. */
  readonly #other: Pool | null
  #asked: number | null = 0
  #failed = false

  constructor(options: Options) {
    this.#options = options
    this.#commit = options.commit ?? currentCommit()
    this.#pool = new Pool({ workers: options.workers })
    this.#other = options.otherNode === undefined ? null : new Pool({ workers: 1, executable: options.otherNode })
  }

  async run(): Promise<number> {
    try {
      if (this.#options.regressions) await this.#regressions()
      if (!this.#stopped) await (this.#options.hours === undefined ? this.#ranges() : this.#hours(this.#options.hours))
    } finally {
      this.#pool.close()
      this.#other?.close()
    }
    return this.#finish()
  }

  get #stopped(): boolean {
    return this.#failed && !this.#options.keepGoing
  }

  async #regressions(): Promise<void> {
    const { profile } = this.#options
    const found = readRegressions()
    let held = 0
    await Promise.all(
      found.map(async ({ file, found, scenario }) => {
        const outcome = await this.#pool.run({
          seed: scenario.seed,
          profile,
          durationMs: scenario.durationMs,
          scenario,
        })
        if (outcome.violation === null) held++
        else {
          this.#failed = true
          this.#tally.fail(outcome.seed, outcome.violation.property, `${file}: ${outcome.violation.message}`)
          print(`regression ${file} (${found}) is back:`)
          await presentFailure(
            scenario,
            outcome.violation,
            { ...this.#options, shrink: false },
            `npm run simulate -- --regression ${file}`,
          )
        }
      }),
    )
    print(`regressions: ${held} of ${found.length} hold`)
  }

  async #ranges(): Promise<void> {
    const { from, seeds, commitRange, chunk, resume, results, profile, duration } = this.#options
    const ranges: Range[] = [{ from, seeds }]
    if (commitRange > 0) ranges.push({ from: firstSeedOf(this.#commit), seeds: commitRange })
    const lines = resume ? readResults(results!) : []
    const same = { commit: this.#commit, profile, durationMs: duration }
    const chunks = ranges.flatMap((range) => chunksOf(range, chunk))
    const todo = chunks.filter((range) => !isDone(lines, range, same))
    if (todo.length < chunks.length)
      print(`${chunks.length - todo.length} of ${chunks.length} chunks hold already by ${results}`)
    this.#asked = todo.reduce((sum, range) => sum + range.seeds, 0)
    for (const range of todo) {
      if (this.#stopped) return
      await this.#chunk(range)
    }
  }

  async #hours(hours: number): Promise<void> {
    this.#asked = null
    const { from, chunk, resume, results, profile, duration } = this.#options
    const lines = resume ? readResults(results!) : []
    const same = { commit: this.#commit, profile, durationMs: duration }
    for (let at = from; this.#progress.seconds < hours * 3600 && !this.#stopped; ) {
      const range = chunksOf({ from: at, seeds: chunk }, chunk)[0]!
      if (!isDone(lines, range, same)) await this.#chunk(range)
      at += range.seeds
    }
  }

  async #chunk(range: Range): Promise<void> {
    const { results, profile, duration } = this.#options
    const tally = new Tally()
    const seeds = Array.from({ length: range.seeds }, (_, i) => range.from + i)
    // Those that do not settle were cancelled by a violation: nobody waits for them any more.
    let stop: () => void = () => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    await Promise.race([stopped, Promise.all(seeds.map((seed) => this.#seed(seed, tally, stop)))])
    if (results === undefined || tally.ran < range.seeds) return
    appendResult(results, {
      commit: this.#commit,
      node: process.version,
      profile,
      durationMs: duration,
      ...range,
      verdict: tally.failures.length === 0 ? 'held' : 'violated',
      ...tally.toJSON(),
    })
  }

  async #seed(seed: number, chunk: Tally, stop: () => void): Promise<void> {
    const { profile, duration, compareEvery } = this.#options
    const again = seed % compareEvery === 0
    const job: Job = { seed, profile, durationMs: duration, again }
    const [outcome, other] = await Promise.all([
      this.#pool.run(job),
      again && this.#other !== null ? this.#other.run({ ...job, again: false }) : null,
    ])
    if (this.#stopped) return
    const judged = other === null ? outcome : compared(outcome, other)
    for (const tally of [this.#tally, chunk]) {
      tally.add(judged)
      if (again) tally.ranTwice++
      if (other !== null) tally.otherNode++
    }
    if (judged.violation !== null) {
      const first = !this.#failed
      this.#failed = true
      if (this.#stopped) this.#pool.cancel()
      this.#progress.clear()
      await presentFailure(scenarioFor(job), judged.violation, {
        ...this.#options,
        shrink: this.#options.shrink && first,
      })
      if (this.#stopped) stop()
    }
    this.#progress.moved(this.#asked)
  }

  #finish(): number {
    const { json, demandHits, profile, from, seeds, duration } = this.#options
    const tally = this.#tally
    this.#progress.clear()
    if (tally.ran > 0) printSummary(tally, this.#progress.seconds, this.#options)
    if (json !== undefined) {
      const head = { commit: this.#commit, node: process.version, profile, durationMs: duration, from, asked: seeds }
      writeFileSync(json, `${JSON.stringify({ ...head, ...tally.toJSON() }, null, 2)}\n`)
    }
    const missing = demandHits ? tally.hits.missing(profile) : []
    const verdict = this.#failed ? 'VIOLATED' : missing.length > 0 ? 'NOT VALID, not everything was hit' : 'held'
    print(
      `\nsimulate: ${tally.ran} seeds ${verdict}, ${tally.failures.length} violations, ${Math.round(tally.simulatedMs / 1000)} simulated s, ${tally.faults} faults, ${tally.acknowledged} records acknowledged (${this.#progress.seconds.toFixed(1)} s)`,
    )
    return this.#failed || missing.length > 0 ? 1 : 0
  }
}

/** The same seed on another Node.js: the same run, or nothing that was found on one says anything about the other. */
function compared(outcome: Outcome, other: Outcome): Outcome {
  if (outcome.violation !== null || outcome.hash === other.hash) return outcome
  const message = `${process.version} says ${outcome.hash}, the other Node.js ${other.hash || other.violation?.message}`
  return { ...outcome, violation: { property: OWN_PROPERTY.determinism, message } }
}
