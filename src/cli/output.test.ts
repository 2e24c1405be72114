/** Standard output that is full, or that nobody reads: nothing is silent, and nothing counts as read that was not written. */
import assert from 'node:assert/strict'

import fs from 'node:fs'
import path from 'node:path'
import test from 'node:test'

import { Tidemark } from '../index.ts'
import { planCluster, Running, tidemark, untilReady, withDirectory } from './cli-harness.test.ts'
import { kafkaClient } from './kafka-client.ts'

const NO_FULL_DEVICE = fs.existsSync('/dev/full') ? false : 'there is no /dev/full here'

/** The client computes a negative timeout, and newer Node.js say so. */
const QUIET = { NODE_NO_WARNINGS: '1' }

function toFull(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const full = fs.openSync('/dev/full', 'w')
  const running = new Running(args, { input: '', stdout: full, environment: QUIET })
  fs.closeSync(full)
  return running.ended
}

async function withTopic(use: (brokers: string) => Promise<void>, data?: string): Promise<void> {
  const node = await Tidemark.start(data === undefined ? { memory: true } : { data })
  try {
    const brokers = node.kafka.brokers.join(',')
    const admin = kafkaClient({ brokers }).admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: 'tides', numPartitions: 1 }] })
    await admin.disconnect()
    const producer = kafkaClient({ brokers }).producer()
    await producer.connect()
    const messages = Array.from({ length: 5000 }, (_, i) => ({ value: `record ${i} ${'x'.repeat(100)}` }))
    await producer.send({ topic: 'tides', messages })
    await producer.disconnect()
    await use(brokers)
  } finally {
    await node.stop()
  }
}

async function positionOf(brokers: string, group: string): Promise<string> {
  const admin = kafkaClient({ brokers }).admin()
  await admin.connect()
  const [topic] = await admin.fetchOffsets({ groupId: group, topics: ['tides'] })
  await admin.disconnect()
  return topic!.partitions.map(({ offset }) => offset).join()
}

test('consume moves no position past what standard output did not take', { timeout: 60_000 }, async () => {
  await withTopic(async (brokers) => {
    const args = (group: string): string[] => {
      return ['consume', 'tides', '--group', group, '--from', 'start', '--until-end', '--brokers', brokers]
    }
    if (NO_FULL_DEVICE === false) {
      const { code, stderr } = await toFull(args('full'))
      assert.equal(code, 1, stderr)
      assert.match(
        stderr,
        /^tidemark: standard output takes no more \(ENOSPC\); the position of group full stays before what was not written\n$/,
      )
      assert.equal(await positionOf(brokers, 'full'), '-1')
    }
    const gone = new Running(args('gone'), { input: '', environment: QUIET })
    gone.process.stdout!.destroy()
    assert.deepEqual(await gone.ended, { code: 0, stdout: '', stderr: '' })
    assert.equal(await positionOf(brokers, 'gone'), '-1')
    // `--max` ends inside of what the client has fetched: what lies behind it is not read.
    const some = await tidemark([...args('some'), '--max', '3'])
    assert.equal(some.stdout.split('\n').length, 4, some.stderr)
    assert.equal(await positionOf(brokers, 'some'), '3')
  })
})

test('an answer that a full disk does not take is an error of each command', {
  timeout: 60_000,
  skip: NO_FULL_DEVICE,
}, async () => {
  await withDirectory(async (directory) => {
    const data = path.join(directory, 'data')
    await withTopic(async (brokers) => {
      const folder = path.join(directory, 'backup')
      assert.equal((await tidemark(['backup', folder, '--brokers', brokers])).code, 0)
      const commands = [
        ['backup', folder, '--json', '--brokers', brokers],
        ['backup', folder, '--verify'],
        ['topic', 'list', '--brokers', brokers],
        ['log', 'verify', data],
        ['log', 'dump', data],
        ['--help'],
      ]
      for (const args of commands) {
        const { code, stderr } = await toFull(args)
        assert.equal(code, 1, `${args.join(' ')}: ${stderr}`)
        assert.match(stderr, /standard output takes no more \(ENOSPC\); make room, or send the output elsewhere\n$/)
        assert.doesNotMatch(stderr, /^\s+at /m)
      }
    }, data)
  })
})

test('a node whose log nobody reads any more, or whose disk for it is full, goes on serving', {
  timeout: 60_000,
}, async () => {
  await withDirectory(async (directory) => {
    const [node, other] = await Promise.all([planCluster(directory, 1), planCluster(path.join(directory, 'other'), 1)])
    const unread = new Running(node[0]!.args)
    await unread.printed(/listens/)
    unread.process.stderr!.destroy()
    // Stopping is told as well, to nobody.
    assert.equal((await unread.stop()).code, 0)
    if (NO_FULL_DEVICE !== false) return
    const device = fs.openSync('/dev/full', 'w')
    const full = new Running(other[0]!.args, { stderr: device })
    fs.closeSync(device)
    await untilReady(other)
    assert.equal((await full.stop()).code, 0)
  })
})

test('status --watch ends well when nobody watches any more', { timeout: 60_000 }, async () => {
  const node = await Tidemark.start({ memory: true, http: '127.0.0.1:0' })
  try {
    const watching = new Running(['status', '--watch', '--json', '--http', node.http.urls[0]!])
    await watching.printed(/cluster/)
    watching.process.stdout!.destroy()
    const { code, stderr } = await watching.ended
    assert.deepEqual([code, stderr], [0, ''])
  } finally {
    await node.stop()
  }
})
