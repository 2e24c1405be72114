/** What a backup says whose records went while it read. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import test from 'node:test'
import kafkajs from 'kafkajs'
import { Tidemark } from '../index.ts'
import { Running, withDirectory } from './cli-harness.test.ts'

test('backup ends with exit code 2 where records went while it read', async () => {
  const tidemark = await Tidemark.start({ memory: true })
  const kafka = new kafkajs.Kafka({ brokers: [...tidemark.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
  const [admin, producer] = [kafka.admin(), kafka.producer()]
  try {
    await withDirectory(async (directory) => {
      await Promise.all([admin.connect(), producer.connect()])
      await admin.createTopics({
        topics: [{ topic: 'tides', numPartitions: 1, configEntries: [{ name: 'segment.bytes', value: '200000' }] }],
      })
      for (let i = 0; i < 50; i++)
        await producer.send({ topic: 'tides', acks: -1, messages: [{ value: 'x'.repeat(900_000) }] })
      // Its leader is known to the administrator by then, who asks nobody twice.
      await admin.fetchTopicOffsets('tides')
      const folder = path.join(directory, 'backup')
      const args = ['backup', folder, '--brokers', tidemark.kafka.brokers.join(','), '--segment-bytes', '1', '--json']
      const running = new Running(args, { timeoutMs: 60_000, input: '' })
      const segments = (): number => {
        try {
          return readdirSync(path.join(folder, 'segments')).filter((name) => name.endsWith('.batches')).length
        } catch {
          return 0
        }
      }
      while (segments() === 0) await new Promise(setImmediate)
      running.process.kill('SIGSTOP')
      await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '-1' }] })
      running.process.kill('SIGCONT')
      const { code, stdout, stderr } = await running.ended
      const report = JSON.parse(stdout) as { cutMeanwhile: { topic: string; partition: number; to: number }[] }
      assert.equal(code, 2, stderr)
      assert.deepEqual(
        report.cutMeanwhile.map(({ topic, partition, to }) => [topic, partition, to]),
        [['tides', 0, 50]],
      )
      assert.match(stderr, /"event":"warning","text":"topic tides, partition 0: offsets \d+ to 49 went/)
      assert.match(stderr, /done, without records that went .*exit code 2/)
    })
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()])
    await tidemark.stop()
  }
})
