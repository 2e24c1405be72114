/**
 * The damaged bytes of a small file go to the quarantine before the file is written again from the other one: somebody may want to
 * know what a disk has made of them.
 *
 *     terms, damaged ── copied to quarantine/terms-7f3a91c2 ── terms is replaced
 *          crash: found damaged again        crash: found damaged again, and put aside under the same name
 *
 * A copy and no rename: a running node may be replacing the file at this moment, and what it has written must stay where it is. The
 * name ends with the sum of the bytes, so the same damage is kept once.
 */
import { basename, join } from 'node:path'
import type { Disk } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import { makeFolder, replaceFile } from './atomic-file.ts'
import { quarantineDirectory } from './layout.ts'
import type { Procedure } from './procedure.ts'
import { namesIn } from './shard-folders.ts'

/** Of each file. The first ones say what there is to say; a disk that rots every day is not to fill itself with it. */
export const PUT_ASIDE_MAX = 16

/** Where they are now; null where nothing was kept. */
export function* putAside(disk: Disk, directory: string, file: string, bytes: Buffer): Procedure<string | null> {
  if (bytes.length === 0) return null
  const folder = quarantineDirectory(directory)
  const prefix = `${basename(file)}-`
  const name = `${prefix}${crc32c(bytes).toString(16).padStart(8, '0')}`
  const path = join(folder, name)
  yield* makeFolder(disk, folder)
  const kept = (yield* namesIn(disk, folder)).filter((other) => other.startsWith(prefix) && !other.endsWith('.tmp'))
  if (kept.includes(name)) return path
  if (kept.length >= PUT_ASIDE_MAX) return null
  yield* replaceFile(disk, path, [bytes])
  return path
}
