/** A disk that counts what is asked of it, by the part of the data directory that it is asked for. */
import type { Disk, DiskCallback, DiskFile, DiskSpace, OpenMode } from '../src/platform/index.ts'

export type Area = 'journal' | 'shards' | 'other'

export interface Counts {
  writes: number
  syncs: number
}

export class CountingDisk implements Disk {
  readonly counts: Record<Area, Counts> = {
    journal: { writes: 0, syncs: 0 },
    shards: { writes: 0, syncs: 0 },
    other: { writes: 0, syncs: 0 },
  }
  readonly #disk: Disk

  constructor(disk: Disk) {
    this.#disk = disk
  }

  open(path: string, mode: OpenMode, done: DiskCallback<DiskFile>): void {
    const counts = this.counts[areaOf(path)]
    this.#disk.open(path, mode, (error, file) => {
      if (error) done(error)
      else done(null, counted(file!, counts))
    })
  }

  makeDirectory(path: string, done: DiskCallback<void>): void {
    this.#disk.makeDirectory(path, done)
  }

  list(path: string, done: DiskCallback<string[]>): void {
    this.#disk.list(path, done)
  }

  rename(from: string, to: string, done: DiskCallback<void>): void {
    this.#disk.rename(from, to, done)
  }

  remove(path: string, done: DiskCallback<void>): void {
    this.#disk.remove(path, done)
  }

  removeDirectory(path: string, done: DiskCallback<void>): void {
    this.#disk.removeDirectory(path, done)
  }

  syncDirectory(path: string, done: DiskCallback<void>): void {
    this.#disk.syncDirectory(path, done)
  }

  space(path: string, done: DiskCallback<DiskSpace | null>): void {
    this.#disk.space(path, done)
  }

  claim(path: string, done: DiskCallback<{ release(done: () => void): void }>): void {
    this.#disk.claim(path, done)
  }
}

function areaOf(path: string): Area {
  if (path.includes('/journal/')) return 'journal'
  return path.includes('/shards/') ? 'shards' : 'other'
}

function counted(file: DiskFile, counts: Counts): DiskFile {
  return {
    path: file.path,
    write: (buffers, position, done) => {
      counts.writes++
      file.write(buffers, position, done)
    },
    datasync: (done) => {
      counts.syncs++
      file.datasync(done)
    },
    read: (into, position, done) => file.read(into, position, done),
    truncate: (length, done) => file.truncate(length, done),
    size: (done) => file.size(done),
    close: (done) => file.close(done),
  }
}
