/**
 * The disk as the storage layer may use it. All calls complete by callback, in a later turn than the call; none throws for
 * what a disk can do wrong. What is guaranteed, on the real one and the simulated one alike:
 *
 *   - `write` is durable only once a `datasync` or `sync` *that started after the write completed* has succeeded;
 *   - a new, renamed or removed *name* is durable only after `syncDirectory` of its directory;
 *   - un-synced writes may survive a power loss in part and in any order, at any 512-byte sector;
 *   - after a failed `datasync` nothing is known about any un-synced byte, and a later success does not heal that: the
 *     caller must stop (storage trap "fsyncgate").
 */
export interface Disk {
  /** Creates the directory and its parents. Succeeds if it exists. */
  makeDirectory(path: string, done: DiskCallback<void>): void
  /** Names in the directory, sorted. */
  list(path: string, done: DiskCallback<string[]>): void
  /** Opens a file for reading and writing. `create` makes it when missing; `exclusive` refuses one that exists. */
  open(path: string, mode: OpenMode, done: DiskCallback<DiskFile>): void
  rename(from: string, to: string, done: DiskCallback<void>): void
  /** A file; never a directory. */
  remove(path: string, done: DiskCallback<void>): void
  /**
   * A directory in which nothing is: `DISK_NOT_EMPTY` otherwise, and never what is in it. Gone for good once the directory above
   * is synced; a power loss before may bring it back, and with it every name whose removal was not synced in it.
   */
  removeDirectory(path: string, done: DiskCallback<void>): void
  /** Makes the names in this directory durable. */
  syncDirectory(path: string, done: DiskCallback<void>): void
  /** Of this directory's file system. null: it does not say, which is not the same as having none. */
  space(path: string, done: DiskCallback<DiskSpace | null>): void
  /**
   * Takes the directory for this process until it ends or `release` is called; `DISK_IN_USE` when another holds it. The
   * claim of a killed process is void at once.
   */
  claim(path: string, done: DiskCallback<{ release(done: () => void): void }>): void
}

export interface DiskSpace {
  /** For unprivileged writers. */
  readonly freeBytes: number
  readonly totalBytes: number
}

export type OpenMode = 'read' | 'write' | 'create' | 'exclusive'

export interface DiskFile {
  readonly path: string
  /**
   * Writes all the buffers, one after the other, at `position`. A short write (Node.js reports one without an exception when
   * the disk fills) is continued; if it cannot be, the error is `DISK_FULL` and the bytes in the range are unknown. No other
   * byte is touched: the same write may be tried again.
   */
  write(buffers: readonly Uint8Array[], position: number, done: DiskCallback<void>): void
  /** Reads up to `into.length` bytes; fewer only at the end of the file. */
  read(into: Uint8Array, position: number, done: DiskCallback<number>): void
  /**
   * Makes all completed writes durable, and the size when it changed. Never `DISK_FULL`: a sync that failed for lack of room is as
   * final as any other, and must not look like something that can be tried again.
   */
  datasync(done: DiskCallback<void>): void
  /** Sets the length; a longer file reads as zeros there. Durable after `datasync`. */
  truncate(length: number, done: DiskCallback<void>): void
  size(done: DiskCallback<number>): void
  close(done: DiskCallback<void>): void
}

/** `done(null, value)` or `done(error)`. Called exactly once, never synchronously. */
export type DiskCallback<T> = (error: PlatformError | null, value?: T) => void

import type { PlatformError } from './errors.ts'
