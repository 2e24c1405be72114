/** The platform's disk as promises: a backup has no hot path, and its steps are read from top to bottom. */
import { dirname } from 'node:path'
import type { Disk, DiskCallback, DiskFile, OpenMode } from '../platform/index.ts'

export function promised<T>(start: (done: DiskCallback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, value) => (error === null ? resolve(value as T) : reject(error))),
  )
}

export async function withFile<T>(
  disk: Disk,
  path: string,
  mode: OpenMode,
  use: (file: DiskFile) => Promise<T>,
): Promise<T> {
  const file = await promised<DiskFile>((done) => disk.open(path, mode, done))
  try {
    return await use(file)
  } finally {
    await promised<void>((done) => file.close(done))
  }
}

export async function readAt(file: DiskFile, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  const count = await promised<number>((done) => file.read(bytes, position, done))
  return bytes.subarray(0, count)
}

/** Written beside it, synced, renamed: there is the old one or the new one, whole (see storage/atomic-file.ts). */
export async function replaceWhole(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  const temporary = `${path}.tmp`
  await withFile(disk, temporary, 'create', async (file) => {
    await promised<void>((done) => file.truncate(0, done))
    await promised<void>((done) => file.write([bytes], 0, done))
    await promised<void>((done) => file.datasync(done))
  })
  await promised<void>((done) => disk.rename(temporary, path, done))
  await promised<void>((done) => disk.syncDirectory(dirname(path), done))
}
