/**
 * A disk, or a file, with some calls replaced: for whoever watches or disturbs what goes through. Both are classes, whose methods
 * need their object, so a spread would not do.
 */
import type { Disk, DiskFile } from './disk.ts'

export function diskThrough(disk: Disk, replaced: Partial<Disk>): Disk {
  return {
    makeDirectory: (path, done) => disk.makeDirectory(path, done),
    list: (path, done) => disk.list(path, done),
    open: (path, mode, done) => disk.open(path, mode, done),
    rename: (from, to, done) => disk.rename(from, to, done),
    remove: (path, done) => disk.remove(path, done),
    removeDirectory: (path, done) => disk.removeDirectory(path, done),
    syncDirectory: (path, done) => disk.syncDirectory(path, done),
    space: (path, done) => disk.space(path, done),
    claim: (path, done) => disk.claim(path, done),
    ...replaced,
  }
}

export function fileThrough(file: DiskFile, replaced: Partial<DiskFile>): DiskFile {
  return {
    path: file.path,
    write: (buffers, position, done) => file.write(buffers, position, done),
    read: (into, position, done) => file.read(into, position, done),
    datasync: (done) => file.datasync(done),
    truncate: (length, done) => file.truncate(length, done),
    size: (done) => file.size(done),
    close: (done) => file.close(done),
    ...replaced,
  }
}
