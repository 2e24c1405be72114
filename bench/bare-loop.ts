/**
 * What the journal is measured against: the least that puts the same bytes into the same kind of file with the same calls.
 * Records that are handed over while a write and its sync are under way wait and share the next ones. Each block begins at a
 * multiple of 4096 with room for a header; nothing is summed, nothing is remembered, nothing can be recovered.
 *
 * Two files of the journal's segment size, written from end to end once before it begins, then over and over in turn.
 */
import fs from 'node:fs'
import path from 'node:path'

/** As in the journal's blocks (src/storage/journal-format.ts, block-builder.ts). */
const HEADER_BYTES = 40
const ALIGNMENT = 4096
const COPY_BELOW_BYTES = 8 << 10

export interface BareLoopOptions {
  readonly directory: string
  readonly segmentBytes: number
  /** More flags to open the files with; with O_DSYNC and the like no sync follows a write. */
  readonly openFlags?: number
  readonly syncs?: boolean
}

export class BareLoop {
  syncs = 0
  readonly #segmentBytes: number
  readonly #syncs: boolean
  readonly #files: number[]
  #current = 0
  #position = 0
  readonly #buffer = Buffer.alloc(8 << 20)
  readonly #padding = Buffer.alloc(ALIGNMENT)
  #pending: Uint8Array[] = []
  #pendingDone: (() => void)[] = []
  #busy = false

  constructor({ directory, segmentBytes, openFlags = 0, syncs = true }: BareLoopOptions) {
    this.#segmentBytes = segmentBytes
    this.#syncs = syncs
    fs.mkdirSync(directory, { recursive: true })
    this.#files = [0, 1].map((i) => {
      const file = path.join(directory, `${i}.log`)
      preallocate(file, segmentBytes)
      return fs.openSync(file, fs.constants.O_RDWR | openFlags)
    })
  }

  append(records: readonly { readonly bytes: Uint8Array }[], done: () => void): void {
    for (const { bytes } of records) this.#pending.push(bytes)
    this.#pendingDone.push(done)
    if (!this.#busy) this.#write()
  }

  close(): void {
    for (const file of this.#files) fs.closeSync(file)
  }

  #write(): void {
    this.#busy = true
    const [records, told] = [this.#pending, this.#pendingDone]
    this.#pending = []
    this.#pendingDone = []
    const buffer = this.#buffer
    const pieces: Uint8Array[] = []
    let from = 0
    let at = HEADER_BYTES
    let bytes = HEADER_BYTES
    for (const record of records) {
      bytes += record.length
      if (record.length < COPY_BELOW_BYTES) {
        buffer.set(record, at)
        at += record.length
        continue
      }
      if (at > from) pieces.push(buffer.subarray(from, at))
      from = at
      pieces.push(record)
    }
    const padding = (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT
    if (at > from) {
      buffer.fill(0, at, at + padding)
      pieces.push(buffer.subarray(from, at + padding))
    } else if (padding > 0) pieces.push(this.#padding.subarray(0, padding))
    const footprint = bytes + padding
    if (this.#position + footprint > this.#segmentBytes) {
      this.#current = 1 - this.#current
      this.#position = 0
    }
    const file = this.#files[this.#current]!
    const written = (error: Error | null, count: number): void => {
      if (error !== null || count !== footprint) throw error ?? new Error(`${count} of ${footprint} bytes written`)
      if (this.#syncs) fs.fdatasync(file, synced)
      else synced(null)
    }
    const synced = (error: Error | null): void => {
      if (error !== null) throw error
      this.syncs++
      this.#position += footprint
      if (this.#pending.length > 0) this.#write()
      else this.#busy = false
      for (const done of told) done()
    }
    if (pieces.length === 1) fs.write(file, pieces[0]!, 0, footprint, this.#position, written)
    else fs.writev(file, pieces, this.#position, written)
  }
}

/** Its blocks are there, and there is nothing to record but data from now on. */
export function preallocate(file: string, bytes: number): void {
  const descriptor = fs.openSync(file, 'w')
  const zeros = Buffer.alloc(1 << 20)
  for (let at = 0; at < bytes; at += zeros.length)
    fs.writeSync(descriptor, zeros, 0, Math.min(zeros.length, bytes - at), at)
  fs.fsyncSync(descriptor)
  fs.closeSync(descriptor)
}
