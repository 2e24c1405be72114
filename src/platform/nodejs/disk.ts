/**
 * Files by way of Node.js' callback API: each call is one trip through the thread pool, none blocks the loop.
 *
 * Three things are easy to get wrong here. A short write is no error to Node.js, so bytes are counted and the rest is
 * written again, until the kernel says why it will not take it. A file that `fsync` made durable can still vanish with its
 * name, so directories are synced too, by opening them read-only. And a descriptor number is reused as soon as it is
 * closed, so a closed file forgets its number before it gives it back.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { assert } from '../../stdx/index.ts'
import type { Disk, DiskCallback, DiskFile, DiskSpace, OpenMode } from '../disk.ts'
import { directoryError, diskError, syncError } from '../errno.ts'
import type { PlatformError } from '../errors.ts'
import { claimDirectory } from './claim.ts'
import { NodeFile } from './file.ts'

/** A pipe with a name would be waited for until somebody writes into it, and would hold a thread meanwhile. Not on Windows. */
const NO_WAIT = fs.constants.O_NONBLOCK ?? 0

const OPEN_FLAGS: Record<OpenMode, number> = {
  read: fs.constants.O_RDONLY | NO_WAIT,
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT,
  exclusive: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
}

const SPACE_UNKNOWN: ReadonlySet<string> = new Set(['ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES'])

export class NodeDisk implements Disk {
  makeDirectory(path: string, done: DiskCallback<void>): void {
    makeDirectory(path, (error) => done(error && directoryError(path, error)))
  }

  list(path: string, done: DiskCallback<string[]>): void {
    fs.readdir(path, (error, names) => {
      if (error) done(diskError(path, 'list', error))
      else done(null, names.sort())
    })
  }

  open(path: string, mode: OpenMode, done: DiskCallback<DiskFile>): void {
    fs.open(path, OPEN_FLAGS[mode], 0o644, (error, descriptor) => {
      if (error) done(diskError(path, 'open', error))
      else done(null, new NodeFile(path, descriptor))
    })
  }

  rename(from: string, to: string, done: DiskCallback<void>): void {
    fs.rename(from, to, (error) => done(error && diskError(from, `rename to ${to} the file`, error)))
  }

  remove(path: string, done: DiskCallback<void>): void {
    fs.unlink(path, (error) => done(error && diskError(path, 'remove', error)))
  }

  /** rmdir(2) takes nothing but an empty one, so nobody's late file goes with it. */
  removeDirectory(path: string, done: DiskCallback<void>): void {
    fs.rmdir(path, (error) => done(error && diskError(path, 'remove the directory', error)))
  }

  /** Windows keeps names durable by itself and cannot open a directory. */
  syncDirectory(path: string, done: DiskCallback<void>): void {
    if (process.platform === 'win32') return void setImmediate(done, null)
    fs.open(path, fs.constants.O_RDONLY, (error, descriptor) => {
      if (error) return done(diskError(path, 'sync the directory', error))
      fs.fsync(descriptor, (failure) => {
        fs.close(descriptor, () => done(failure && syncError(path, 'sync the directory', failure)))
      })
    })
  }

  /** Some file systems (FUSE, network shares) have no answer, or answer with zeros; sandboxes forbid the question. */
  space(path: string, done: DiskCallback<DiskSpace | null>): void {
    fs.statfs(path, (error, stats) => {
      if (error) {
        if (SPACE_UNKNOWN.has(error.code ?? '')) done(null, null)
        else done(diskError(path, 'measure the free space of', error))
      } else if (stats.blocks === 0) done(null, null)
      else done(null, { freeBytes: stats.bavail * stats.bsize, totalBytes: stats.blocks * stats.bsize })
    })
  }

  claim(path: string, done: DiskCallback<{ release(done: () => void): void }>): void {
    assert(path.length > 0, 'a claim names a directory')
    claimDirectory(path, (error: PlatformError | null, release) => {
      if (error || !release) done(error)
      else done(null, { release })
    })
  }
}

/**
 * With its parents. Node.js' own `recursive` asks for ever where the parent exists and the system says ENOENT nevertheless, as in
 * /proc: here each is asked for once more, when its parent is there.
 */
function makeDirectory(path: string, done: (error: NodeJS.ErrnoException | null) => void): void {
  fs.mkdir(path, (error) => {
    if (error === null) return done(null)
    const parent = dirname(path)
    if (error.code !== 'ENOENT' || parent === path) return ifNoDirectory(path, error, done)
    makeDirectory(parent, (failure) => {
      if (failure !== null) return done(failure)
      fs.mkdir(path, (again) => (again === null ? done(null) : ifNoDirectory(path, again, done)))
    })
  })
}

/** That it exists is said in different words for roots, for file systems that are read-only, and by each system. */
function ifNoDirectory(
  path: string,
  error: NodeJS.ErrnoException,
  done: (error: NodeJS.ErrnoException | null) => void,
): void {
  fs.stat(path, (failure, stats) => done(failure === null && stats.isDirectory() ? null : error))
}
