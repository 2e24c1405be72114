/**
 * One process per data directory.
 *
 * The claim of a process that was killed must be void at once, or a restart would be refused by its own ghost. Node.js has
 * no `flock`, but Linux has sockets without a file: an abstract name belongs to whoever listens on it and is freed by the
 * kernel with the process. The name is made of the directory's device and inode, so that two paths to one directory (a
 * link, a bind mount) are one claim. Abstract names live in a network namespace: two containers with networks of their own
 * that mount one volume do not see each other's claim.
 *
 * Elsewhere a file beside the directory holds the process id, and a claim whose process is dead is taken over.
 */
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { diskError } from '../errno.ts'
import { PlatformError } from '../errors.ts'

type Release = (done: () => void) => void
type Claimed = (error: PlatformError | null, release?: Release) => void

export function claimDirectory(path: string, done: Claimed): void {
  if (process.platform === 'linux') claimByAbstractSocket(path, done)
  else claimByFile(`${path}.lock`, path, done)
}

function inUse(path: string, holder: string, cause?: unknown): PlatformError {
  return new PlatformError(
    { code: 'DISK_IN_USE', path },
    `cannot use ${path}: ${holder} holds this directory; stop it, or give this one a directory of its own`,
    { cause },
  )
}

function claimByAbstractSocket(path: string, done: Claimed): void {
  fs.stat(path, { bigint: true }, (error, stats) => {
    if (error) return done(diskError(path, 'claim', error))
    const server = createServer((socket) => socket.destroy())
    let listening = false
    server.on('error', (failure: NodeJS.ErrnoException) => {
      if (listening) return // A caller that could not be accepted: the claim stands.
      if (failure.code === 'EADDRINUSE') done(inUse(path, 'another process', failure))
      else done(diskError(path, 'claim', failure))
    })
    server.listen({ path: `\0tidemark-${stats.dev}-${stats.ino}`, exclusive: true }, () => {
      listening = true
      server.unref()
      done(null, (released) => server.close(() => released()))
    })
  })
}

/** Exported for its test, which runs on Linux too. */
export function claimByFile(lockPath: string, path: string, done: Claimed, attempts = 3): void {
  // The start of the process tells a reused process id from our own second claim.
  const self = `${process.pid} ${Math.round(performance.timeOrigin)}\n`
  fs.writeFile(lockPath, self, { flag: 'wx' }, (error) => {
    if (!error) return done(null, (released) => fs.unlink(lockPath, () => released()))
    if (error.code !== 'EEXIST') return done(diskError(lockPath, 'claim', error))
    fs.readFile(lockPath, 'utf8', (failure, holder) => {
      if (failure && failure.code !== 'ENOENT') return done(diskError(lockPath, 'claim', failure))
      const pid = Number.parseInt(holder ?? '', 10)
      if (holder === self) return done(inUse(path, 'this process'))
      if (attempts === 0 || (pid !== process.pid && isAlive(pid))) return done(inUse(path, `process ${pid}`))
      fs.unlink(lockPath, () => claimByFile(lockPath, path, done, attempts - 1))
    })
  })
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
