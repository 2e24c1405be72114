/**
 * Nothing of a run may stay behind: no process, mount, loop device or image, however the run ended. All of it is recognised by
 * one path, the run's directory, which also names the process that owns it. So the clean-up of a run that ended well, of one
 * that was interrupted, and, by the next run, of one that was killed, is the same. It is synchronous: it also runs on the way
 * out of the process.
 */
import fs from 'node:fs'
import path from 'node:path'
import { succeeds } from './commands.ts'

const MARKER = 'tidemark-powerloss-'
const TRIES = 100
const TRY_AGAIN_AFTER_MS = 20

export function makeRunDirectory(parent: string): string {
  return fs.mkdtempSync(path.join(parent, `${MARKER}${process.pid}-`))
}

/** Directories of runs whose process is no more. */
export function abandoned(names: readonly string[], isAlive: (pid: number) => boolean): string[] {
  return names.filter((name) => {
    const pid = new RegExp(`^${MARKER}(\\d+)-`).exec(name)?.[1]
    return pid !== undefined && !isAlive(Number(pid))
  })
}

/** Of the text of /proc/self/mounts: what is mounted below the directory, the last first. */
export function mountsBelow(mounts: string, directory: string): string[] {
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${directory}/`))
    .reverse()
}

/** What runs left behind whose process is no more. */
export function sweep(parent: string): string[] {
  return discardAll(parent, abandoned(fs.readdirSync(parent), isAlive))
}

/** What this process leaves behind. */
export function discardOwn(parent: string): void {
  discardAll(
    parent,
    abandoned(fs.readdirSync(parent), (pid) => pid !== process.pid),
  )
}

function discardAll(parent: string, names: readonly string[]): string[] {
  const directories = names.map((name) => path.join(parent, name))
  for (const directory of directories) discard(directory)
  return directories
}

export function discard(directory: string): void {
  for (const pid of processesOf(directory)) kill(pid)
  for (const mount of mountsBelow(fs.readFileSync('/proc/self/mounts', 'utf8'), directory)) {
    // Busy for as long as a process that was killed is on its way out.
    let unmounted = false
    for (let i = 0; i < TRIES && !unmounted; i++) {
      if (i > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TRY_AGAIN_AFTER_MS)
      unmounted = succeeds('umount', mount)
    }
    if (!unmounted) succeeds('umount', '-l', mount)
  }
  for (const device of loopDevicesOf(directory)) succeeds('losetup', '-d', device)
  fs.rmSync(directory, { recursive: true, force: true })
}

function loopDevicesOf(directory: string): string[] {
  const loops = fs.readdirSync('/sys/block').filter((name) => name.startsWith('loop'))
  return loops.flatMap((name) => {
    try {
      const file = fs.readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8')
      return file.startsWith(`${directory}/`) ? [`/dev/${name}`] : []
    } catch {
      return [] // in nobody's use
    }
  })
}

/** Those that were started with a path below the directory. */
function processesOf(directory: string): number[] {
  return fs.readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const args = fs.readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      return args.some((arg) => arg.startsWith(`${directory}/`)) ? [Number(name)] : []
    } catch {
      return [] // ended meanwhile
    }
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
