/**
 * One client library against one running cluster, in a process of its own: libraries want different versions of Node.js, keep
 * global tables of codecs, and may crash without taking the table with them.
 */
import { CHECKS } from './checks.ts'
import type { ClientDriver } from './driver.ts'
import { KafkajsDriver } from './kafkajs-driver.ts'
import { KcatDriver, kcatVersion } from './kcat-driver.ts'
import { PlatformaticDriver } from './platformatic-driver.ts'
import { RAW_CHECKS } from './raw.ts'
import type { Errand, Report, Row } from './rows.ts'

const CHECK_TIMEOUT_MS = 60_000

interface Runnable {
  readonly name: string
  readonly skipped: string | null
  readonly run: () => Promise<string>
}

const errand = JSON.parse(process.argv[2]!) as Errand
await work(errand)
process.exit(0)

async function work({ client, brokers, nodes, checks, rebalanceDelayMs }: Errand): Promise<void> {
  const driver = client === 'raw' ? null : await driverOf(client, brokers)
  const version = driver?.version ?? ''
  const runnables = driver === null ? rawRunnables(brokers) : runnablesOf(driver, brokers, rebalanceDelayMs)
  for (const { name, skipped, run } of runnables) {
    if (!checks.includes(name)) continue
    const runtime = client === 'kcat' ? '' : process.version
    const common = { client, version, runtime, nodes, check: name }
    if (skipped !== null) {
      send({ type: 'row', row: { ...common, outcome: 'skipped', ms: 0, note: skipped } })
      continue
    }
    send({ type: 'started', check: name })
    const startedAt = performance.now()
    let end: Pick<Row, 'outcome' | 'note'>
    try {
      end = { outcome: 'ok', note: await inTime(run(), name) }
    } catch (error) {
      end = { outcome: 'failed', note: explain(error) }
    }
    send({ type: 'row', row: { ...common, ...end, ms: performance.now() - startedAt } })
  }
  await driver?.close()
}

async function driverOf(client: Exclude<Errand['client'], 'raw'>, brokers: readonly string[]): Promise<ClientDriver> {
  switch (client) {
    case 'kafkajs':
      return new KafkajsDriver(brokers)
    case 'kcat':
      return new KcatDriver(brokers)
    default:
      return await PlatformaticDriver.load(client, brokers)
  }
}

function runnablesOf(driver: ClientDriver, brokers: readonly string[], rebalanceDelayMs: number): Runnable[] {
  const absent =
    driver instanceof KcatDriver && kcatVersion() === null
      ? 'kcat is not installed (Debian: apt-get install kcat)'
      : null
  return CHECKS.map(({ name, needs, run }) => {
    const lacking = needs.map((need) => driver.lacks.get(need)).find((reason) => reason !== undefined) ?? null
    const unique = (stem: string) => `${name}.${stem}`
    return {
      name,
      skipped: absent ?? lacking,
      run: () => run({ driver, brokers, rebalanceDelayMs, name: unique }),
    }
  })
}

function rawRunnables(brokers: readonly string[]): Runnable[] {
  return RAW_CHECKS.map(({ name, run }) => ({ name, skipped: null, run: () => run(brokers) }))
}

async function inTime<T>(running: Promise<T>, check: string): Promise<T> {
  let alarm: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    alarm = setTimeout(() => reject(new Error(`${check} is not done after ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS)
  })
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(alarm)
  }
}

/** Libraries wrap what happened; the reason is further in. */
function explain(error: unknown): string {
  const parts: string[] = []
  let at: unknown = error
  while (at instanceof Error && parts.length < 5) {
    if (!parts.some((part) => part.includes((at as Error).message))) parts.push(`${at.name}: ${at.message}`)
    at = at instanceof AggregateError ? at.errors[0] : ((at as { errors?: unknown[] }).errors?.[0] ?? at.cause)
  }
  return parts.join(' ← ') || String(error)
}

function send(report: Report): void {
  process.send!(report)
}
