/**
 * What every disk does. The chapters on power loss, a full disk and a failing sync run where the implementation can be made
 * to suffer them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Disk, DiskFile, DiskSpace, OpenMode } from '../disk.ts'
import { answer, type Drive, refusal } from './drive.ts'

export interface DiskUnderTest {
  readonly disk: Disk
  readonly drive: Drive
  /** An existing, empty directory whose name is durable. */
  readonly directory: string
  /** The machine loses power; the answer is the disk after the restart. */
  readonly powerLoss?: (disk: Disk) => Disk
  /** Leaves room for about this many more bytes. */
  readonly limit?: (bytes: number) => void
  /** The next sync of a file fails. */
  readonly failNextSync?: (disk: Disk) => void
  readonly close?: () => Promise<void>
}

export function diskContract(name: string, open: () => Promise<DiskUnderTest>): void {
  const chapter = (title: string, body: (t: Workbench) => Promise<void>, needs: (keyof DiskUnderTest)[] = []): void => {
    test(`${name}: ${title}`, async (context) => {
      const subject = await open()
      try {
        const missing = needs.find((feature) => subject[feature] === undefined)
        if (missing === undefined) await body(new Workbench(subject))
        else context.diagnostic(`cannot be provoked here: ${missing}`)
      } finally {
        await subject.close?.()
      }
    })
  }

  chapter('what is written is read, across buffers and positions', async (t) => {
    const file = await t.open('a', 'exclusive')
    await t.write(file, 0, 'hello ', '', 'wide ', 'world')
    await t.write(file, 6, 'WIDE')
    assert.equal(await t.read(file, 0, 100), 'hello WIDE world')
    assert.equal(await t.read(file, 6, 4), 'WIDE')
    assert.equal(await t.size(file), 16)
    await t.write(file, 3)
    assert.equal(await t.size(file), 16)
  })

  chapter('reads end at the end of the file, holes read as zeros', async (t) => {
    const file = await t.open('a', 'create')
    assert.equal(await t.read(file, 0, 10), '')
    await t.write(file, 40_000, 'x')
    assert.equal(await t.size(file), 40_001)
    assert.equal(await t.read(file, 39_998, 10), '\0\0x')
    assert.equal(await t.read(file, 40_001, 10), '')
    assert.equal(await t.read(file, 99_999, 10), '')
    assert.equal(await t.read(file, 0, 0), '')
  })

  chapter('many buffers and many bytes in one write', async (t) => {
    const file = await t.open('a', 'create')
    const pieces = Array.from({ length: 5000 }, (_, i) => Buffer.alloc(1 + (i % 200), i))
    await answer(t.drive, (done) => file.write(pieces, 777, done))
    const whole = Buffer.concat(pieces)
    const back = Buffer.alloc(whole.length)
    assert.equal(await answer<number>(t.drive, (done) => file.read(back, 777, done)), whole.length)
    assert.ok(back.equals(whole))
  })

  chapter('truncate cuts, and grows with zeros', async (t) => {
    const file = await t.open('a', 'create')
    await t.write(file, 0, 'x'.repeat(50_000))
    await answer(t.drive, (done) => file.truncate(5, done))
    assert.equal(await t.read(file, 0, 100), 'xxxxx')
    await answer(t.drive, (done) => file.truncate(40_000, done))
    assert.equal(await t.size(file), 40_000)
    assert.equal(await t.read(file, 3, 4), 'xx\0\0')
    assert.equal(await t.read(file, 39_998, 9), '\0\0')
  })

  chapter('open modes', async (t) => {
    assert.equal(await t.refused('a', 'read'), 'DISK_NOT_FOUND')
    assert.equal(await t.refused('a', 'write'), 'DISK_NOT_FOUND')
    assert.equal(await t.refused('no/such/directory', 'create'), 'DISK_NOT_FOUND')
    await t.close(await t.open('a', 'create'))
    assert.equal(await t.refused('a', 'exclusive'), 'DISK_EXISTS')
    const again = await t.open('a', 'create')
    await t.write(again, 0, 'kept')
    assert.equal(await t.read(await t.open('a', 'create'), 0, 9), 'kept')
    const reader = await t.open('a', 'read')
    assert.equal(await t.read(reader, 0, 9), 'kept')
    assert.equal(await refusal(t.drive, (done) => reader.write([Buffer.from('x')], 0, done)), 'DISK_FAILED')
  })

  chapter('directories, names and renames', async (t) => {
    const deep = t.path('x/y/z')
    for (let i = 0; i < 2; i++) await answer(t.drive, (done) => t.disk.makeDirectory(deep, done))
    for (const each of ['b', 'c', 'a']) await t.close(await t.open(each, 'create'))
    assert.deepEqual(await t.list(''), ['a', 'b', 'c', 'x'])
    await t.write(await t.open('a', 'write'), 0, 'from a')
    await answer(t.drive, (done) => t.disk.rename(t.path('a'), t.path('b'), done))
    assert.deepEqual(await t.list(''), ['b', 'c', 'x'])
    assert.equal(await t.read(await t.open('b', 'read'), 0, 99), 'from a')
    await answer(t.drive, (done) => t.disk.rename(t.path('b'), t.path('x/y/b'), done))
    assert.deepEqual(await t.list('x/y'), ['b', 'z'])
    await answer(t.drive, (done) => t.disk.removeDirectory(t.path('x/y/z'), done))
    await answer(t.drive, (done) => t.disk.remove(t.path('x/y/b'), done))
    assert.deepEqual(await t.list('x/y'), [])
    assert.equal(await refusal(t.drive, (done) => t.disk.remove(t.path('nothing'), done)), 'DISK_NOT_FOUND')
    assert.equal(await refusal(t.drive, (done) => t.disk.list(t.path('nothing'), done)), 'DISK_NOT_FOUND')
    const absent = t.path('nothing')
    assert.equal(await refusal(t.drive, (done) => t.disk.rename(absent, t.path('b'), done)), 'DISK_NOT_FOUND')
    assert.equal(await refusal(t.drive, (done) => t.disk.makeDirectory(t.path('c'), done)), 'DISK_EXISTS')
  })

  chapter('a directory is removed when it is empty, and only then', async (t) => {
    const [folder, file, inner] = [t.path('x'), t.path('x/file'), t.path('x/inner')]
    const removal = (path: string): Promise<string> => refusal(t.drive, (done) => t.disk.removeDirectory(path, done))
    assert.equal(await removal(folder), 'DISK_NOT_FOUND')
    await answer(t.drive, (done) => t.disk.makeDirectory(inner, done))
    await t.close(await t.open('x/file', 'create'))
    assert.equal(await removal(folder), 'DISK_NOT_EMPTY')
    assert.deepEqual(await t.list('x'), ['file', 'inner'])
    assert.equal(await removal(file), 'DISK_FAILED')
    await answer(t.drive, (done) => t.disk.remove(file, done))
    assert.equal(await removal(folder), 'DISK_NOT_EMPTY')
    // Linux says that it is a directory, others that it is not permitted.
    assert.match(await refusal(t.drive, (done) => t.disk.remove(inner, done)), /^DISK_(FAILED|DENIED)$/)
    await answer(t.drive, (done) => t.disk.removeDirectory(inner, done))
    await answer(t.drive, (done) => t.disk.removeDirectory(folder, done))
    assert.deepEqual(await t.list(''), [])
    await answer(t.drive, (done) => t.disk.makeDirectory(folder, done))
    assert.deepEqual(await t.list('x'), [])
  })

  chapter('a removed file lives on in its open handles', async (t) => {
    const file = await t.open('a', 'create')
    await t.write(file, 0, 'still here')
    await answer(t.drive, (done) => t.disk.remove(t.path('a'), done))
    assert.equal(await t.read(file, 0, 99), 'still here')
    await t.close(file)
  })

  chapter('syncs succeed, of files and of directories', async (t) => {
    const file = await t.open('a', 'create')
    await t.write(file, 0, 'x')
    await t.sync(file)
    await t.sync(file)
    await t.syncNames('')
    const absent = t.path('nothing')
    assert.equal(await refusal(t.drive, (done) => t.disk.syncDirectory(absent, done)), 'DISK_NOT_FOUND')
  })

  chapter('a closed file is not used again', async (t) => {
    const file = await t.open('a', 'create')
    await t.close(file)
    assert.throws(() => file.datasync(() => {}), /closed/)
  })

  chapter('space is free or taken, of a directory that exists', async (t) => {
    const space = await answer<DiskSpace | null>(t.drive, (done) => t.disk.space(t.path(''), done))
    assert.ok(space !== null && space.freeBytes > 0 && space.totalBytes >= space.freeBytes, JSON.stringify(space))
    const absent = t.path('nothing')
    assert.equal(await refusal(t.drive, (done) => t.disk.space(absent, done)), 'DISK_NOT_FOUND')
  })

  chapter('a claim excludes others until it is released', async (t) => {
    const claim = await answer<{ release(done: () => void): void }>(t.drive, (done) => t.disk.claim(t.path(''), done))
    assert.equal(await refusal(t.drive, (done) => t.disk.claim(t.path(''), done)), 'DISK_IN_USE')
    await answer(t.drive, (done) => claim.release(() => done(null)))
    const second = await answer<{ release(done: () => void): void }>(t.drive, (done) => t.disk.claim(t.path(''), done))
    await answer(t.drive, (done) => second.release(() => done(null)))
    assert.equal(await refusal(t.drive, (done) => t.disk.claim(t.path('nothing'), done)), 'DISK_NOT_FOUND')
  })

  chapter('many calls at once all answer, each once', async (t) => {
    const file = await t.open('a', 'create')
    const answers = Array.from({ length: 40 }, (_, i) => t.write(file, i * 3, `${100 + i}`))
    await Promise.all([...answers, t.sync(file), t.list('')])
    assert.equal(await t.read(file, 0, 9), '100101102')
    assert.equal(await t.size(file), 120)
  })

  chapter(
    'a write that does not fit is DISK_FULL; with space it succeeds again',
    async (t) => {
      const file = await t.open('a', 'create')
      t.subject.limit!(100_000)
      const big = Buffer.alloc(400_000, 1)
      await t.write(file, 0, 'before')
      assert.equal(await refusal(t.drive, (done) => file.write([big, big], 6, done)), 'DISK_FULL')
      assert.ok((await t.size(file)) <= 100_000 + 4096)
      assert.equal(await t.read(file, 0, 6), 'before')
      await answer(t.drive, (done) => file.truncate(0, done))
      await t.write(file, 0, 'fits')
      assert.equal(await t.read(file, 0, 99), 'fits')
    },
    ['limit'],
  )

  chapter(
    'power loss: synced bytes under synced names survive',
    async (t) => {
      for (let round = 0; round < 20; round++) {
        const name = `f${round}`
        const file = await t.open(name, 'exclusive')
        await t.write(file, 0, 'durable '.repeat(500))
        await t.sync(file)
        await t.syncNames('')
        await t.write(file, 100, 'torn '.repeat(1000))
        t.losePower()
        const back = await t.read(await t.open(name, 'read'), 0, 100)
        assert.equal(back, 'durable '.repeat(500).slice(0, 100))
      }
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: un-synced bytes survive in part, sector by sector, in any order',
    async (t) => {
      const shapes = new Set<string>()
      for (let round = 0; round < 30; round++) {
        const name = `f${round}`
        const file = await t.open(name, 'exclusive')
        await t.write(file, 0, 'o'.repeat(4 * 512))
        await t.sync(file)
        await t.syncNames('')
        await t.write(file, 0, 'n'.repeat(4 * 512))
        t.losePower()
        const back = await t.read(await t.open(name, 'read'), 0, 9999)
        for (const sector of back.match(/.{512}/gs)!) assert.match(sector, /^(o{512}|n{512})$/)
        shapes.add(back.replace(/(.).{511}/g, '$1'))
      }
      assert.ok(shapes.size > 5, `too tame: ${[...shapes].join(' ')}`)
      assert.ok([...shapes].some((shape) => /on/.test(shape)) && [...shapes].some((shape) => /no/.test(shape)))
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: a sync covers the writes that were complete when it started',
    async (t) => {
      let lost = 0
      for (let round = 0; round < 30; round++) {
        const name = `f${round}`
        const file = await t.open(name, 'exclusive')
        await t.write(file, 0, 'a'.repeat(512))
        await t.sync(file)
        await t.syncNames('')
        const write = t.write(file, 0, 'b'.repeat(512))
        await t.sync(file)
        await write
        t.losePower()
        if ((await t.read(await t.open(name, 'read'), 0, 1)) === 'a') lost++
      }
      assert.ok(lost > 0, 'a write beside the sync is not promised to be covered')
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: a name is durable once its directory is synced, not before',
    async (t) => {
      let vanished = 0
      let old = 0
      for (let round = 0; round < 30; round++) {
        const file = await t.open(`new${round}`, 'exclusive')
        await t.write(file, 0, 'x')
        await t.sync(file)
        const kept = await t.open(`kept${round}`, 'exclusive')
        await t.write(kept, 0, 'old')
        await t.sync(kept)
        t.losePower()
        if (!(await t.list('')).includes(`new${round}`)) vanished++
        await t.replace(`kept${round}`, 'old')
        await t.syncNames('')
        await t.replace(`kept${round}`, 'new')
        t.losePower()
        const text = await t.read(await t.open(`kept${round}`, 'read'), 0, 9)
        assert.match(text, /^(old|new)$/)
        if (text === 'old') old++
        await t.replace(`kept${round}`, 'newer')
        await t.syncNames('')
        t.losePower()
        assert.equal(await t.read(await t.open(`kept${round}`, 'read'), 0, 9), 'newer')
      }
      assert.ok(vanished > 0 && vanished < 30, `${vanished} of 30 names vanished`)
      assert.ok(old > 0 && old < 30, `${old} of 30 renames were undone`)
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: a removed file may come back until its directory is synced',
    async (t) => {
      let back = 0
      for (let round = 0; round < 20; round++) {
        await t.replace(`f${round}`, 'x')
        await t.syncNames('')
        await answer(t.drive, (done) => t.disk.remove(t.path(`f${round}`), done))
        t.losePower()
        if ((await t.list('')).includes(`f${round}`)) back++
      }
      assert.ok(back > 0 && back < 20, `${back} of 20 came back`)
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: a removed directory may come back until the one above is synced, with what was not synced in it',
    async (t) => {
      const met = { gone: 0, empty: 0, full: 0 }
      for (let round = 0; round < 40; round++) {
        const folder = t.path(`d${round}`)
        await answer(t.drive, (done) => t.disk.makeDirectory(folder, done))
        await t.syncNames('')
        await t.close(await t.open(`d${round}/file`, 'create'))
        await t.syncNames(`d${round}`)
        await answer(t.drive, (done) => t.disk.remove(`${folder}/file`, done))
        const isSynced = round % 2 === 0
        if (isSynced) await t.syncNames(`d${round}`)
        await answer(t.drive, (done) => t.disk.removeDirectory(folder, done))
        t.losePower()
        if (!(await t.list('')).includes(`d${round}`)) {
          met.gone++
          continue
        }
        const names = await t.list(`d${round}`)
        if (names.length === 0) met.empty++
        else met.full++
        assert.ok(!isSynced || names.length === 0, `${names}`)
        for (const name of names) await answer(t.drive, (done) => t.disk.remove(`${folder}/${name}`, done))
        await answer(t.drive, (done) => t.disk.removeDirectory(folder, done))
        await t.syncNames('')
        t.losePower()
        assert.ok(!(await t.list('')).includes(`d${round}`))
      }
      assert.ok(met.gone > 0 && met.empty > 0 && met.full > 0, JSON.stringify(met))
    },
    ['powerLoss'],
  )

  chapter(
    'power loss: a cut that was not synced may be undone, one that was is final',
    async (t) => {
      for (let round = 0; round < 10; round++) {
        const name = `f${round}`
        const file = await t.open(name, 'exclusive')
        await t.write(file, 0, 'x'.repeat(3000))
        await t.sync(file)
        await t.syncNames('')
        await answer(t.drive, (done) => file.truncate(600, done))
        await t.sync(file)
        await t.write(file, 0, 'y')
        t.losePower()
        const back = await t.open(name, 'write')
        assert.equal(await t.size(back), 600)
        await answer(t.drive, (done) => back.truncate(10, done))
        t.losePower()
        const size = await t.size(await t.open(name, 'read'))
        assert.ok(size >= 10 && size <= 600)
      }
    },
    ['powerLoss'],
  )

  chapter(
    'a failed sync is not healed by a later one',
    async (t) => {
      let lost = 0
      for (let round = 0; round < 30; round++) {
        const name = `f${round}`
        const file = await t.open(name, 'exclusive')
        await t.write(file, 0, 'a'.repeat(1024))
        await t.sync(file)
        await t.syncNames('')
        await t.write(file, 0, 'b'.repeat(1024))
        t.subject.failNextSync!(t.disk)
        assert.equal(await refusal(t.drive, (done) => file.datasync(done)), 'DISK_FAILED')
        assert.equal(await t.read(file, 0, 1), 'b', 'the page cache still shows it')
        await t.write(file, 512, 'c'.repeat(512))
        await t.sync(file)
        t.losePower()
        const back = await t.read(await t.open(name, 'read'), 0, 9999)
        assert.equal(back.slice(512), 'c'.repeat(512), 'what was written again is durable')
        if (back.startsWith('a')) lost++
      }
      assert.ok(lost > 0, 'bytes of a failed sync may be gone')
    },
    ['powerLoss', 'failNextSync'],
  )
}

/** The disk under test with promises, for readable chapters. */
class Workbench {
  readonly subject: DiskUnderTest
  readonly drive: Drive
  disk: Disk

  constructor(subject: DiskUnderTest) {
    this.subject = subject
    this.drive = subject.drive
    this.disk = subject.disk
  }

  path(name: string): string {
    return name === '' ? this.subject.directory : `${this.subject.directory}/${name}`
  }

  open(name: string, mode: OpenMode): Promise<DiskFile> {
    return answer(this.drive, (done) => this.disk.open(this.path(name), mode, done))
  }

  refused(name: string, mode: OpenMode): Promise<string> {
    return refusal(this.drive, (done) => this.disk.open(this.path(name), mode, done))
  }

  write(file: DiskFile, position: number, ...texts: string[]): Promise<void> {
    const buffers = texts.map((text) => Buffer.from(text, 'latin1'))
    return answer(this.drive, (done) => file.write(buffers, position, done))
  }

  async read(file: DiskFile, position: number, length: number): Promise<string> {
    const into = Buffer.alloc(length, 0xee)
    const bytes = await answer<number>(this.drive, (done) => file.read(into, position, done))
    return into.toString('latin1', 0, bytes)
  }

  size(file: DiskFile): Promise<number> {
    return answer(this.drive, (done) => file.size(done))
  }

  sync(file: DiskFile): Promise<void> {
    return answer(this.drive, (done) => file.datasync(done))
  }

  close(file: DiskFile): Promise<void> {
    return answer(this.drive, (done) => file.close(done))
  }

  list(name: string): Promise<string[]> {
    return answer(this.drive, (done) => this.disk.list(this.path(name), done))
  }

  syncNames(name: string): Promise<void> {
    return answer(this.drive, (done) => this.disk.syncDirectory(this.path(name), done))
  }

  /** Write aside, sync, rename: the way to replace a file as a whole. */
  async replace(name: string, text: string): Promise<void> {
    const file = await this.open(`${name}.new`, 'create')
    await this.write(file, 0, text)
    await answer(this.drive, (done) => file.truncate(text.length, done))
    await this.sync(file)
    await this.close(file)
    await answer(this.drive, (done) => this.disk.rename(this.path(`${name}.new`), this.path(name), done))
  }

  losePower(): void {
    this.disk = this.subject.powerLoss!(this.disk)
  }
}
