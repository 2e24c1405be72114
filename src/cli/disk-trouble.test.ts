/** A real process on real file systems that fill up or fail. Needs Linux and root; elsewhere it says that it was skipped. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test, { type TestContext } from 'node:test'
import type { Producer } from 'kafkajs'
import type { NodeStatus } from '../gateways/http/index.ts'
import { planCluster, Running, tidemark, untilReady, withDirectory } from './cli-harness.test.ts'
import { kafkaClient } from './kafka-client.ts'

const MIB = 1 << 20
/** A slow machine is no failure. */
const PATIENT = { timeoutMs: 110_000 }
const RECORD = Buffer.alloc(64 << 10, 'x')

function sh(command: string, ...args: string[]): string {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim()
}

/** Undone in the end, the last first; false: what is needed is not to be had here. */
async function mounted(t: TestContext, mount: (undo: (() => void)[]) => void, use: () => Promise<void>): Promise<void> {
  const undo: (() => void)[] = []
  try {
    try {
      mount(undo)
    } catch (error) {
      t.skip(`SKIPPED: no such file system can be made here (${(error as Error).message.split('\n')[0]})`)
      return
    }
    await use()
  } finally {
    for (const step of undo.reverse()) step()
  }
}

function tmpfs(undo: (() => void)[], at: string, size: string): void {
  sh('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', at)
  undo.push(() => sh('umount', '-l', at))
}

async function send(producer: Producer, count: number): Promise<void> {
  const messages = Array.from({ length: count }, (_, i) => ({ key: `${i}`, value: RECORD }))
  await producer.send({ topic: 'tides', messages })
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

test('others fill the disk: records are refused by name, the rest goes on, and so do records when they are gone', {
  timeout: 120_000,
}, async (t) => {
  await withDirectory(async (directory) => {
    const disk = path.join(directory, 'disk')
    await mkdir(disk)
    await mounted(
      t,
      (undo) => tmpfs(undo, disk, '64m'),
      async () => {
        const [node] = await planCluster(disk, 1)
        const running = new Running([...node!.args, '--disk-reserve-bytes', String(6 * MIB)], PATIENT)
        try {
          await untilReady([node!])
          const flags = { brokers: node!.kafka }
          const [producer, admin] = [kafkaClient(flags, 0).producer(), kafkaClient(flags).admin()]
          await Promise.all([producer.connect(), admin.connect()])
          await admin.createTopics({ topics: [{ topic: 'tides', numPartitions: 1 }, { topic: 'other' }] })
          await send(producer, 4)
          const filler = path.join(disk, 'filler')
          await writeFile(filler, '')
          const status = async () => ((await (await fetch(`http://${node!.http}/api/node`)).json()) as NodeStatus).disk
          await writeFile(filler, Buffer.alloc((await status()).freeBytes! - 3 * MIB))
          await eventually('the disk is low', async () => (await status()).low !== null)
          assert.match((await status()).low ?? '', /^node 1's disk has \d+ MiB left, below its reserve of 6 MiB/)
          const shown = await tidemark(['status', '--http', node!.http])
          assert.match(shown.stdout, /node 1's disk has \d+ MiB left, below its reserve of 6 MiB: writes are refused/)
          await assert.rejects(send(producer, 1), (error: Error) =>
            /STORAGE|[Dd]isk error/.test(`${error} ${error.cause}`),
          )
          assert.equal((await admin.fetchTopicOffsets('tides'))[0]!.high, '4')
          await admin.deleteTopics({ topics: ['other'] })
          await admin.createTopics({ topics: [{ topic: 'another', numPartitions: 1 }] })
          await rm(filler)
          await eventually('the disk is ample again', async () => (await status()).low === null)
          await send(producer, 4)
          assert.equal((await admin.fetchTopicOffsets('tides'))[0]!.high, '8')
          await Promise.all([producer.disconnect(), admin.disconnect()])
          const { code, stderr } = await running.stop()
          assert.equal(code, 0, stderr)
        } finally {
          await running.kill()
        }
      },
    )
  })
})

test('the device under the file system fails a sync: exit code 70 with a message that names the file', {
  timeout: 120_000,
}, async (t) => {
  await withDirectory(async (directory) => {
    const [small, disk] = [path.join(directory, 'small'), path.join(directory, 'disk')]
    await Promise.all([mkdir(small), mkdir(disk)])
    // A device of 256 MiB that has 24: its file system finds out when it writes back, that is, in a sync.
    const image = path.join(small, 'image')
    await mounted(
      t,
      (undo) => {
        tmpfs(undo, small, '24m')
        execFileSync('truncate', ['-s', '256m', image])
        const device = sh('losetup', '-f', '--show', image)
        undo.push(() => sh('losetup', '-d', device))
        sh('mkfs.ext4', '-q', '-O', '^has_journal', '-E', 'lazy_itable_init=1', device)
        sh('mount', device, disk)
        undo.push(() => sh('umount', '-l', disk))
      },
      async () => {
        const [node] = await planCluster(disk, 1)
        const running = new Running(node!.args, PATIENT)
        try {
          await untilReady([node!])
          const producer = kafkaClient({ brokers: node!.kafka }, 0).producer()
          await producer.connect()
          let ended = false
          void running.ended.then(() => {
            ended = true
          })
          for (let i = 0; i < 200 && !ended; i++) await send(producer, 8).catch(() => {})
          await producer.disconnect().catch(() => {})
          const { code, stderr, stdout } = await running.ended
          assert.equal(code, 70, stderr + stdout)
          assert.match(stderr, /stops to protect its data: .*\/disk\/node-1\//)
        } finally {
          await running.kill()
        }
      },
    )
  })
})
