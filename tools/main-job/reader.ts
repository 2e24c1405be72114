/**
 * One member of the consumer group, in a process of its own so that it can be killed like one. Reports what it was given to
 * its parent: partition, first offset, line numbers and a checksum of key and value each.
 */
import kafkajs from 'kafkajs'
import { crc32c } from '../../src/stdx/index.ts'

export interface Reading {
  readonly partition: number
  readonly offsets: readonly number[]
  readonly lines: readonly number[]
  readonly checksums: readonly number[]
}

const [brokers, topic, group, sessionMs] = process.argv.slice(2) as [string, string, string, string]
const kafka = new kafkajs.Kafka({
  clientId: 'main-job-reader',
  brokers: brokers.split(','),
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { retries: 1000, initialRetryTime: 50, maxRetryTime: 500 },
})
const consumer = kafka.consumer({
  groupId: group,
  sessionTimeout: Number(sessionMs),
  heartbeatInterval: 500,
  rebalanceTimeout: Number(sessionMs),
  maxWaitTimeInMs: 250,
  maxBytesPerPartition: 2 << 20,
})

process.on('disconnect', () => process.exit(0)) // the parent is gone
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
await consumer.run({
  eachBatchAutoResolve: true,
  partitionsConsumedConcurrently: 4,
  eachBatch: async ({ batch, heartbeat }) => {
    const reading: Reading = {
      partition: batch.partition,
      offsets: batch.messages.map((message) => Number(message.offset)),
      lines: batch.messages.map((message) => Number(message.headers?.line?.toString() ?? -1)),
      checksums: batch.messages.map((message) =>
        crc32c(message.value ?? Buffer.alloc(0), crc32c(message.key ?? Buffer.alloc(0))),
      ),
    }
    // Out of this process before the group's position may move past it: whoever is killed in between takes nothing along.
    await new Promise<void>((resolve, reject) =>
      process.send!(reading, (error: Error | null) => (error === null ? resolve() : reject(error))),
    )
    await heartbeat()
  },
})
