/** What only the in-memory platform promises: leanness, crashes that end a disk, and machines that vanish. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer, realDrive } from '../contract/drive.ts'
import type { DiskFile, DiskSpace } from '../disk.ts'
import type { Connection } from '../network.ts'
import { nodePlatform } from '../nodejs/index.ts'
import { MemoryDisk, MemoryNetwork } from './index.ts'
import { Pages } from './pages.ts'

const { clock, random } = nodePlatform()
const drive = realDrive(clock)

const openFile = (disk: MemoryDisk, path: string): Promise<DiskFile> =>
  answer(drive, (done) => disk.open(path, 'create', done))

test('preallocated zeros take space on the disk and none in memory', () => {
  for (const tracks of [true, false]) {
    const pages = new Pages(tracks)
    const zeros = Buffer.alloc(1024 * 1024)
    for (let at = 0; at < 64; at++) pages.write(zeros, at * zeros.length, Number.MAX_SAFE_INTEGER)
    assert.equal(pages.size, 64 * 1024 * 1024)
    assert.equal(pages.allocatedBytes, 64 * 1024 * 1024)
    assert.equal(pages.residentBytes, 0)
    pages.write(Buffer.from('x'), 1_000_000, 0)
    assert.equal(pages.residentBytes, 16 * 1024)
    pages.write(zeros, 0, 0)
    assert.equal(pages.residentBytes, 0, 'overwritten with zeros, the page is shared again')
  }
})

test('many small writes and syncs hold no more than their pages', () => {
  const pages = new Pages(true)
  for (let i = 0; i < 10_000; i++) {
    pages.write(Buffer.alloc(100, 1), i * 100, Number.MAX_SAFE_INTEGER)
    pages.endSync(pages.startSync(), true)
  }
  assert.ok(pages.residentBytes <= 1_000_000 + 2 * 16 * 1024)
})

test('a random history is read as a plain buffer would be, and what was synced survives', () => {
  for (let round = 0; round < 200; round++) {
    const pages = new Pages(true)
    let expected = Buffer.alloc(0)
    let synced = Buffer.alloc(0)
    /** Bytes changed since the last sync, which may be anything after a loss. */
    let dirty = new Set<number>()
    const grow = (length: number): void => {
      if (length > expected.length) expected = Buffer.concat([expected, Buffer.alloc(length - expected.length)])
    }
    for (let step = 0; step < 12; step++) {
      const position = random.below(50_000)
      const choice = random.below(5)
      if (choice === 0) {
        pages.endSync(pages.startSync(), true)
        synced = Buffer.from(expected)
        dirty = new Set()
      } else if (choice === 1) {
        pages.truncate(position)
        for (let at = Math.min(position, expected.length); at < expected.length; at++) dirty.add(at)
        if (position < expected.length) expected = Buffer.from(expected.subarray(0, position))
        grow(position)
      } else {
        const bytes = Buffer.alloc(1 + random.below(3000), random.below(3))
        pages.write(bytes, position, Number.MAX_SAFE_INTEGER)
        grow(position + bytes.length)
        bytes.copy(expected, position)
        for (let at = position; at < position + bytes.length; at++) dirty.add(at)
      }
      const back = Buffer.alloc(expected.length + 10)
      assert.equal(pages.read(back, 0), expected.length)
      assert.ok(back.subarray(0, expected.length).equals(expected))
    }
    const settledSize = expected.length === synced.length
    pages.losePower(random)
    if (settledSize) assert.equal(pages.size, synced.length)
    const back = Buffer.alloc(pages.size)
    pages.read(back, 0)
    for (let at = 0; at < Math.min(back.length, synced.length); at++) {
      if (!dirty.has(at)) assert.equal(back[at], synced[at], `byte ${at} was synced`)
    }
  }
})

test('a crash ends the disk: calls under way never answer, the survivor goes on', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  await answer(drive, (done) => file.write([Buffer.from('written')], 0, done))
  let answers = 0
  file.write([Buffer.from('under way')], 100, () => answers++)
  file.datasync(() => answers++)
  const survivor = disk.kill(random)
  disk.list('', () => answers++)
  file.write([Buffer.from('GHOST')], 0, () => answers++)
  const again = await openFile(survivor, 'f')
  const back = Buffer.alloc(7)
  await answer(drive, (done) => again.read(back, 0, done))
  assert.equal(String(back), 'written')
  await drive.elapse(5)
  assert.equal(answers, 0)
})

test('space: removed files give it back with their last handle, claims end with a crash', async () => {
  const disk = new MemoryDisk({ powerLoss: false }, { clock })
  const file = await openFile(disk, 'f')
  await answer(drive, (done) => file.write([Buffer.alloc(100_000, 1)], 0, done))
  assert.equal(disk.usedBytes, 7 * 16 * 1024)
  await answer(drive, (done) => disk.claim('', done))
  await answer(drive, (done) => disk.remove('f', done))
  assert.ok(disk.usedBytes > 0)
  const survivor = disk.kill(random)
  assert.equal(survivor.usedBytes, 0)
  await answer(drive, (done) => survivor.claim('', done))
})

test('a fault hits the operation that it names', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  disk.fault = (operation, path) => (operation === 'write' && path === 'f' ? 'ENOSPC' : null)
  await assert.rejects(
    answer(drive, (done) => file.write([Buffer.from('x')], 0, done)),
    { code: 'DISK_FULL' },
  )
  await answer(drive, (done) => file.datasync(done))
})

test('a sync for which there is no room is a failed sync, never a full disk that one may wait for', async () => {
  const disk = new MemoryDisk({}, { clock })
  const file = await openFile(disk, 'f')
  disk.fault = (operation) => (operation === 'datasync' || operation === 'syncDirectory' ? 'ENOSPC' : null)
  await assert.rejects(
    answer(drive, (done) => file.datasync(done)),
    { code: 'DISK_FAILED', details: { code: 'DISK_FAILED', path: 'f', operation: 'datasync', errno: 'ENOSPC' } },
  )
  await assert.rejects(
    answer(drive, (done) => disk.syncDirectory('', done)),
    { code: 'DISK_FAILED' },
  )
})

test('space: others take some and give it back, the device stays as large as it is, and may not tell', async () => {
  const disk = new MemoryDisk({ totalBytes: 1 << 20, capacityBytes: 256 << 10 }, { clock })
  const file = await openFile(disk, 'f')
  await answer(drive, (done) => file.write([Buffer.alloc(10_000)], 0, done))
  const ask = (of: MemoryDisk) => answer<DiskSpace | null>(drive, (done) => of.space('', done))
  assert.deepEqual(await ask(disk), { freeBytes: 240 << 10, totalBytes: 1 << 20 })
  disk.capacityBytes = 512 << 10
  assert.deepEqual(await ask(disk.kill(random)), { freeBytes: 496 << 10, totalBytes: 1 << 20 })
  const silent = new MemoryDisk({}, { clock })
  silent.spaceUnknown = true
  assert.equal(await ask(silent), null)
})

test('space: what a power loss brings back was given to nobody else', async () => {
  for (let round = 0; round < 20; round++) {
    const disk = new MemoryDisk({}, { clock })
    const file = await openFile(disk, 'f')
    await answer(drive, (done) => file.write([Buffer.alloc(100_000, 1)], 0, done))
    await answer(drive, (done) => file.datasync(done))
    await answer(drive, (done) => disk.syncDirectory('', done))
    await answer(drive, (done) => file.close(done))
    await answer(drive, (done) => disk.remove('f', done))
    disk.capacityBytes = 50_000
    const survivor = disk.powerLoss(random)
    const space = await answer<DiskSpace | null>(drive, (done) => survivor.space('', done))
    assert.equal(space!.freeBytes, 50_000, `${survivor.usedBytes} bytes used`)
  }
})

test('a process that dies resets its peers; a machine that vanishes leaves them in silence until it is back', async () => {
  for (const silent of [false, true]) {
    const network = new MemoryNetwork({}, { clock })
    const accepted: Connection[] = []
    const events: string[] = []
    const note = (name: string) => ({
      received: () => void events.push(`${name} received`),
      drained: () => void events.push(`${name} drained`),
      closed: (reason: string) => void events.push(`${name} closed: ${reason}`),
    })
    await answer(drive, (done) =>
      network.host('two').listen(
        { host: 'two', port: 1 },
        (connection) => {
          connection.handler = note('two')
          accepted.push(connection)
        },
        done,
      ),
    )
    const near = await answer<Connection>(drive, (done) => network.host('one').connect({ host: 'two', port: 1 }, done))
    near.handler = note('one')
    network.crash('two', { silent })
    near.write(Buffer.from('anyone?'))
    await drive.elapse(10)
    assert.deepEqual(events, silent ? [] : ['one closed: connection reset'])
    await assert.rejects(
      answer(drive, (done) => network.host('one').connect({ host: 'two', port: 1 }, done)),
      { code: 'CONNECTION_REFUSED' },
    )
    await answer(drive, (done) => network.host('two').listen({ host: 'two', port: 2 }, () => {}, done))
    await drive.elapse(10)
    assert.deepEqual(events, ['one closed: connection reset'], 'what it was sent belongs to nothing there')
  }
})

test('a process that dies while it begins to listen leaves no listener behind', async () => {
  const network = new MemoryNetwork({}, { clock })
  let answers = 0
  network.host('one').listen(
    { host: 'one', port: 1 },
    () => {},
    () => answers++,
  )
  network.crash('one')
  await drive.elapse(5)
  assert.equal(answers, 0)
  await answer(drive, (done) => network.host('one').listen({ host: 'one', port: 1 }, () => {}, done))
})

test('a name that was moved away and given again is not taken by a later sync of where it went', async () => {
  const disk = new MemoryDisk({ powerLoss: true }, { clock })
  const step = (operation: (done: (error: Error | null) => void) => void): Promise<void> =>
    answer(drive, (done) => operation((error) => done(error as never)))
  for (const path of ['/shard', '/quarantine']) await step((done) => disk.makeDirectory(path, done))
  await step((done) => disk.syncDirectory('/', done))
  const close = async (path: string): Promise<void> => {
    const file = await openFile(disk, path)
    await step((done) => file.close(done))
  }
  await close('/shard/1.log')
  await step((done) => disk.syncDirectory('/shard', done))
  await step((done) => disk.rename('/shard/1.log', '/quarantine/1.log', done))
  await close('/shard/1.log.repair')
  await step((done) => disk.rename('/shard/1.log.repair', '/shard/1.log', done))
  await step((done) => disk.syncDirectory('/shard', done))
  await step((done) => disk.syncDirectory('/quarantine', done))
  const left = disk.powerLoss(random)
  assert.deepEqual(
    left.platter.files('/').map(({ path }) => path),
    ['/quarantine/1.log', '/shard/1.log'],
  )
})
