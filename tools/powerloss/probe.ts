/**
 * Can this machine lose the power of a file system? Whoever cannot is told what is missing. The last question is the whole thing
 * in small: a file that was synced must be there after a power loss, and one that was not must be gone. A kernel that keeps
 * both would make every cycle a success that proves nothing.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isInstalled } from './commands.ts'
import { Disks, type FileSystem } from './disks.ts'
import { discard, makeRunDirectory } from './leftovers.ts'
import { type PowerSwitch, powerSwitches } from './power-switch.ts'

const PROBE_BYTES = 320 << 20
/** Three disks, none of them full. */
const ROOM_BYTES = 2 ** 31
/** Commands and the Debian packages that they come with. */
const NEEDED = [
  ['mount', 'mount'],
  ['umount', 'mount'],
  ['losetup', 'mount'],
  ['mkfs.ext4', 'e2fsprogs'],
  ['mkfs.xfs', 'xfsprogs'],
] as const
const TMPFS = 0x0102_1994

/** Where images go: memory if there is enough, since nothing of them has to outlive the machine. */
export function imageParent(): string {
  try {
    const { type, bavail, bsize } = fs.statfsSync('/dev/shm')
    if (type === TMPFS && bavail * bsize >= ROOM_BYTES) return '/dev/shm'
  } catch {
    // no such place
  }
  return os.tmpdir()
}

/** A way to take the power from all of these file systems, or what is missing. */
export async function probe(parent: string, fileSystems: readonly FileSystem[]): Promise<PowerSwitch | string> {
  if (process.platform !== 'linux') return `Linux (this is ${process.platform})`
  if (process.getuid?.() !== 0) return 'root, who alone may mount'
  for (const [name, from] of NEEDED.filter(
    ([name]) => !name.startsWith('mkfs.') || fileSystems.some((each) => name.endsWith(each)),
  )) {
    if (!isInstalled(name)) return `the command ${name} (package ${from})`
  }
  const candidates = powerSwitches()
  if (candidates.length === 0) return 'python3, xfs_io or perl, one of which calls the ioctl'
  let missing = ''
  for (const powerSwitch of candidates) {
    const failure = await tryOut(parent, fileSystems, powerSwitch)
    if (failure === null) return powerSwitch
    missing ||= failure
  }
  return missing
}

async function tryOut(
  parent: string,
  fileSystems: readonly FileSystem[],
  powerSwitch: PowerSwitch,
): Promise<string | null> {
  const directory = makeRunDirectory(parent)
  try {
    const disks = await Disks.make(directory, fileSystems, powerSwitch, PROBE_BYTES)
    for (const [i, fileSystem] of fileSystems.entries()) {
      const mount = disks.mountOf(i + 1)
      write(path.join(mount, 'synced'), true)
      write(path.join(mount, 'not-synced'), false)
      await disks.cut([i + 1])
      await disks.remount([i + 1])
      if (!fs.existsSync(path.join(mount, 'synced'))) return `an ${fileSystem} that keeps what was synced`
      if (fs.existsSync(path.join(mount, 'not-synced')))
        return `an ${fileSystem} that forgets what was not synced when its power goes (by ${powerSwitch.name})`
    }
    return null
  } catch (error) {
    return `loop devices, file systems on them, and the ioctl (${(error as Error).message})`
  } finally {
    discard(directory)
  }
}

function write(file: string, synced: boolean): void {
  const descriptor = fs.openSync(file, 'w')
  fs.writeSync(descriptor, 'tidemark')
  if (synced) fs.fsyncSync(descriptor)
  fs.closeSync(descriptor)
}
