/** What a node does about its disk: watches it, tells the others, and says what it sees. */
import { ClusterDisks, type PeerMesh } from './cluster/index.ts'
import type { DiskStatus } from './gateways/http/index.ts'
import type { Platform } from './platform/index.ts'
import { DISK_STUCK_MS, DiskWatch, type Storage, type StorageEvent } from './storage/index.ts'

export interface NodeDiskOptions {
  readonly node: number
  readonly directory: string
  /** null: what suits the file system. */
  readonly reserveBytes: number | null
  readonly stuckMs?: number
}

export interface NodeDiskCollaborators {
  readonly platform: Platform
  readonly storage: Storage
  readonly mesh: PeerMesh
  readonly trace: (event: StorageEvent) => void
  /** Some disk of the cluster is another than before, this one or another. */
  readonly changed: () => void
}

export class NodeDisk {
  readonly #options: NodeDiskOptions
  readonly #watch: DiskWatch
  /** This node's and those of the others, as far as is known. */
  readonly all: ClusterDisks

  /** Before anybody else is attached to the mesh. */
  constructor(options: NodeDiskOptions, collaborators: NodeDiskCollaborators) {
    const { node, directory, reserveBytes, stuckMs = DISK_STUCK_MS } = options
    const { platform, storage, mesh, trace, changed } = collaborators
    const { clock, disk } = platform
    this.#options = options
    this.all = new ClusterDisks(node, mesh, changed)
    this.#watch = new DiskWatch(
      { node, directory, reserveBytes, stuckMs },
      { clock, disk, storage, trace, changed: () => this.all.own(this.#watch.low, this.#watch.stuckMs > 0) },
    )
  }

  start(): void {
    this.#watch.start()
  }

  stop(): void {
    this.#watch.stop()
  }

  /** Background work was refused for lack of room. */
  refused(): void {
    this.#watch.refused()
  }

  get status(): DiskStatus {
    const { space, reserveBytes, low, stuckMs } = this.#watch
    return {
      freeBytes: space?.freeBytes ?? null,
      totalBytes: space?.totalBytes ?? null,
      reserveBytes,
      low,
      stuckMs: Math.round(stuckMs),
    }
  }

  /** Why this node leads nothing; null: nothing keeps it from that. */
  get stuck(): string | null {
    const { stuckMs } = this.#watch
    if (stuckMs === 0) return null
    const since = `has not answered a journal write for ${Math.round(stuckMs)} ms`
    return `the disk of ${this.#options.directory} ${since}: this node leads nothing until it does`
  }
}
