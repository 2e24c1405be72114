/**
 * One machine's disk in memory: for embedded clusters, tests and the simulator.
 *
 * It keeps every promise of `Disk` and none beyond: calls complete in order, at the end of a later turn; un-synced bytes and
 * un-synced names are known as such, so that `powerLoss` can lose them, keep them or tear them. A `datasync` covers the
 * writes that were *complete* when it started, not those under way.
 *
 * A crash ends a `MemoryDisk` as it ends a process: no call that was under way completes, later calls do nothing, and what
 * survived is handed out as a new `MemoryDisk`. So a node that was killed in a test cannot write to the disk of its successor.
 */
import { assert } from '../../stdx/index.ts'
import type { Clock } from '../clock.ts'
import type { Disk, DiskCallback, DiskFile, DiskSpace, OpenMode } from '../disk.ts'
import { diskError, diskFull, syncError } from '../errno.ts'
import { PlatformError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { DiskCondition, DiskFault, DiskOperation, DiskTrouble } from './condition.ts'
import { Directory, type Inode, type Node } from './directory.ts'
import { Pages, type SectorLoss } from './pages.ts'
import { Platter } from './platter.ts'

export interface MemoryDiskOptions {
  /** Above this writes answer DISK_FULL, after what fits was written. */
  readonly capacityBytes?: number
  /** The device's size, as `space` tells it; `capacityBytes` where not said. */
  readonly totalBytes?: number
  /**
   * Whether a power loss can be asked for. Without it writes and names count as durable at once and nothing is kept of what
   * they replaced.
   */
  readonly powerLoss?: boolean
}

interface Call {
  readonly operation: DiskOperation
  readonly path: string
  /** For reads and writes. */
  readonly position: number
  readonly bytes: number
  /** Takes effect; what it returns is the callback's value. Throws a PlatformError to refuse. */
  readonly act: (trouble: DiskTrouble | null) => unknown
  readonly done: DiskCallback<never>
  /** When a fault is injected instead. */
  readonly failed: (() => void) | undefined
}

/** What a call knows of itself beyond its operation and path. */
interface Extent {
  readonly position?: number
  readonly bytes?: number
  readonly failed?: () => void
}

export class MemoryDisk implements Disk {
  /** Asked before each operation takes effect. Ends with the disk. */
  fault: DiskFault | null = null
  /** What ails the device: asked like `fault`, and handed on to what survives a crash. */
  condition: DiskCondition | null = null
  /** May be changed at any time, as if somebody else filled the disk or made room. */
  capacityBytes: number
  /** What `space` answers is that nobody knows. */
  spaceUnknown = false

  readonly #totalBytes: number
  readonly #clock: Clock
  readonly #tracks: boolean
  readonly #root: Directory
  readonly #claims = new Set<Node>()
  #usedBytes: number
  #calls: Call[] = []
  /** Stuck, and whatever came behind them for the same path. */
  #held: Call[] = []
  #scheduled = false
  #dead = false

  constructor(options: MemoryDiskOptions, collaborators: { clock: Clock }, survived?: Directory) {
    this.#clock = collaborators.clock
    this.capacityBytes = options.capacityBytes ?? 2 ** 40
    this.#totalBytes = options.totalBytes ?? this.capacityBytes
    this.#tracks = options.powerLoss ?? true
    this.#root = survived ?? new Directory(this.#tracks)
    this.#usedBytes = survived?.settle() ?? 0
  }

  /** Bytes that files take, as `space` counts them. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** The process ends, the machine goes on: what was written is there, calls under way took effect or did not. */
  kill(random: Random): MemoryDisk {
    for (const call of this.#die()) if (random.below(2) === 1) attempt(call)
    return this.#successor()
  }

  /** The machine ends: of what was not synced anything may be left; with `sectors`, also halves of sectors and noise. */
  powerLoss(random: Random, sectors?: SectorLoss): MemoryDisk {
    assert(this.#tracks, 'this disk does not track what a power loss would take')
    for (const call of this.#die()) if (random.below(2) === 1) attempt(call)
    this.#root.losePower(random, sectors)
    const successor = this.#successor()
    // What came back was nobody else's meanwhile: blocks are free for others when their removal is on the disk.
    successor.capacityBytes += Math.max(0, successor.usedBytes - this.#usedBytes)
    return successor
  }

  /** The machine ends, and comes back with another disk: an earlier state of one, or an empty one. */
  replacedBy(platter: Platter | null): MemoryDisk {
    this.#die()
    return this.#successor(platter === null ? new Directory(this.#tracks) : platter.directory())
  }

  /** Everything becomes durable, un-synced names and bytes included: a volatile cache that had the time to drain. */
  drain(): void {
    this.#root.drain()
  }

  /** Lets go of what is stuck, in its order. */
  release(): void {
    if (this.#held.length === 0) return
    this.#calls.unshift(...this.#held)
    this.#held = []
    this.#schedule()
  }

  /** Calls that are stuck, or wait behind one. */
  get heldCalls(): number {
    return this.#held.length
  }

  /** What lies on the device, to be looked at and damaged beneath whatever runs on it. */
  get platter(): Platter {
    return new Platter(this.#root, this.#tracks, (change) => {
      const before = this.#root.allocatedBytes()
      change()
      this.#usedBytes += this.#root.allocatedBytes() - before
    })
  }

  #die(): Call[] {
    assert(!this.#dead, 'this disk has crashed before; the one that survived has its content')
    this.#dead = true
    const calls = [...this.#held, ...this.#calls]
    this.#held = []
    this.#calls = []
    return calls
  }

  #successor(root = this.#root): MemoryDisk {
    const options = { capacityBytes: this.capacityBytes, totalBytes: this.#totalBytes, powerLoss: this.#tracks }
    const successor = new MemoryDisk(options, { clock: this.#clock }, root)
    successor.condition = this.condition
    successor.spaceUnknown = this.spaceUnknown
    return successor
  }

  makeDirectory(path: string, done: DiskCallback<void>): void {
    this.#submit('makeDirectory', path, done, () => {
      let directory = this.#root
      for (const name of parts(path)) {
        const next = directory.entries.get(name) ?? new Directory(this.#tracks)
        if (!(next instanceof Directory)) throw refusal(path, 'create the directory', 'EEXIST')
        if (!directory.entries.has(name)) directory.set(name, next)
        directory = next
      }
    })
  }

  list(path: string, done: DiskCallback<string[]>): void {
    this.#submit('list', path, done, () => [...this.#directory(path, 'list').entries.keys()].sort())
  }

  open(path: string, mode: OpenMode, done: DiskCallback<DiskFile>): void {
    this.#submit('open', path, done, () => {
      const { parent, name } = this.#locate(path, 'open')
      let node = parent.entries.get(name)
      if (node instanceof Directory) throw refusal(path, 'open', 'EISDIR')
      if (node !== undefined && mode === 'exclusive') throw refusal(path, 'open', 'EEXIST')
      if (node === undefined) {
        if (mode === 'read' || mode === 'write') throw refusal(path, 'open', 'ENOENT')
        node = { pages: new Pages(this.#tracks), links: 1, opens: 0 }
        parent.set(name, node)
      }
      return this.#handle(path, node, mode !== 'read')
    })
  }

  rename(from: string, to: string, done: DiskCallback<void>): void {
    this.#submit('rename', from, done, () => {
      const source = this.#locate(from, `rename to ${to} the file`)
      const target = this.#locate(to, `rename ${from} to`)
      const node = source.parent.entries.get(source.name)
      if (node === undefined) throw refusal(from, `rename to ${to} the file`, 'ENOENT')
      const replaced = target.parent.entries.get(target.name)
      if (replaced === node) return
      if (replaced instanceof Directory) throw refusal(to, `rename ${from} to`, 'EEXIST')
      source.parent.moveTo(source.name, target.parent, target.name)
      if (replaced !== undefined) this.#unlinked(replaced)
    })
  }

  remove(path: string, done: DiskCallback<void>): void {
    this.#submit('remove', path, done, () => {
      const { parent, name } = this.#locate(path, 'remove')
      const node = parent.entries.get(name)
      if (node === undefined) throw refusal(path, 'remove', 'ENOENT')
      if (node instanceof Directory) throw refusal(path, 'remove', 'EISDIR')
      parent.delete(name)
      this.#unlinked(node)
    })
  }

  removeDirectory(path: string, done: DiskCallback<void>): void {
    this.#submit('removeDirectory', path, done, () => {
      const operation = 'remove the directory'
      const { parent, name } = this.#locate(path, operation)
      const node = parent.entries.get(name)
      if (node === undefined) throw refusal(path, operation, 'ENOENT')
      if (!(node instanceof Directory)) throw refusal(path, operation, 'ENOTDIR')
      if (node.entries.size > 0) throw refusal(path, operation, 'ENOTEMPTY')
      parent.delete(name)
    })
  }

  syncDirectory(path: string, done: DiskCallback<void>): void {
    // Only what was complete at the start is covered; what the directory is, is looked up when the call takes effect.
    const started = this.#find(path)
    const point = started instanceof Directory ? started.startSync() : 0
    this.#submit('syncDirectory', path, done, (trouble) => {
      const directory = this.#directory(path, 'sync the directory')
      if (directory === started && trouble?.kind !== 'lie') directory.endSync(point)
    })
  }

  space(path: string, done: DiskCallback<DiskSpace | null>): void {
    this.#submit('space', path, done, () => {
      if (this.#find(path) === undefined) throw refusal(path, 'measure the free space of', 'ENOENT')
      const freeBytes = Math.max(0, this.capacityBytes - this.#usedBytes)
      return this.spaceUnknown ? null : { freeBytes, totalBytes: this.#totalBytes }
    })
  }

  claim(path: string, done: DiskCallback<{ release(done: () => void): void }>): void {
    this.#submit('claim', path, done, () => {
      const directory = this.#directory(path, 'claim')
      if (this.#claims.has(directory)) {
        throw new PlatformError({ code: 'DISK_IN_USE', path }, `cannot use ${path}: another node holds this directory`)
      }
      this.#claims.add(directory)
      return {
        release: (released: () => void) => {
          this.#claims.delete(directory)
          this.#clock.endOfTurn(released)
        },
      }
    })
  }

  #handle(path: string, inode: Inode, writable: boolean): DiskFile {
    inode.opens++
    let open = true
    const submit = <T>(
      operation: DiskOperation,
      done: DiskCallback<T>,
      act: (trouble: DiskTrouble | null) => T,
      extent: Extent = {},
    ): void => {
      assert(open, `${path} is closed`)
      this.#submit(operation, path, done, act, extent)
    }
    return {
      path,
      write: (buffers, position, done) => {
        let bytes = 0
        for (const buffer of buffers) bytes += buffer.length
        const act = (trouble: DiskTrouble | null): void => {
          if (!writable) throw refusal(path, 'write', 'EBADF')
          this.#write(path, inode, buffers, position, trouble)
        }
        submit('write', done, act, { position, bytes })
      },
      read: (into, position, done) => {
        const act = (trouble: DiskTrouble | null): number => {
          const count = inode.pages.read(into, position)
          if (trouble?.kind === 'flip' && count > 0) {
            const at = trouble.at % count
            into[at] = into[at]! ^ (1 << (trouble.bit % 8))
          }
          return count
        }
        submit('read', done, act, { position, bytes: into.length })
      },
      datasync: (done) => {
        const point = inode.pages.startSync()
        const act = (trouble: DiskTrouble | null): void => {
          if (trouble?.kind !== 'lie') inode.pages.endSync(point, true)
        }
        submit('datasync', done, act, { failed: () => inode.pages.endSync(point, false) })
      },
      truncate: (length, done) =>
        submit('truncate', done, () => {
          if (!writable) throw refusal(path, 'truncate', 'EINVAL')
          this.#resize(inode, () => inode.pages.truncate(length))
        }),
      size: (done) => submit('size', done, () => inode.pages.size),
      close: (done) => {
        submit('close', done, () => {
          inode.opens--
          this.#released(inode)
        })
        open = false
      },
    }
  }

  #write(
    path: string,
    inode: Inode,
    buffers: readonly Uint8Array[],
    position: number,
    trouble: DiskTrouble | null,
  ): void {
    if (trouble?.kind === 'lose') return
    if (trouble?.kind === 'short') {
      const taken = Buffer.concat(buffers).subarray(0, trouble.bytes)
      this.#write(path, inode, [taken], position, null)
      throw refusal(path, 'write', trouble.errno)
    }
    this.#resize(inode, (before) => {
      let at = trouble?.kind === 'misdirect' ? trouble.position : position
      for (const buffer of buffers) {
        const free = this.capacityBytes - this.#usedBytes - (inode.pages.allocatedBytes - before)
        const written = inode.pages.write(buffer, at, free)
        if (written < buffer.length) throw diskFull(path, 'write', `${buffer.length - written} bytes were not taken`)
        at += written
      }
    })
  }

  /** Runs a change of the file and accounts for the space that it took or gave back, also when it stops halfway. */
  #resize(inode: Inode, change: (before: number) => void): void {
    const before = inode.pages.allocatedBytes
    try {
      change(before)
    } finally {
      this.#usedBytes += inode.pages.allocatedBytes - before
    }
  }

  #unlinked(inode: Inode): void {
    inode.links--
    this.#released(inode)
  }

  /** The space of a removed file is free when its last handle is closed. */
  #released(inode: Inode): void {
    if (inode.links === 0 && inode.opens === 0) this.#usedBytes -= inode.pages.allocatedBytes
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of parts(path)) {
      if (!(node instanceof Directory)) return undefined
      node = node.entries.get(name)
    }
    return node
  }

  #directory(path: string, operation: string): Directory {
    const node = this.#find(path)
    if (node === undefined) throw refusal(path, operation, 'ENOENT')
    if (!(node instanceof Directory)) throw refusal(path, operation, 'ENOTDIR')
    return node
  }

  #locate(path: string, operation: string): { parent: Directory; name: string } {
    const names = parts(path)
    const name = names.pop()
    assert(name !== undefined, () => `${path} names no file`)
    const parent = this.#find(names.join('/'))
    if (!(parent instanceof Directory)) throw refusal(path, operation, 'ENOENT')
    return { parent, name }
  }

  #submit<T>(
    operation: DiskOperation,
    path: string,
    done: DiskCallback<T>,
    act: (trouble: DiskTrouble | null) => T,
    { position = 0, bytes = 0, failed }: Extent = {},
  ): void {
    if (this.#dead) return
    this.#calls.push({ operation, path, position, bytes, act, done: done as DiskCallback<never>, failed })
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#clock.endOfTurn(this.#run)
  }

  /** Takes one call after the other; what a callback asks for waits for the next turn. */
  readonly #run = (): void => {
    this.#scheduled = false
    let left = this.#calls.length
    try {
      for (; left > 0 && !this.#dead; left--) this.#take(this.#calls.shift()!)
    } finally {
      // One callback that throws does not silence the others, should the program around us survive it.
      if (this.#calls.length > 0) this.#schedule()
    }
  }

  #take(call: Call): void {
    if (this.#held.length > 0 && this.#held.some(({ path }) => path === call.path)) {
      this.#held.push(call)
      return
    }
    const trouble = this.condition?.troubleWith(call) ?? null
    if (trouble?.kind === 'hold') {
      this.#held.push(call)
      return
    }
    const errno = this.fault?.(call.operation, call.path) ?? (trouble?.kind === 'fail' ? trouble.errno : null)
    if (errno !== null) {
      call.failed?.()
      call.done(refusal(call.path, call.operation, errno))
      return
    }
    const outcome = attempt(call, trouble)
    if (outcome instanceof PlatformError) call.done(outcome)
    else call.done(null, outcome as never)
  }
}

function attempt(call: Call, trouble: DiskTrouble | null = null): unknown {
  try {
    return call.act(trouble)
  } catch (error) {
    if (error instanceof PlatformError) return error
    throw error
  }
}

function refusal(path: string, operation: string, errno: string): PlatformError {
  const error = Object.assign(new Error(errno), { code: errno })
  if (operation === 'datasync' || operation === 'syncDirectory') return syncError(path, operation, error)
  return diskError(path, operation, error)
}

function parts(path: string): string[] {
  return path.split(/[\\/]+/).filter((name) => name !== '' && name !== '.')
}
