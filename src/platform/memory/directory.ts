/**
 * The names of one directory, and what a power loss may do to them.
 *
 * A name is made, replaced or removed in memory at once, and on the disk when the directory is synced. Until then each
 * change survives a power loss or does not, each for itself. A rename within a directory is one change: never both names,
 * never neither.
 */
import type { Random } from '../random.ts'
import type { Pages, SectorLoss } from './pages.ts'

/** A file: its bytes, and who still needs them. */
export interface Inode {
  readonly pages: Pages
  /** Names that lead here now: 0 or 1. */
  links: number
  /** Open handles. */
  opens: number
}

export type Node = Inode | Directory
type Change = (names: Map<string, Node>) => void

export class Directory {
  readonly entries = new Map<string, Node>()
  readonly #tracks: boolean
  #durable = new Map<string, Node>()
  /** Changes of `entries` that are not in `#durable`, in order. */
  #pending: Change[] = []
  /** Changes that syncs have taken off the front of `#pending`. */
  #synced = 0

  constructor(tracks: boolean) {
    this.#tracks = tracks
  }

  set(name: string, node: Node): void {
    this.#change((names) => names.set(name, node))
  }

  delete(name: string): void {
    this.#change((names) => names.delete(name))
  }

  /** Moves a name. Between two directories the sync of either makes the whole move durable: it is one change on the disk. */
  moveTo(name: string, target: Directory, newName: string): void {
    const node = this.entries.get(name)!
    if (target === this) {
      this.#change((names) => {
        names.delete(name)
        names.set(newName, node)
      })
      return
    }
    this.entries.delete(name)
    target.entries.set(newName, node)
    if (!this.#tracks) return
    // Once, whichever is synced first: by the other's turn the name may be somebody else's.
    let moved = false
    const move = (): void => {
      if (moved) return
      moved = true
      this.#durable.delete(name)
      target.#durable.set(newName, node)
    }
    this.#pending.push(move)
    target.#pending.push(move)
  }

  #change(change: Change): void {
    change(this.entries)
    if (this.#tracks) this.#pending.push(change)
  }

  /** What a sync that starts now covers: changes, counted from the first that this directory ever had. */
  startSync(): number {
    return this.#synced + this.#pending.length
  }

  /** Syncs of one directory may overlap: what an earlier one made durable is not taken again. */
  endSync(covered: number): void {
    const changes = this.#pending.splice(0, Math.max(0, covered - this.#synced))
    this.#synced += changes.length
    for (const change of changes) change(this.#durable)
  }

  losePower(random: Random, sectors?: SectorLoss): void {
    if (this.#tracks) {
      for (const change of this.#pending) if (random.below(2) === 1) change(this.#durable)
      this.#pending = []
      this.entries.clear()
      for (const [name, node] of this.#durable) this.entries.set(name, node)
    }
    for (const node of this.entries.values()) {
      if (node instanceof Directory) node.losePower(random, sectors)
      else node.pages.losePower(random, sectors)
    }
  }

  /** All names and bytes below here are on the disk now. */
  drain(): void {
    this.endSync(this.startSync())
    for (const node of this.entries.values()) {
      if (node instanceof Directory) node.drain()
      else node.pages.drain()
    }
  }

  /** The name is gone from the disk, by nobody's doing. */
  vanish(name: string): void {
    this.endSync(this.startSync())
    this.entries.delete(name)
    this.#durable.delete(name)
  }

  /** The name is there, and on the disk, by nobody's doing. */
  appear(name: string, node: Node): void {
    this.endSync(this.startSync())
    this.entries.set(name, node)
    if (this.#tracks) this.#durable.set(name, node)
  }

  /** A tree of its own with the same content, all of it durable. */
  copy(): Directory {
    const copy = new Directory(this.#tracks)
    for (const [name, node] of this.entries)
      copy.appear(name, node instanceof Directory ? node.copy() : { pages: node.pages.copy(), links: 1, opens: 0 })
    return copy
  }

  allocatedBytes(): number {
    let bytes = 0
    for (const node of this.entries.values())
      bytes += node instanceof Directory ? node.allocatedBytes() : node.pages.allocatedBytes
    return bytes
  }

  /** Nothing is open after a crash, and each file has the names that it has. */
  settle(): number {
    let allocatedBytes = 0
    for (const node of this.entries.values()) {
      if (node instanceof Directory) {
        allocatedBytes += node.settle()
        continue
      }
      node.links = 1
      node.opens = 0
      allocatedBytes += node.pages.allocatedBytes
    }
    return allocatedBytes
  }
}
