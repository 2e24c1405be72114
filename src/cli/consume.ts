/**
 * `tidemark consume`: records as lines, or as JSON objects with everything about them. Without `--group` it reads under a name
 * of its own that nobody else has, and leaves no position behind.
 */
import { randomUUID } from 'node:crypto'
import type { Admin } from 'kafkajs'
import { CliError } from './errors.ts'
import { type ClientFlags, kafkaClient, reach, speaking } from './kafka-client.ts'
import { output, tell } from './output.ts'
import { jsonLine } from './print.ts'

/** How long leaving the group may take. What was printed is committed by then, or will be printed again. */
const LEAVE_MS = 2000

interface ConsumeFlags extends ClientFlags {
  readonly group?: string
  readonly from: string
  readonly max?: string
  readonly untilEnd?: boolean
  readonly keySeparator?: string
}

export async function consume(topic: string, flags: ConsumeFlags): Promise<number> {
  if (flags.from !== 'start' && flags.from !== 'end')
    throw new CliError({ code: 'USAGE', option: 'from' }, `--from ${flags.from}: must be start or end`)
  if (flags.max !== undefined && !/^[1-9]\d*$/.test(flags.max))
    throw new CliError({ code: 'USAGE', option: 'max' }, `--max ${flags.max}: must be a whole number from 1`)
  const max = flags.max === undefined ? Number.POSITIVE_INFINITY : Number(flags.max)
  return speaking(flags, `topic ${topic}`, async () => {
    await reach(flags)
    const kafka = kafkaClient(flags, 20)
    const admin = kafka.admin()
    await admin.connect()
    if (!(await admin.listTopics()).includes(topic)) {
      await admin.disconnect()
      throw new CliError({ code: 'REFUSED', subject: topic }, `topic ${topic} does not exist; see: tidemark topic list`)
    }
    const groupId = flags.group ?? `tidemark-consume-${randomUUID()}`
    const left = flags.untilEnd === true ? await remaining(admin, topic, groupId, flags.from) : null
    if (left !== null && left.size === 0) {
      await leave(admin, flags, groupId)
      return 0
    }
    const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 1000, maxWaitTimeInMs: 500 })
    let printed = 0
    const unwritten =
      flags.group === undefined ? undefined : `the position of group ${flags.group} stays before what was not written`
    const over = new Promise<void>((resolve, reject) => {
      process.once('SIGINT', resolve)
      process.once('SIGTERM', resolve)
      consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
        if (restart) tell(`topic ${topic}: reading fails and is begun again: ${error.message}\n`)
        else reject(error)
      })
      const run = async (): Promise<void> => {
        await consumer.connect()
        await consumer.subscribe({ topic, fromBeginning: flags.from === 'start' })
        await consumer.run({
          // The client would count as read what it has handed out, also behind `max` and what could not be written.
          eachBatchAutoResolve: false,
          eachBatch: async ({ batch, resolveOffset, heartbeat, uncommittedOffsets, commitOffsetsIfNecessary }) => {
            const wanted = batch.messages.slice(0, max - printed)
            output.write(wanted.map((message) => lineOf(batch.partition, message, flags)).join(''))
            const isWritten = await output.taken(unwritten).catch(reject)
            // Thrown, the client would commit and try again; unresolved, it stays where it is.
            if (isWritten !== true) return resolve()
            printed += wanted.length
            const last = wanted.length < batch.messages.length ? wanted.at(-1)?.offset : batch.lastOffset()
            if (last !== undefined) resolveOffset(last)
            await heartbeat()
            const end = left?.get(batch.partition)
            if (left !== null && end !== undefined && Number(batch.lastOffset()) + 1 >= end)
              left.delete(batch.partition)
            if (printed < max && left?.size !== 0) return
            // What was printed must be committed before we leave: the client stops without waiting for its own commit.
            await commitOffsetsIfNecessary(uncommittedOffsets())
            resolve()
          },
        })
      }
      run().catch(reject)
    })
    try {
      await over
    } finally {
      // A client that fails again and again goes on trying while it is told to stop: the process does not wait for that.
      setTimeout(() => process.exit(), 2 * LEAVE_MS).unref()
      await atMost(LEAVE_MS, async () => {
        await consumer.disconnect()
        await leave(admin, flags, groupId)
      }).catch(() => {}) // the group notices by itself
    }
    return 0
  })
}

async function atMost(milliseconds: number, work: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  await Promise.race([work(), late]).finally(() => clearTimeout(timer))
}

/** End offset of each partition that has something for this group. */
async function remaining(admin: Admin, topic: string, groupId: string, from: string): Promise<Map<number, number>> {
  const ends = new Map<number, number>()
  const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] })
  const positions = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
    const position = positions.get(partition) ?? -1
    const begin = position >= 0 ? position : Number(from === 'start' ? low : high)
    if (begin < Number(high)) ends.set(partition, Number(high))
  }
  return ends
}

async function leave(admin: Admin, flags: ConsumeFlags, groupId: string): Promise<void> {
  // A group of nobody else's leaves nothing behind; if it cannot be deleted now it is empty and harmless.
  if (flags.group === undefined) await admin.deleteGroups([groupId]).catch(() => [])
  await admin.disconnect()
}

/** With its end. */
function lineOf(
  partition: number,
  message: {
    readonly key: Buffer | null
    readonly value: Buffer | null
    readonly offset: string
    readonly timestamp: string
    readonly headers?: Record<string, unknown>
  },
  flags: ConsumeFlags,
): string {
  const key = message.key?.toString() ?? null
  const value = message.value?.toString() ?? null
  if (flags.json === true) {
    const headers = Object.fromEntries(
      Object.entries(message.headers ?? {}).map(([name, header]) => [name, String(header)]),
    )
    const [offset, timestamp] = [Number(message.offset), Number(message.timestamp)]
    return `${jsonLine({ partition, offset, timestamp, key, value, headers })}\n`
  }
  return flags.keySeparator === undefined ? `${value ?? ''}\n` : `${key ?? ''}${flags.keySeparator}${value ?? ''}\n`
}
