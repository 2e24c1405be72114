/** What a device can be told to do wrong, and that each of it happens; then what lies beneath all calls. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../../stdx/index.ts'
import { answer, realDrive, refusal } from '../contract/drive.ts'
import type { DiskFile } from '../disk.ts'
import { nodePlatform } from '../nodejs/index.ts'
import type { Random } from '../random.ts'
import { type DiskCall, type DiskOperation, type DiskTrouble, MemoryDisk } from './index.ts'

const { clock, random } = nodePlatform()
const drive = realDrive(clock)

const openFile = (disk: MemoryDisk, path: string): Promise<DiskFile> =>
  answer(drive, (done) => disk.open(path, 'create', done))
const write = (file: DiskFile, position: number, text: string): Promise<void> =>
  answer(drive, (done) => file.write([Buffer.from(text)], position, done))
const sync = (file: DiskFile): Promise<void> => answer(drive, (done) => file.datasync(done))

async function read(file: DiskFile, length = 100): Promise<string> {
  const into = Buffer.alloc(length)
  const count = await answer<number>(drive, (done) => file.read(into, 0, done))
  return into.toString('latin1', 0, count)
}

/** Answers once, to the first call of that operation. */
function once(operation: DiskOperation, trouble: DiskTrouble): { readonly calls: DiskCall[]; troubleWith: never } {
  const calls: DiskCall[] = []
  const troubleWith = (call: DiskCall): DiskTrouble | null => {
    if (call.operation !== operation || calls.length > 0) return null
    calls.push({ ...call })
    return trouble
  }
  return { calls, troubleWith: troubleWith as never }
}

test('fail: nothing happens, and the error says so', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await write(file, 0, 'old')
  const condition = once('write', { kind: 'fail', errno: 'EIO' })
  disk.condition = condition
  assert.equal(await refusal(drive, (done) => file.write([Buffer.from('new')], 7, done)), 'DISK_FAILED')
  assert.equal(await read(file), 'old')
  const [call] = condition.calls
  assert.deepEqual([call?.path, call?.position, call?.bytes], ['f', 7, 3])
})

test('short: the first bytes are there', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  disk.condition = once('write', { kind: 'short', bytes: 4, errno: 'ENOSPC' })
  const parts = [Buffer.from('abc'), Buffer.from('def')]
  assert.equal(await refusal(drive, (done) => file.write(parts, 0, done)), 'DISK_FULL')
  assert.equal(await read(file), 'abcd')
})

test('hold: nothing more is heard of that path until it is let go, in order; other paths go on', async () => {
  const disk = new MemoryDisk({}, { clock })
  const [file, other] = [await openFile(disk, 'f'), await openFile(disk, 'g')]
  disk.condition = once('write', { kind: 'hold' })
  const heard: string[] = []
  file.write([Buffer.from('one')], 0, () => heard.push('one'))
  file.write([Buffer.from('two')], 0, () => heard.push('two'))
  file.datasync(() => heard.push('sync'))
  await write(other, 0, 'x')
  await drive.elapse(5)
  assert.deepEqual(heard, [])
  assert.equal(disk.heldCalls, 3)
  disk.release()
  await drive.elapse(5)
  assert.deepEqual(heard, ['one', 'two', 'sync'])
  assert.equal(await read(file), 'two')
})

test('hold: what was stuck when its process died never answers, and the next process is not stuck', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  disk.condition = once('write', { kind: 'hold' })
  let answers = 0
  file.write([Buffer.from('one')], 0, () => answers++)
  await drive.elapse(2)
  const survivor = disk.kill(random)
  disk.release()
  const again = await openFile(survivor, 'f')
  await write(again, 10, 'more')
  assert.equal(answers, 0)
  assert.equal(survivor.heldCalls, 0)
})

test('lie: a sync says yes, and what it covered goes with the power, names too', async () => {
  let [lostBytes, lostNames] = [0, 0]
  for (let round = 0; round < 30; round++) {
    let disk = new MemoryDisk({}, { clock })
    const file = await openFile(disk, 'f')
    await write(file, 0, 'old')
    await sync(file)
    await answer(drive, (done) => disk.syncDirectory('', done))
    const lying = (call: DiskCall): DiskTrouble | null => (call.operation.includes('sync') ? { kind: 'lie' } : null)
    disk.condition = { troubleWith: (call) => (call.operation === 'syncDirectory' ? { kind: 'lie' } : lying(call)) }
    await write(file, 0, 'new')
    await sync(file)
    await openFile(disk, 'g')
    await answer(drive, (done) => disk.syncDirectory('', done))
    assert.equal(await read(file), 'new', 'as long as the power is on')
    disk = disk.powerLoss(random)
    disk.condition = null
    if ((await read(await openFile(disk, 'f'))) === 'old') lostBytes++
    if (!disk.platter.has('g')) lostNames++
  }
  assert.ok(lostBytes > 0 && lostNames > 0, `${lostBytes} ${lostNames}`)
})

test('drain: a cache that had the time makes lies true, whatever syncs were under way', async () => {
  for (let round = 0; round < 20; round++) {
    const disk = new MemoryDisk({}, { clock })
    const file = await openFile(disk, 'f')
    disk.condition = { troubleWith: ({ operation }) => (operation === 'datasync' ? { kind: 'lie' } : null) }
    await write(file, 0, 'new')
    await sync(file)
    file.datasync(() => {})
    disk.drain()
    await drive.elapse(2)
    await write(file, 100, 'later')
    const survivor = disk.powerLoss(random)
    assert.equal((await read(await openFile(survivor, 'f'))).slice(0, 3), 'new')
  }
})

test('lose and misdirect: a write says yes, and its place holds what it held', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await write(file, 0, '0123456789')
  disk.condition = once('write', { kind: 'lose' })
  await write(file, 2, 'xx')
  assert.equal(await read(file), '0123456789')
  disk.condition = once('write', { kind: 'misdirect', position: 6 })
  await write(file, 2, 'xx')
  assert.equal(await read(file), '012345xx89')
})

test('flip: one bit of one read, and the next is right', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await write(file, 0, 'AAAA')
  disk.condition = once('read', { kind: 'flip', at: 6, bit: 1 })
  assert.equal(await read(file), 'AACA')
  assert.equal(await read(file), 'AAAA')
})

test('a condition is of the device: it stays when the process dies, a fault does not', async () => {
  const disk = new MemoryDisk({}, { clock })
  disk.fault = () => 'EIO'
  disk.condition = { troubleWith: () => null }
  const survivor = disk.kill(random)
  assert.equal(survivor.fault, null)
  assert.notEqual(survivor.condition, null)
})

const SECTOR = 512

/** Four sectors of o under four of n, after the power went. */
async function afterLoss(seed: number, tornPermille: number, garbledPermille: number): Promise<string[]> {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await write(file, 0, 'o'.repeat(4 * SECTOR))
  await sync(file)
  await answer(drive, (done) => disk.syncDirectory('', done))
  await write(file, 100, 'n'.repeat(3 * SECTOR))
  const own: Random = seeded(`sectors ${seed}`)
  const survivor = disk.powerLoss(seeded(seed), { tornPermille, garbledPermille, random: own })
  return (await read(await openFile(survivor, 'f'), 4 * SECTOR)).match(/.{512}/gs)!
}

function seeded(seed: number | string): Random {
  const prng = new Prng(seed)
  return { below: (bound) => prng.below(bound), bytes: (length) => prng.bytes(length), chance: () => false }
}

test('power loss: sectors may be torn, head or tail, and only where they were written', async () => {
  let [heads, tails] = [0, 0]
  for (let seed = 0; seed < 30; seed++) {
    const sectors = await afterLoss(seed, 1000, 0)
    assert.match(sectors[0]!, /^o{100}/, 'what was synced in the same sector stays')
    for (const sector of sectors.slice(1, 3)) {
      assert.match(sector, /^(n+o+|o+n+)$/)
      if (sector.startsWith('n')) heads++
      else tails++
    }
  }
  assert.ok(heads > 0 && tails > 0)
})

test('power loss: sectors may be noise, and only where they were written', async () => {
  for (let seed = 0; seed < 10; seed++) {
    const sectors = await afterLoss(seed, 0, 1000)
    assert.match(sectors[0]!, /^o{100}/)
    assert.match(sectors[3]!, /o{412}$/)
    for (const sector of sectors.slice(1, 3)) assert.ok(new Set(sector).size > 50)
  }
})

test('power loss: what else it does is the same with and without torn sectors', async () => {
  for (let seed = 0; seed < 10; seed++) {
    const without = await afterLoss(seed, 0, 0)
    const mixed = await afterLoss(seed, 300, 0)
    for (const at of [1, 2]) if (/^(n+|o+)$/.test(mixed[at]!)) assert.equal(mixed[at], without[at])
  }
})

test('platter: what lies there is seen, changed and replaced beneath all calls', async () => {
  const disk = new MemoryDisk({}, { clock })
  await answer(drive, (done) => disk.makeDirectory('d/e', done))
  const file = await openFile(disk, 'd/e/f')
  await write(file, 0, 'hello')
  await openFile(disk, 'd/a')
  const { platter } = disk
  assert.deepEqual(
    platter.files().map(({ path, bytes }) => `${path} ${bytes}`),
    ['/d/a 0', '/d/e/f 5'],
  )
  disk.drain()
  const old = platter.copy()
  platter.overwrite('/d/e/f', 1, Buffer.from('E'))
  assert.equal(await read(file), 'hEllo')
  assert.throws(() => platter.overwrite('/d/e/f', 4, Buffer.from('xx')), /ends at 5/)
  platter.resize('/d/e/f', 2)
  platter.put('/d/b', Buffer.from('new'))
  platter.remove('/d/a')
  // Nothing of it is undone by a power loss, and nothing of it reached the copy.
  const survivor = disk.powerLoss(random)
  assert.equal(String(survivor.platter.read('/d/b')), 'new')
  assert.equal(survivor.platter.has('/d/a'), false)
  assert.equal(String(old.read('/d/e/f')), 'hello')
  const restored = survivor.replacedBy(old)
  assert.equal(await read(await openFile(restored, 'd/e/f')), 'hello')
  assert.equal(restored.usedBytes, 16 * 1024)
  assert.deepEqual(restored.replacedBy(null).platter.files(), [])
})

test('platter: room is counted', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await write(file, 0, 'x'.repeat(100_000))
  const { usedBytes } = disk
  disk.platter.resize('/f', 10)
  assert.ok(disk.usedBytes < usedBytes)
  disk.platter.remove('/f')
  assert.equal(disk.usedBytes, 0)
})
