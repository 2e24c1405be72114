/** `tidemark dev`: a cluster of real processes on this machine, for looking and for trying to break. */
import path from 'node:path'
import { colors } from './colors.ts'
import { DevCluster } from './dev-cluster.ts'
import { CliError } from './errors.ts'
import { jsonLine } from './print.ts'

interface DevFlags {
  readonly nodes: string
  readonly data: string
  readonly basePort: string
  readonly json?: boolean
}

export async function dev(flags: DevFlags): Promise<number> {
  const nodes = number('nodes', flags.nodes, 1, 9)
  const basePort = number('base-port', flags.basePort, 1024, 65_000)
  const json = flags.json === true
  // A log that nobody reads, or that is full, is no reason to stop the nodes: `console.log` does not mind what becomes of its lines.
  process.stdout.on('error', () => {})
  const say = (event: string, text: string, fields: object = {}): void => {
    if (json) console.log(jsonLine({ event, ...fields }))
    else console.log(text)
  }
  let failed = 0
  let ended: () => void = () => {}
  const allEnded = new Promise<void>((resolve) => {
    ended = resolve
  })
  const cluster: DevCluster = new DevCluster({
    nodes,
    basePort,
    directory: path.resolve(flags.data),
    output: (node, line) => say('output', `${colors.dim(`node ${node}`)}  ${line}`, { node, line }),
    exited: (node, code, signal) => {
      failed = code ?? 1
      say(
        'exited',
        colors.red(`node ${node} ended (${signal ?? `exit code ${code}`}); the others go on. Ctrl-C stops them.`),
        { node, code, signal },
      )
      if (cluster.ids.every((id) => !cluster.isRunning(id))) ended()
    },
  })
  const interrupted = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  cluster.startAll()
  try {
    await Promise.race([cluster.ready(), interrupted])
    say(
      'ready',
      [
        `${nodes} nodes are up. Kafka: ${colors.cyan(cluster.brokers.join(','))}`,
        `Look: ${colors.cyan(cluster.http(1))} or tidemark status --http ${cluster.http(1)}`,
      ].join('\n'),
      { brokers: cluster.brokers, http: cluster.ids.map((id) => cluster.http(id)) },
    )
  } catch (error) {
    await cluster.stopAll()
    throw new CliError({ code: 'REFUSED', subject: 'dev' }, (error as Error).message)
  }
  await Promise.race([interrupted, allEnded])
  await cluster.stopAll()
  say('stopped', 'stopped')
  return failed === 0 ? 0 : 1
}

function number(option: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new CliError({ code: 'USAGE', option }, `--${option} ${text}: must be a whole number from ${min} to ${max}`)
  return value
}
