/** What the operating system answers, in the words of the platform's one error table. */
import { PlatformError } from './errors.ts'

/** What may be done about it, where the system's own words do not say. */
const ADVICE: Readonly<Record<string, string>> = {
  EISDIR: 'it is a folder, and a file belongs there; move it away',
  ENOTDIR: 'what should be a folder is a file; move it away',
  EMFILE: 'this process has too many files open; raise its limit (ulimit -n)',
  ENFILE: 'this machine has too many files open; raise its limit (fs.file-max)',
  EIO: 'the device failed; look at the log of the system',
  ESTALE: 'the file system under it went away; mount it again',
}

/** An error of a file call as a typed error. `operation` is the attempted action, in words. */
export function diskError(path: string, operation: string, error: NodeJS.ErrnoException): PlatformError {
  const errno = error.code ?? 'UNKNOWN'
  const options = { cause: error }
  switch (errno) {
    case 'ENOENT':
      return new PlatformError(
        { code: 'DISK_NOT_FOUND', path },
        `cannot ${operation} ${path}: it does not exist`,
        options,
      )
    case 'EEXIST':
      return new PlatformError({ code: 'DISK_EXISTS', path }, `cannot ${operation} ${path}: it exists already`, options)
    case 'ENOTEMPTY':
      return new PlatformError(
        { code: 'DISK_NOT_EMPTY', path },
        `cannot ${operation} ${path}: it is not empty`,
        options,
      )
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return diskFull(path, operation, errno, options)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PlatformError(
        { code: 'DISK_DENIED', path },
        `cannot ${operation} ${path}: permission denied (${errno}); check the owner and the mode of the path`,
        options,
      )
    default:
      return new PlatformError(
        { code: 'DISK_FAILED', path, operation, errno },
        `cannot ${operation} ${path}: ${reason(errno, error)}`,
        options,
      )
  }
}

/** Of making a directory, where the system's words are about another one, or about none. */
export function directoryError(path: string, error: NodeJS.ErrnoException): PlatformError {
  const said = (details: PlatformError['details'], why: string): PlatformError =>
    new PlatformError(details, `cannot create the directory ${path}: ${why}`, { cause: error })
  if (error.code === 'EEXIST') return said({ code: 'DISK_EXISTS', path }, 'a file has this name; move it away')
  if (error.code === 'ENOENT')
    return said({ code: 'DISK_NOT_FOUND', path }, 'its file system has none but its own; name a place on a disk')
  return diskError(path, 'create the directory', error)
}

/**
 * Of a sync. Whatever the errno, nothing is known about any un-synced byte: delayed allocation and quotas can make it ENOSPC, and
 * whoever waited for room and synced again would be told a lie ("fsyncgate").
 */
export function syncError(path: string, operation: string, error: NodeJS.ErrnoException): PlatformError {
  const errno = error.code ?? 'UNKNOWN'
  const details = { code: 'DISK_FAILED', path, operation, errno } as const
  return new PlatformError(details, `cannot ${operation} ${path}: ${reason(errno, error)}`, { cause: error })
}

function reason(errno: string, error: NodeJS.ErrnoException): string {
  const advice = ADVICE[errno]
  return advice === undefined ? error.message : `${advice} (${errno})`
}

export function diskFull(path: string, operation: string, why: string, options?: { cause: unknown }): PlatformError {
  return new PlatformError(
    { code: 'DISK_FULL', path },
    `cannot ${operation} ${path}: the disk, its quota or the file size limit is exhausted (${why})`,
    options,
  )
}

export function listenError(host: string, port: number, error: NodeJS.ErrnoException): PlatformError {
  if (error.code === 'EADDRINUSE') {
    return new PlatformError(
      { code: 'ADDRESS_IN_USE', host, port },
      `cannot listen on ${host}:${port}: another program uses this port`,
      { cause: error },
    )
  }
  return new PlatformError(
    { code: 'ADDRESS_INVALID', host, port },
    `cannot listen on ${host}:${port}: ${error.message}`,
    {
      cause: error,
    },
  )
}

export function connectError(host: string, port: number, error: NodeJS.ErrnoException): PlatformError {
  const options = { cause: error }
  switch (error.code) {
    case 'ECONNREFUSED':
      return new PlatformError(
        { code: 'CONNECTION_REFUSED', host, port },
        `cannot connect to ${host}:${port}: nothing listens there`,
        options,
      )
    case 'ENOTFOUND':
    case 'EADDRNOTAVAIL':
    case 'EINVAL':
    case 'ERR_SOCKET_BAD_PORT':
      return new PlatformError(
        { code: 'ADDRESS_INVALID', host, port },
        `cannot connect to ${host}:${port}: ${error.message}`,
        options,
      )
    default:
      return new PlatformError(
        { code: 'CONNECTION_LOST', reason: error.code ?? error.message },
        `cannot connect to ${host}:${port}: ${error.message}`,
        options,
      )
  }
}
