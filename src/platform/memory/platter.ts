/**
 * What lies on a memory disk, seen and changed beneath everything that runs on it: no call is made, nobody is told, and there is
 * nothing to sync. So a bit rots at rest, a file is gone after a repair of the file system, and a disk is an earlier copy of
 * itself.
 *
 * Files are named from the root and listed in order, so a choice among them by a seeded number means the same in every run.
 */
import { assert } from '../../stdx/index.ts'
import { Directory, type Inode, type Node } from './directory.ts'
import { Pages } from './pages.ts'

export interface PlatterFile {
  readonly path: string
  readonly bytes: number
}

export class Platter {
  readonly #root: Directory
  readonly #tracks: boolean
  readonly #change: (change: () => void) => void

  constructor(root: Directory, tracks: boolean, change: (change: () => void) => void = (run) => run()) {
    this.#root = root
    this.#tracks = tracks
    this.#change = change
  }

  /** All files under `folder`, by name. */
  files(folder = ''): PlatterFile[] {
    const found: PlatterFile[] = []
    const walk = (directory: Directory, prefix: string): void => {
      for (const name of [...directory.entries.keys()].sort()) {
        const node = directory.entries.get(name)!
        const path = `${prefix}/${name}`
        if (node instanceof Directory) walk(node, path)
        else found.push({ path, bytes: node.pages.size })
      }
    }
    const start = this.#find(names(folder))
    if (start instanceof Directory)
      walk(
        start,
        names(folder)
          .map((name) => `/${name}`)
          .join(''),
      )
    return found
  }

  read(path: string, position = 0, bytes = Number.MAX_SAFE_INTEGER): Buffer {
    const { pages } = this.#file(path)
    const into = Buffer.alloc(Math.max(0, Math.min(bytes, pages.size - position)))
    pages.read(into, position)
    return into
  }

  /** The bytes there are others; the file's length stays. */
  overwrite(path: string, position: number, bytes: Uint8Array): void {
    const { pages } = this.#file(path)
    assert(position + bytes.length <= pages.size, () => `${path} ends at ${pages.size}`)
    this.#change(() => pages.rot(bytes, position))
  }

  /** Shorter, or longer by zeros; durable at once. */
  resize(path: string, length: number): void {
    const { pages } = this.#file(path)
    this.#change(() => {
      pages.truncate(length)
      pages.drain()
    })
  }

  /** The file, or the directory with all that is in it, is not there any more. Open handles keep what they hold. */
  remove(path: string): void {
    const { parent, name } = this.#locate(path)
    assert(parent.entries.has(name), () => `there is no ${path}`)
    this.#change(() => parent.vanish(name))
  }

  /** The file as a whole is this one; made if it was not there. Its directory must be. */
  put(path: string, bytes: Buffer): void {
    const { parent, name } = this.#locate(path)
    const pages = new Pages(this.#tracks)
    pages.write(bytes, 0, Number.MAX_SAFE_INTEGER)
    pages.drain()
    this.#change(() => parent.appear(name, { pages, links: 1, opens: 0 }))
  }

  has(path: string): boolean {
    return this.#find(names(path)) !== undefined
  }

  /** A copy of everything, which does not change any more: what a backup or a snapshot of the machine holds. */
  copy(): Platter {
    return new Platter(this.#root.copy(), this.#tracks)
  }

  /** For a disk that is to begin with what lies here; each call gives one of its own. */
  directory(): Directory {
    return this.#root.copy()
  }

  #find(path: readonly string[]): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of path) {
      if (!(node instanceof Directory)) return undefined
      node = node.entries.get(name)
    }
    return node
  }

  #file(path: string): Inode {
    const node = this.#find(names(path))
    assert(node !== undefined && !(node instanceof Directory), () => `there is no file ${path}`)
    return node
  }

  #locate(path: string): { parent: Directory; name: string } {
    const all = names(path)
    const name = all.pop()
    const parent = this.#find(all)
    assert(name !== undefined && parent instanceof Directory, () => `there is no directory for ${path}`)
    return { parent, name }
  }
}

function names(path: string): string[] {
  return path.split('/').filter((name) => name !== '')
}
