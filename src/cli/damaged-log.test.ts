/** One node, and a damaged range that nobody can repair: what the commands say, and that they end. */
import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'node:test'
import { planCluster, Running, tidemark, untilReady, withDirectory } from './cli-harness.test.ts'

/** Flips a byte in the middle of the oldest file of the shard that has the most. */
async function damage(directory: string): Promise<void> {
  const shards = path.join(directory, 'shards')
  const folders = await Promise.all(
    (await readdir(shards)).map(async (shard) => {
      const files = (await readdir(path.join(shards, shard))).filter((name) => name.endsWith('.log')).sort()
      return { files, folder: path.join(shards, shard) }
    }),
  )
  const { files, folder } = folders.sort((a, b) => b.files.length - a.files.length)[0]!
  assert.ok(files.length > 1, 'the file has been left')
  const file = path.join(folder, files[0]!)
  const bytes = await readFile(file)
  bytes[bytes.length >> 1]! ^= 1
  await writeFile(file, bytes)
}

test('a damaged log without another replica is told of by node, describe and consume; consume ends on a signal', {
  timeout: 120_000,
}, async () => {
  await withDirectory(async (directory) => {
    const [node] = await planCluster(directory, 1)
    const brokers = ['--brokers', node!.kafka]
    const first = new Running(node!.args, { timeoutMs: 100_000 })
    let second: Running | null = null
    try {
      await untilReady([node!])
      const created = ['topic', 'create', '--config', 'segment.bytes=20000', 'orders', '--partitions', '1', ...brokers]
      assert.equal((await tidemark(created)).code, 0)
      for (let i = 0; i < 3; i++)
        assert.equal((await tidemark(['produce', 'orders', ...brokers], { input: `${'x'.repeat(15_000)}\n` })).code, 0)
      assert.equal((await first.stop()).code, 0)
      await damage(node!.directory)
      second = new Running(node!.args, { timeoutMs: 100_000 })
      await untilReady([node!])
      const reading = new Running(['consume', 'orders', '--from', 'start', ...brokers], { timeoutMs: 60_000 })
      await reading.printed(/topic orders: reading fails and is begun again: \S/)
      const asked = performance.now()
      const { code, stderr } = await reading.stop()
      const endedMs = performance.now() - asked
      assert.equal(code, 0, stderr)
      assert.ok(endedMs < 10_000, `it took ${endedMs.toFixed(0)} ms to end`)
      assert.match(second.stderr, /is damaged at byte \d+ .*; it will be repaired from another replica, if one has it/)
      const described = await tidemark(['topic', 'describe', 'orders', '--http', node!.http, ...brokers])
      assert.match(described.stdout, /^partition 0, node 1: the log of shard \d+ is damaged at byte \d+ of /m)
      const json = await tidemark(['topic', 'describe', 'orders', '--http', node!.http, '--json', ...brokers])
      const { damages } = JSON.parse(json.stdout) as { damages: { partition: number; node: number }[] }
      assert.deepEqual(
        damages.map(({ partition, node }) => [partition, node]),
        [[0, 1]],
      )
    } finally {
      await Promise.all([first.kill(), second?.kill()])
    }
  })
})
