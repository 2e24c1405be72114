/**
 * Every file says which version wrote it and from which version on it can be read:
 *
 *     u16 version        the writer's
 *     u16 readableFrom   the lowest reader's version that understands it
 *
 * A reader takes a file when its own version is at least `readableFrom`; so a later version may add what an older reader can
 * skip, and an older reader refuses, by name, what it cannot.
 */
import { StorageError } from './errors.ts'

/** The version of all files that this program writes. */
export const FORMAT_VERSION = 1

export function writeVersions(into: Buffer, at: number): void {
  into.writeUInt16LE(FORMAT_VERSION, at)
  into.writeUInt16LE(1, at + 2)
}

export function readable(from: Buffer, at: number): boolean {
  return from.readUInt16LE(at + 2) <= FORMAT_VERSION
}

export function newerFormat(file: string, from: Buffer, at: number): StorageError {
  const found = from.readUInt16LE(at + 2)
  return new StorageError(
    { code: 'NEWER_FORMAT', file, found, supported: FORMAT_VERSION },
    `${file} was written by a newer Tidemark: it needs format ${found}, this one reads up to ${FORMAT_VERSION}. ` +
      'Start the newer version on this directory.',
  )
}
