/** `tidemark produce`: lines from standard input become records; the count comes out when all are acknowledged. */
import fs from 'node:fs'
import readline from 'node:readline'
import kafkajs from 'kafkajs'
import { CliError } from './errors.ts'
import { type ClientFlags, kafkaClient, reach, speaking } from './kafka-client.ts'
import { output, tell } from './output.ts'
import { count, jsonLine } from './print.ts'

interface ProduceFlags extends ClientFlags {
  readonly keySeparator?: string
  readonly acks: string
}

/** Of standard input. */
const DESCRIPTOR = 0
const LINES_PER_SEND = 1000
/** A line goes out at the latest so long after it came, whether or not there is another. */
const LINGER_MS = 50

export async function produce(topic: string, flags: ProduceFlags): Promise<number> {
  const acks = { all: -1, '-1': -1, '1': 1, '0': 0 }[flags.acks]
  if (acks === undefined)
    throw new CliError({ code: 'USAGE', option: 'acks' }, `--acks ${flags.acks}: must be all, 1 or 0`)
  return speaking(flags, `topic ${topic}`, async () => {
    await reach(flags)
    const producer = kafkaClient(flags, 20).producer({
      idempotent: acks === -1,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    let sent = 0
    let unreadable: Error | null
    try {
      unreadable = await inBatches(process.stdin, async (lines) => {
        const messages = lines.map((line) => record(line, flags.keySeparator))
        await producer.send({ topic, acks, messages })
        sent += messages.length
      })
    } catch (error) {
      if (sent > 0) tell(`${said(sent, acks)} before this:\n`)
      throw error
    } finally {
      await producer.disconnect()
    }
    if (unreadable !== null)
      throw new CliError(
        { code: 'REFUSED', subject: 'standard input' },
        `standard input could not be read: ${unreadable.message}; ${said(sent, acks, 'were ')}`,
        { cause: unreadable },
      )
    if (flags.json === true) output.line(jsonLine({ topic, records: sent }))
    else tell(`${said(sent, acks)}\n`)
    return 0
  })
}

const said = (sent: number, acks: number, were = ''): string =>
  `${count(sent)} records ${were}${acks === 0 ? 'sent' : 'acknowledged'}`

/**
 * The input's lines, one call of `send` after the other. The first that fails ends it, whoever still holds the other end of a pipe.
 * What could be read is sent, and the answer is why the rest could not; null: there is no rest.
 */
async function inBatches(input: NodeJS.ReadStream, send: (lines: string[]) => Promise<void>): Promise<Error | null> {
  // Node.js takes a folder for an empty input.
  let unreadable: Error | null = fs.fstatSync(DESCRIPTOR).isDirectory() ? new Error('it is a folder (EISDIR)') : null
  const reader = readline.createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  reader.on('error', (error: Error) => {
    unreadable = error
    reader.close()
  })
  let waiting: string[] = []
  let timer: NodeJS.Timeout | null = null
  let sending = Promise.resolve()
  const flush = (): Promise<void> => {
    if (timer !== null) clearTimeout(timer)
    timer = null
    const lines = waiting
    waiting = []
    if (lines.length > 0) sending = sending.then(() => send(lines))
    // Whoever awaits it is told as well.
    sending.catch(() => reader.close())
    return sending
  }
  const sendAll = async (): Promise<void> => {
    for await (const line of reader) {
      waiting.push(line)
      if (waiting.length >= LINES_PER_SEND) await flush()
      else timer ??= setTimeout(flush, LINGER_MS)
    }
  }
  try {
    // Whether the loop throws what the input could not do, or ends, depends on what it was doing then.
    await sendAll().catch((error: unknown) => {
      if (error !== unreadable) throw error
    })
    await flush()
    return unreadable
  } finally {
    if (timer !== null) clearTimeout(timer)
    input.destroy()
  }
}

function record(line: string, separator: string | undefined): { key: string | null; value: string } {
  if (separator === undefined) return { key: null, value: line }
  const at = line.indexOf(separator)
  return at < 0 ? { key: null, value: line } : { key: line.slice(0, at), value: line.slice(at + separator.length) }
}
