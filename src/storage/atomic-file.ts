/**
 * Small files that are replaced as a whole, and read as a whole.
 *
 * A file that is overwritten in place can be found half old and half new. So the new bytes go to a name beside it, are
 * synced, and take over the name; and since a rename is itself only a change to the directory, the directory is synced too
 * (Pillai et al., "All File Systems Are Not Created Equal", OSDI '14, found most violations in exactly these steps). Only
 * then is the file said to be replaced.
 *
 *     write x.tmp ── sync x.tmp ── rename x.tmp → x ── sync directory
 *          crash: old x        crash: old x      crash: old or new x, both whole
 */
import { dirname } from 'node:path'
import type { Disk, DiskFile } from '../platform/index.ts'
import { call, type Procedure } from './procedure.ts'

export function* replaceFile(disk: Disk, path: string, parts: readonly Uint8Array[]): Procedure<void> {
  const temporary = `${path}.tmp`
  const file = yield* call<DiskFile>((done) => disk.open(temporary, 'create', done))
  try {
    yield* call<void>((done) => file.truncate(0, done))
    yield* call<void>((done) => file.write(parts, 0, done))
    yield* call<void>((done) => file.datasync(done))
  } finally {
    yield* call<void>((done) => file.close(() => done(null)))
  }
  yield* call<void>((done) => disk.rename(temporary, path, done))
  yield* call<void>((done) => disk.syncDirectory(dirname(path), done))
}

/** Its name is durable: what is put there is not lost with it. */
export function* makeFolder(disk: Disk, folder: string): Procedure<void> {
  yield* call<void>((done) => disk.makeDirectory(folder, done))
  yield* call<void>((done) => disk.syncDirectory(dirname(folder), done))
}

/** At most `maxBytes`: a file that claims to be longer is not one of ours. */
export function* readFile(disk: Disk, path: string, maxBytes: number): Procedure<Buffer> {
  const file = yield* call<DiskFile>((done) => disk.open(path, 'read', done))
  try {
    const size = yield* call<number>((done) => file.size(done))
    const bytes = Buffer.allocUnsafeSlow(Math.min(size, maxBytes))
    const count = yield* call<number>((done) => file.read(bytes, 0, done))
    return bytes.subarray(0, count)
  } finally {
    yield* call<void>((done) => file.close(() => done(null)))
  }
}
