/** What only the real platform can suffer: a kernel that takes half a write, a process that is killed, a peer that resets. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { answer, type Drive, realDrive, refusal } from '../contract/drive.ts'
import type { DiskCallback, DiskFile } from '../disk.ts'
import type { Connection, Listener } from '../network.ts'
import { claimByFile } from './claim.ts'
import { nodePlatform } from './index.ts'
import { Turn } from './turn.ts'

const linuxOnly = process.platform === 'linux' ? test : () => {}
const here = fileURLToPath(import.meta.url)
const indexUrl = pathToFileURL(join(here, '..', `index${extname(here)}`)).href

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-platform-'))
  try {
    await body(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A program of its own that has this platform as `platform`. */
function child(program: string, prefix = ''): ReturnType<typeof spawn> {
  const text = `import { nodePlatform } from '${indexUrl}'; const platform = nodePlatform(); ${program}`
  const node = [process.execPath, ...process.execArgv.filter((arg) => !arg.startsWith('--test'))]
  const command = [...node, '--input-type=module', '--eval', text].map((part) => `'${part.replaceAll("'", "'\\''")}'`)
  const env = { ...process.env }
  delete env.NODE_TEST_CONTEXT
  return spawn('/bin/sh', ['-c', `${prefix} exec ${command.join(' ')}`], { stdio: ['ignore', 'pipe', 'inherit'], env })
}

async function firstLine(running: ReturnType<typeof spawn>): Promise<string> {
  const [chunk] = await once(running.stdout!, 'data')
  return String(chunk).trim()
}

linuxOnly('a write that the kernel takes in part is continued, and its refusal is DISK_FULL', async () => {
  await withDirectory(async (directory) => {
    const path = join(directory, 'file')
    // The file size limit is 8 blocks of 512 bytes; the handler keeps its signal from ending the process.
    const running = child(
      `process.on('SIGXFSZ', () => {})
       platform.disk.open('${path}', 'create', (_, file) => {
         const buffers = [Buffer.alloc(3000, 'a'), Buffer.alloc(3000, 'b')]
         file.write(buffers, 0, (error) => file.write([Buffer.alloc(100, 'c')], 0, (second) =>
           console.log(error?.code, second?.code)))
       })`,
      'ulimit -f 8;',
    )
    assert.equal(await firstLine(running), 'DISK_FULL undefined')
    const written = await readFile(path, 'latin1')
    assert.equal(written, 'c'.repeat(100) + 'a'.repeat(2900) + 'b'.repeat(1096))
  })
})

linuxOnly('a folder where a file should be, or the other way about: the refusal says what to do', async () => {
  await withDirectory(async (directory) => {
    const { disk, clock } = nodePlatform()
    const drive = realDrive(clock)
    const refused = (call: (done: DiskCallback<unknown>) => void): Promise<Error> =>
      answer<unknown>(drive, call).then(
        () => assert.fail(),
        (error: Error) => error,
      )
    const folder = await refused((done) => disk.open(directory, 'write', done))
    assert.match(folder.message, /^cannot open .*: it is a folder, and a file belongs there; move it away \(EISDIR\)$/)
    const path = join(directory, 'file')
    await writeFile(path, '')
    const file = await refused((done) => disk.list(path, done))
    assert.match(file.message, /^cannot list .*: what should be a folder is a file; move it away \(ENOTDIR\)$/)
  })
})

linuxOnly('the claim of a killed process is void at once', async () => {
  await withDirectory(async (directory) => {
    const { disk, clock } = nodePlatform()
    const drive = realDrive(clock)
    const running = child(
      `platform.disk.claim('${directory}', (error) => { console.log(error?.code ?? 'claimed') }); setInterval(() => {}, 1000)`,
    )
    assert.equal(await firstLine(running), 'claimed')
    assert.equal(await refusal(drive, (done) => disk.claim(directory, done)), 'DISK_IN_USE')
    running.kill('SIGKILL')
    await once(running, 'exit')
    const claim = await answer<{ release(done: () => void): void }>(drive, (done) => disk.claim(directory, done))
    await answer(drive, (done) => claim.release(() => done(null)))
  })
})

test('a claim by file: exclusive, released, and taken over from the dead', async () => {
  await withDirectory(async (directory) => {
    const drive = realDrive(nodePlatform().clock)
    const lock = `${directory}.lock`
    const claim = (): Promise<(done: () => void) => void> => answer(drive, (done) => claimByFile(lock, directory, done))
    const release = await claim()
    assert.equal(await refusal(drive, (done) => claimByFile(lock, directory, done)), 'DISK_IN_USE')
    await answer(drive, (done) => release(() => done(null)))
    const dead = spawn('true')
    await once(dead, 'exit')
    for (const stale of [`${dead.pid} 123\n`, `${process.pid} 123\n`, '']) {
      await writeFile(lock, stale)
      const taken = await claim()
      await answer(drive, (done) => taken(() => done(null)))
    }
    await writeFile(lock, `${process.ppid} 123\n`)
    assert.equal(await refusal(drive, (done) => claimByFile(lock, directory, done)), 'DISK_IN_USE')
    await rm(lock)
  })
})

interface Accepted {
  readonly connection: Connection
  readonly events: string[]
}

/** A listener on this platform, a bare socket as its client, and what the accepted connection hears. */
async function accept(
  drive: Drive,
): Promise<{ raw: ReturnType<typeof connect>; accepted: Accepted; listener: Listener }> {
  const { network } = nodePlatform()
  const connections: Accepted[] = []
  const listener = await answer<Listener>(drive, (done) =>
    network.listen(
      { host: '127.0.0.1', port: 0 },
      (connection) => {
        const events: string[] = []
        connection.handler = {
          received: (bytes) => events.push(`received ${bytes.length}`),
          drained: () => events.push('drained'),
          closed: (reason) => events.push(`closed ${reason}`),
        }
        connections.push({ connection, events })
      },
      done,
    ),
  )
  const raw = connect({ host: '127.0.0.1', port: listener.address.port, allowHalfOpen: true })
  raw.on('error', () => {})
  await drive.until(() => connections.length > 0 && !raw.connecting, 'a connection')
  return { raw, accepted: connections[0]!, listener }
}

test('a peer that resets never throws, also while we write', async () => {
  const drive = realDrive(nodePlatform().clock)
  const { raw, accepted, listener } = await accept(drive)
  accepted.connection.write(Buffer.alloc(8_000_000))
  raw.resetAndDestroy()
  for (let i = 0; i < 10; i++) {
    accepted.connection.write(Buffer.alloc(1000))
    await drive.elapse(1)
  }
  await drive.until(() => accepted.events.length > 0, 'closed')
  await drive.elapse(5)
  assert.equal(accepted.events.length, 1)
  assert.match(accepted.events[0]!, /^closed (ECONNRESET|EPIPE)$/)
  await answer(drive, (done) => listener.close(() => done(null)))
})

test('half-open: after its FIN a peer still gets what was queued', async () => {
  const drive = realDrive(nodePlatform().clock)
  const { raw, accepted, listener } = await accept(drive)
  let got = 0
  raw.on('data', (bytes) => {
    got += bytes.length
  })
  raw.end('bye')
  accepted.connection.write(Buffer.alloc(5_000_000))
  await drive.until(() => accepted.events.some((event) => event.startsWith('closed')), 'closed')
  await drive.until(() => got === 5_000_000, `all bytes, not ${got}`)
  assert.deepEqual(accepted.events, ['received 3', 'closed the other side closed the connection'])
  await answer(drive, (done) => listener.close(() => done(null)))
})

test('a peer that never closes is cut off after end', async () => {
  const drive = realDrive(nodePlatform().clock)
  const { raw, accepted, listener } = await accept(drive)
  accepted.connection.end()
  await drive.until(() => accepted.events.length > 0, 'closed')
  assert.deepEqual(accepted.events, ['closed closed by this side'])
  raw.destroy()
  await answer(drive, (done) => listener.close(() => done(null)))
})

test('what the end of a turn writes leaves with that turn', async () => {
  const turn = new Turn()
  const order: string[] = []
  setImmediate(() => order.push('before'))
  turn.atFlush(() => order.push('flush'))
  turn.atEnd(() => {
    order.push('end')
    turn.atFlush(() => order.push('flush of the end'))
    turn.atEnd(() => order.push('next turn'))
  })
  setImmediate(() => order.push('after'))
  await realDrive(nodePlatform().clock).until(() => order.length === 6, 'two turns')
  assert.deepEqual(order, ['before', 'end', 'flush', 'flush of the end', 'after', 'next turn'])
})

linuxOnly('a callback that throws does not silence the others', async () => {
  const running = child(
    `process.on('uncaughtException', () => console.log('caught'))
     platform.clock.endOfTurn(() => { throw new Error('one of them') })
     platform.clock.endOfTurn(() => console.log('the other'))`,
  )
  let heard = ''
  running.stdout!.on('data', (bytes) => {
    heard += bytes
  })
  await once(running, 'close')
  assert.deepEqual(heard.trim().split('\n').sort(), ['caught', 'the other'])
})

linuxOnly(
  'where there can be no directory, and where a file is, making one is refused in words, and not asked for ever',
  async () => {
    await withDirectory(async (directory) => {
      const { disk } = nodePlatform()
      const refused = (path: string): Promise<string> =>
        new Promise((resolve) => disk.makeDirectory(path, (error) => resolve(`${error?.code}: ${error?.message}`)))
      assert.match(
        await refused('/proc/x/y'),
        /^DISK_NOT_FOUND: cannot create the directory \/proc\/x.*name a place on a disk$/,
      )
      const file = join(directory, 'file')
      await writeFile(file, '')
      assert.equal(
        await refused(file),
        `DISK_EXISTS: cannot create the directory ${file}: a file has this name; move it away`,
      )
      assert.match(
        await refused(join(file, 'below', 'it')),
        /^DISK_FAILED: .*what should be a folder is a file; move it away/,
      )
      // It exists, which each of its kinds of system says in its own way.
      assert.equal(await refused('/'), 'undefined: undefined')
      assert.equal(await refused('/proc/self'), 'undefined: undefined')
    })
  },
)

linuxOnly('a pipe with a name is opened at once, and has nothing in it', async () => {
  await withDirectory(async (directory) => {
    const path = join(directory, 'pipe')
    execFileSync('mkfifo', [path])
    const { clock, disk } = nodePlatform()
    const drive = realDrive(clock)
    const file = await answer<DiskFile>(drive, (done) => disk.open(path, 'read', done))
    assert.equal(await answer<number>(drive, (done) => file.size(done)), 0)
    await answer(drive, (done) => file.close(done))
  })
})
