/** `tidemark log` against the data directory of a real node: while it runs, after it was killed, and damaged. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'node:test'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { type NodePlan, planCluster, Running, tidemark, untilReady, withDirectory } from './cli-harness.test.ts'
import { logCommand } from './log.ts'

type Line = Record<string, unknown>

async function jsonLines(args: readonly string[], code = 0): Promise<Line[]> {
  const outcome = await tidemark(['log', ...args, '--json'])
  assert.equal(outcome.code, code, outcome.stdout + outcome.stderr)
  return outcome.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

async function withKilledNode(use: (node: NodePlan, shard: number) => Promise<void>): Promise<void> {
  await withDirectory(async (directory) => {
    const [node] = await planCluster(directory, 1)
    const running = new Running(node!.args)
    try {
      await untilReady([node!])
      const brokers = ['--brokers', node!.kafka]
      assert.equal((await tidemark(['topic', 'create', 'moons', '--partitions', '1', ...brokers])).code, 0)
      const input = 'io:one\neuropa:two\ntitan:three\n'
      const produced = await tidemark(['produce', 'moons', '--key-separator', ':', ...brokers], { input })
      assert.equal(produced.code, 0, produced.stderr)
      const response = await fetch(`http://${node!.http}/api/cluster`)
      const { shards } = (await response.json()) as { shards: { shard: number; topic: string | null }[] }
      const { shard } = shards.find(({ topic }) => topic === 'moons')!
      const verified = await jsonLines(['verify', node!.directory])
      assert.ok(
        verified.every(({ ok }) => ok === true),
        'a running node is no damage',
      )
      await running.kill()
      await use(node!, shard)
    } finally {
      await running.kill()
    }
  })
}

test('log: a killed node’s directory, whole and then damaged', { timeout: 120_000 }, async () => {
  await withKilledNode(async ({ directory, args }, shard) => {
    const dumped = await jsonLines(['dump', directory, '--records', '--shard', String(shard)])
    const entries = dumped.filter(({ type }) => type === 'entry')
    assert.deepEqual(
      entries.filter(({ kind }) => kind !== 'hard state').map(({ index }) => index),
      entries.filter(({ kind }) => kind !== 'hard state').map((_, i) => i + 1),
    )
    const records = entries.flatMap(
      ({ batches }) => batches as { records: { key: Line; value: Line; offset: number }[] }[],
    )
    assert.deepEqual(
      records.flatMap((batch) => batch.records.map(({ offset, key, value }) => [offset, key.utf8, value.utf8])),
      [
        [0, 'io', 'one'],
        [1, 'europa', 'two'],
        [2, 'titan', 'three'],
      ],
    )
    const [end] = dumped.filter(({ type, file }) => type === 'end' && String(file).includes('journal'))
    assert.equal(end!.label, 'clean end')

    const people = await tidemark(['log', 'dump', directory, '--records', '--shard', String(shard)])
    assert.match(people.stdout, /io → one/)
    assert.match(people.stdout, /titan → three/)
    const one = await tidemark([
      'log',
      'dump',
      directory,
      '--shard',
      String(shard),
      '--from',
      '2',
      '--to',
      '3',
      '--limit',
      '1',
    ])
    assert.equal(one.stdout.match(/^ +\d+ {2}data/gm)?.length, 1, one.stdout)

    const stats = await jsonLines(['stats', directory])
    const inJournal = stats.find((line) => line.type === 'shard' && line.shard === shard)!
    assert.deepEqual([inJournal.records, inJournal.offset], [3, [0, 2]])
    assert.match((await tidemark(['log', 'stats', directory])).stdout, /journal .* plain/)

    await smallFiles(directory)
    await damaged(directory, args, shard)
  })
})

/** Every small file in turn, of a real directory. */
async function smallFiles(directory: string): Promise<void> {
  for (const name of ['identity', 'checkpoint', 'terms'].flatMap((file) => [file, `${file}.copy`])) {
    const file = path.join(directory, name)
    const bytes = await readFile(file)
    await writeFile(file, Buffer.concat([Buffer.alloc(16), bytes.subarray(16)]))
    let text = ''
    const write = (more: string): boolean => {
      text += more
      return true
    }
    const code = await logCommand('verify', [directory], {}, { disk: nodePlatform().disk, write })
    assert.equal(code, 1, text)
    const other = name.endsWith('.copy') ? name.slice(0, -5) : `${name}.copy`
    assert.ok(text.includes(`DAMAGED  ${file} `) && text.includes(`the node writes it again from ${other}`), text)
    await writeFile(file, bytes)
  }
}

async function damaged(directory: string, args: readonly string[], shard: number): Promise<void> {
  const folder = path.join(directory, 'journal')
  const file = path.join(folder, (await readdir(folder))[0]!)
  const dumped = await jsonLines(['dump', file])
  // Where the node was at rest there are blocks without entries.
  const blocks = dumped.filter(({ type }) => type === 'block') as {
    sequence: number
    position: number
    bodyBytes: number
  }[]
  const hit = blocks.find(({ sequence, bodyBytes }) => sequence >= 3 && bodyBytes > 0)!
  const bytes = await readFile(file)
  bytes[hit.position + 50]! ^= 1
  await writeFile(file, bytes)

  const verified = await jsonLines(['verify', directory], 1)
  const [bad] = verified.filter(({ ok }) => ok === false)
  const [place] = bad!.damage as { from: number; expected: string; after: string }[]
  assert.deepEqual([bad!.file, place!.from], [file, hit.position])
  assert.match(place!.expected, new RegExp(`^block ${hit.sequence} `))
  assert.match(place!.after, new RegExp(`^block ${hit.sequence + 1} at byte `))
  const people = await tidemark(['log', 'verify', directory])
  assert.equal(people.code, 1)
  assert.match(people.stdout, new RegExp(`DAMAGED +bytes ${hit.position}–`))
  assert.match(people.stdout, /1 damaged/)
  // Everything else is still shown.
  const after = await tidemark(['log', 'dump', directory, '--records', '--shard', String(shard)])
  assert.equal(after.code, 0)
  assert.match(after.stdout, /titan → three/)
  // The node names the same place.
  const refused = await tidemark(args)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, new RegExp(`damaged at byte ${hit.position} of .*block ${hit.sequence}`))
}

test('log: what is refused, in one line', { timeout: 60_000 }, async () => {
  await withDirectory(async (directory) => {
    const notes = path.join(directory, 'notes')
    await writeFile(notes, 'buy milk')
    // Where there is no such thing it is a file, and refused as one.
    const pipe = path.join(directory, 'pipe')
    if (process.platform === 'linux') execFileSync('mkfifo', [pipe])
    else await writeFile(pipe, '')
    const cases: [string[], RegExp][] = [
      [['verify', path.join(directory, 'nothing')], /nothing: it does not exist/],
      [['dump', notes], /notes: neither a journal segment nor a shard log/],
      [['stats', directory], /no journal segment, shard log, checkpoint, terms or identity in it/],
      [['dump', pipe], /pipe: neither a journal segment nor a shard log/],
      [['dump', notes, '--limit', '0'], /--limit 0: must be a whole number from 1 to 9007199254740991/],
      [['dump', notes, '--from', '9', '--to', '3'], /--from 9 --to 3: nothing is from 9 to 3; swap them/],
      [['dump', notes, '--shard', 'x'], /--shard x: must be a whole number from 0 to 4294967295/],
    ]
    for (const [args, what] of cases) {
      const { code, stdout, stderr } = await tidemark(['log', ...args])
      assert.deepEqual([code, stdout, stderr.trim().split('\n').length], [1, '', 1], stderr)
      assert.match(stderr, what)
    }
    // One that is refused takes nothing from the others.
    const identity = path.join(directory, 'identity')
    await writeFile(identity, 'TIDEIDEN and nothing else')
    const { code, stdout, stderr } = await tidemark(['log', 'verify', notes, identity, path.join(directory, 'nothing')])
    assert.equal(code, 1)
    assert.match(stdout, /^DAMAGED +\S+identity/)
    assert.match(stderr, /notes: neither .*\n.*nothing: it does not exist/)
    // What its folder still names is not gone.
    const linked = path.join(directory, 'linked')
    await mkdir(linked)
    await symlink(path.join(directory, 'nowhere'), path.join(linked, 'identity'))
    const { stdout: told } = await tidemark(['log', 'verify', linked])
    assert.match(told, /UNREADABLE +\S+identity +its name leads nowhere/)
  })
})
