/** `tidemark produce`: lines from standard input become records; the count comes out when all are acknowledged. */
import readline from 'node:readline'
import kafkajs from 'kafkajs'
import { CliError } from './errors.ts'
import { type ClientFlags, kafkaClient, reach, speaking } from './kafka-client.ts'
import { count } from './print.ts'

interface ProduceFlags extends ClientFlags {
  readonly keySeparator?: string
  readonly acks: string
}

const LINES_PER_SEND = 1000
/** A slow writer at a terminal should see its line go out. */
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
    let waiting: { key: string | null; value: string }[] = []
    const flush = async (): Promise<void> => {
      if (waiting.length === 0) return
      const messages = waiting
      waiting = []
      await producer.send({ topic, acks, messages })
      sent += messages.length
    }
    const lines = readline.createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })
    let oldest = 0
    for await (const line of lines) {
      if (waiting.length === 0) oldest = performance.now()
      waiting.push(record(line, flags.keySeparator))
      if (waiting.length >= LINES_PER_SEND || process.stdin.isTTY || performance.now() - oldest > LINGER_MS)
        await flush()
    }
    await flush()
    await producer.disconnect()
    if (flags.json === true) console.log(JSON.stringify({ topic, records: sent }))
    else process.stderr.write(`${count(sent)} records ${acks === 0 ? 'sent' : 'acknowledged'}\n`)
    return 0
  })
}

function record(line: string, separator: string | undefined): { key: string | null; value: string } {
  if (separator === undefined) return { key: null, value: line }
  const at = line.indexOf(separator)
  return at < 0 ? { key: null, value: line } : { key: line.slice(0, at), value: line.slice(at + separator.length) }
}
