/** The Kafka client behind `topic`, `produce` and `consume`: the same unmodified kafkajs that users bring. */
import kafkajs, { type Kafka } from 'kafkajs'
import { parseAddress } from '../node-options.ts'
import { CliError } from './errors.ts'

export interface ClientFlags {
  readonly brokers: string
  readonly json?: boolean
}

export function kafkaClient(flags: ClientFlags, retries = 5): Kafka {
  const brokers = flags.brokers.split(',')
  for (const broker of brokers) parseAddress('brokers', broker)
  return new kafkajs.Kafka({
    clientId: 'tidemark-cli',
    brokers,
    logLevel: kafkajs.logLevel.NOTHING,
    connectionTimeout: 2000,
    retry: { retries, initialRetryTime: 50, maxRetryTime: 500 },
  })
}

/** Says within seconds that nobody is there, to a command which is patient with a cluster that is. */
export async function reach(flags: ClientFlags): Promise<void> {
  const admin = kafkaClient(flags).admin()
  await admin.connect()
  await admin.disconnect()
}

/** Runs `work` and turns the client's errors into one line. */
export async function speaking<T>(flags: ClientFlags, subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw explain(error as Error, flags, subject)
  }
}

/** The client drops what the broker says of these. */
const HINTS: Readonly<Record<string, string>> = {
  INVALID_RECORD: 'a compacted topic takes only records that have a key: see --key-separator',
  KAFKA_STORAGE_ERROR: 'a disk is low or broken, and takes no records: see tidemark status',
}

function explain(
  error: Error & { readonly errors?: readonly Error[]; readonly cause?: unknown; readonly type?: string },
  flags: ClientFlags,
  subject: string,
): Error {
  if (error instanceof CliError) return error
  const inner = error.errors?.[0] ?? (error.cause instanceof Error ? error.cause : error)
  if (
    error.name === 'KafkaJSConnectionError' ||
    error.name === 'KafkaJSNumberOfRetriesExceeded' ||
    inner.name === 'KafkaJSConnectionError'
  ) {
    if (/connect|ECONN|closed/i.test(`${error.message} ${inner.message}`)) {
      return new CliError(
        { code: 'UNREACHABLE', address: flags.brokers },
        `no node answers at --brokers ${flags.brokers}; is it running? (tidemark start, or tidemark dev with --brokers 127.0.0.1:19092)`,
      )
    }
  }
  const type = (inner as { readonly type?: string }).type ?? ''
  const hint = HINTS[type]
  return new CliError(
    { code: 'REFUSED', subject },
    `${subject}: ${inner.message}${hint === undefined ? '' : `; ${hint}`}`,
  )
}
