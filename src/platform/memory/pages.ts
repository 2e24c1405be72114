/**
 * The bytes of one file in memory, and what a power loss may do to them.
 *
 *     pages    │ data │ ZEROS │ ZEROS │ data │ hole │      16 KiB each; written zeros cost one pointer
 *     layers   oldest ── … ── newest                       what each page held before it was first dirtied
 *
 * A write that was not synced may survive in part, in any order, at any 512-byte sector. So the first write to a page after
 * a sync keeps the page as it was, with one bit per dirty sector (32 of them: a page's dirtiness is one integer). A sync
 * that starts opens a new layer, because only the writes completed before it are covered, and drops the old ones when it
 * succeeds. A sync that fails moves them to `#lost`: the page cache shows the new bytes, calls them clean, and no later
 * success will bring them to the disk ("fsyncgate"); only writing them again does.
 *
 * Disks mostly write a sector whole or not at all, and some do not: with a `SectorLoss` an un-synced sector may also be found
 * half new, half old, or with noise where its new bytes were to be. Only bytes that were being written suffer; what stood
 * synced in the rest of the sector stays (SQLite calls this "powersafe overwrite", and relies on it as we do).
 */
import type { Random } from '../random.ts'

const PAGE_BYTES = 16 * 1024
const SECTOR_BYTES = 512

/** Stands for every page of written zeros; never written to. */
const ZEROS = Buffer.alloc(PAGE_BYTES)

type Page = Buffer | undefined

interface Before {
  readonly page: Page
  /** One bit per sector of the page. */
  dirty: number
}

type Layer = Map<number, Before>

/** What a power loss does to the sectors that were being written, besides keeping or dropping them. */
export interface SectorLoss {
  /** Of 1000 un-synced sectors, so many end in the middle: one part new, the other old. */
  readonly tornPermille: number
  /** So many hold noise. */
  readonly garbledPermille: number
  /** A generator of its own: what else a power loss does stays the same with and without this. */
  readonly random: Random
}

/** What a sync in progress covers; handed back when it completes. */
export interface SyncPoint {
  /** Layers covered, counted from the first that this file ever had. */
  readonly layers: number
  readonly size: number
}

export class Pages {
  size = 0
  /** A missing page is a hole: it reads as zeros and takes no space. */
  #pages: Page[] = []
  #allocated = 0
  readonly #tracks: boolean
  #durableSize = 0
  #layers: Layer[] = [new Map()]
  /** Layers that completed syncs have taken off the front of `#layers`. */
  #dropped = 0
  /** What syncs that started below this many covered is on the disk already. */
  #drained = 0
  #lost: Layer = new Map()

  constructor(tracks: boolean) {
    this.#tracks = tracks
  }

  /** Bytes that the file takes on the disk. */
  get allocatedBytes(): number {
    return this.#allocated * PAGE_BYTES
  }

  /** Bytes of memory held, shared zeros not counted. */
  get residentBytes(): number {
    let pages = 0
    for (const page of this.#pages) if (page !== undefined && page !== ZEROS) pages++
    return pages * PAGE_BYTES
  }

  /** Writes as much as `spaceBytes` of new pages allow; returns the bytes written. */
  write(bytes: Uint8Array, position: number, spaceBytes: number): number {
    let space = Math.floor(spaceBytes / PAGE_BYTES)
    let done = 0
    while (done < bytes.length) {
      const at = position + done
      const index = Math.floor(at / PAGE_BYTES)
      const offset = at % PAGE_BYTES
      const length = Math.min(PAGE_BYTES - offset, bytes.length - done)
      if (this.#pages[index] === undefined && space-- <= 0) break
      this.#put(index, offset, bytes.subarray(done, done + length))
      done += length
    }
    if (done > 0) this.size = Math.max(this.size, position + done)
    if (!this.#tracks) this.#durableSize = this.size
    return done
  }

  #put(index: number, offset: number, bytes: Uint8Array): void {
    const page = this.#pages[index]
    const zeros = ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
    if (page === undefined) this.#allocated++
    const kept = this.#keep(index, offset, bytes.length)
    const blank = page === undefined || page === ZEROS
    if (zeros && (blank || bytes.length === PAGE_BYTES)) {
      this.#pages[index] = ZEROS
      return
    }
    const own = blank ? Buffer.alloc(PAGE_BYTES) : kept ? Buffer.from(page) : page
    own.set(bytes, offset)
    this.#pages[index] = own
  }

  /** Remembers the page before its first change in this layer; true when the page object is now shared with the layer. */
  #keep(index: number, offset: number, length: number): boolean {
    if (!this.#tracks) return false
    const layer = this.#layers.at(-1)!
    let before = layer.get(index)
    const first = before === undefined
    if (before === undefined) {
      before = { page: this.#pages[index], dirty: 0 }
      layer.set(index, before)
    }
    before.dirty |= sectors(offset, length)
    return first
  }

  read(into: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(into.length, this.size - position))
    for (let done = 0; done < length; ) {
      const at = position + done
      const offset = at % PAGE_BYTES
      const part = Math.min(PAGE_BYTES - offset, length - done)
      const page = this.#pages[Math.floor(at / PAGE_BYTES)] ?? ZEROS
      into.set(page.subarray(offset, offset + part), done)
      done += part
    }
    return length
  }

  truncate(length: number): void {
    const keep = Math.ceil(length / PAGE_BYTES)
    const offset = length % PAGE_BYTES
    if (length < this.size) {
      if (offset > 0 && this.#pages[keep - 1] !== undefined) {
        this.#put(keep - 1, offset, ZEROS.subarray(0, PAGE_BYTES - offset))
      }
      for (let index = keep; index < this.#pages.length; index++) {
        if (this.#pages[index] === undefined) continue
        this.#keep(index, 0, PAGE_BYTES)
        this.#allocated--
      }
      this.#pages.length = Math.min(this.#pages.length, keep)
    }
    this.size = length
    if (!this.#tracks) this.#durableSize = length
  }

  /** A sync starts: it covers what is written now. */
  startSync(): SyncPoint {
    if (this.#tracks && this.#layers.at(-1)!.size > 0) this.#layers.push(new Map())
    return { layers: this.#dropped + this.#layers.length - 1, size: this.size }
  }

  /** Syncs of one file complete in the order in which they started, so the covered layers are the oldest ones. */
  endSync(point: SyncPoint, succeeded: boolean): void {
    if (!this.#tracks || point.layers < this.#drained) return
    const covered = this.#layers.splice(0, Math.max(0, point.layers - this.#dropped))
    this.#dropped += covered.length
    if (succeeded) {
      this.#durableSize = point.size
      for (const layer of covered) for (const [index, { dirty }] of layer) this.#rewritten(index, dirty)
    } else {
      for (const layer of covered) for (const [index, before] of layer) this.#lose(index, before)
    }
  }

  #rewritten(index: number, dirty: number): void {
    const lost = this.#lost.get(index)
    if (lost === undefined) return
    lost.dirty &= ~dirty
    if (lost.dirty === 0) this.#lost.delete(index)
  }

  #lose(index: number, before: Before): void {
    const lost = this.#lost.get(index)
    if (lost === undefined) {
      this.#lost.set(index, before)
      return
    }
    // Sectors lost earlier keep what the disk holds since then; newly lost ones take this layer's older content.
    const added = before.dirty & ~lost.dirty
    this.#lost.set(index, { page: blend(lost.page, before.page, added), dirty: lost.dirty | before.dirty })
  }

  /** What is written now is on the disk, whatever became of earlier syncs. */
  drain(): void {
    if (!this.#tracks) return
    this.#dropped += this.#layers.length
    this.#drained = this.#dropped
    this.#layers = [new Map()]
    this.#lost = new Map()
    this.#durableSize = this.size
  }

  /** Bytes change where they lie: nobody wrote them, so there is nothing to sync and nothing that a power loss would undo. */
  rot(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done
      const index = Math.floor(at / PAGE_BYTES)
      const offset = at % PAGE_BYTES
      const part = bytes.subarray(done, done + PAGE_BYTES - offset)
      // A new page: the old one may be what an un-synced layer remembers.
      const page = this.#pages[index]
      const own = page === undefined ? Buffer.alloc(PAGE_BYTES) : Buffer.from(page)
      own.set(part, offset)
      if (page === undefined) this.#allocated++
      this.#pages[index] = own
      done += part.length
    }
  }

  /** The same bytes, all of them durable. */
  copy(): Pages {
    const copy = new Pages(this.#tracks)
    copy.size = this.size
    copy.#durableSize = this.size
    copy.#allocated = this.#allocated
    copy.#pages = this.#pages.map((page) => (page === undefined || page === ZEROS ? page : Buffer.from(page)))
    return copy
  }

  /** Each un-synced sector becomes any of the versions it has had since the last successful sync. */
  losePower(random: Random, sectors?: SectorLoss): void {
    if (!this.#tracks) return
    const versions = [this.#lost, ...this.#layers]
    const touched = new Set<number>()
    for (const layer of versions) for (const index of layer.keys()) touched.add(index)
    for (const index of touched) {
      const result = Buffer.from(this.#pages[index] ?? ZEROS)
      for (let sector = 0; sector < PAGE_BYTES / SECTOR_BYTES; sector++) {
        const older = versions
          .map((layer) => layer.get(index))
          .filter((b) => b !== undefined && b.dirty & (1 << sector))
        const pick = random.below(older.length + 1)
        const at = sector * SECTOR_BYTES
        if (pick < older.length) result.set((older[pick]!.page ?? ZEROS).subarray(at, at + SECTOR_BYTES), at)
        if (sectors === undefined || older.length === 0) continue
        const now = (this.#pages[index] ?? ZEROS).subarray(at, at + SECTOR_BYTES)
        const before = (older[0]!.page ?? ZEROS).subarray(at, at + SECTOR_BYTES)
        spoil(result.subarray(at, at + SECTOR_BYTES), now, before, sectors)
      }
      this.#pages[index] = result
    }
    if (this.size !== this.#durableSize) this.size = this.#sizeAfterLoss(random)
    this.#layers = [new Map()]
    this.#dropped = 0
    this.#drained = 0
    this.#lost = new Map()
    this.#settle()
  }

  #sizeAfterLoss(random: Random): number {
    const low = Math.min(this.size, this.#durableSize)
    const high = Math.max(this.size, this.#durableSize)
    const pick = random.below(3)
    return pick === 0 ? low : pick === 1 ? high : low + random.below(high - low + 1)
  }

  /** After a power loss what is there is what there is: cut pages beyond the size, count again. */
  #settle(): void {
    this.#durableSize = this.size
    const keep = Math.ceil(this.size / PAGE_BYTES)
    this.#pages.length = Math.min(this.#pages.length, keep)
    const offset = this.size % PAGE_BYTES
    if (offset > 0) {
      const tail = this.#pages[keep - 1]
      if (tail !== undefined && tail !== ZEROS) tail.fill(0, offset)
    }
    this.#allocated = 0
    for (const page of this.#pages) if (page !== undefined) this.#allocated++
  }
}

/** `now` was being written over `before`, and the power went in the middle of this sector. */
function spoil(
  sector: Buffer,
  now: Buffer,
  before: Buffer,
  { tornPermille, garbledPermille, random }: SectorLoss,
): void {
  const dice = random.below(1000)
  if (dice < tornPermille) {
    const cut = 1 + random.below(SECTOR_BYTES - 1)
    const [head, tail] = random.below(2) === 0 ? [now, before] : [before, now]
    sector.set(head.subarray(0, cut), 0)
    sector.set(tail.subarray(cut), cut)
  } else if (dice < tornPermille + garbledPermille) {
    for (let at = 0; at < SECTOR_BYTES; at++) if (now[at] !== before[at]) sector[at] = random.below(256)
  }
}

/** The bits of the sectors that [offset, offset + length) touches. */
function sectors(offset: number, length: number): number {
  const first = Math.floor(offset / SECTOR_BYTES)
  const last = Math.floor((offset + length - 1) / SECTOR_BYTES)
  return ((last === 31 ? -1 : (1 << (last + 1)) - 1) & ~((1 << first) - 1)) | 0
}

function blend(base: Page, other: Page, sectorsOfOther: number): Page {
  if (sectorsOfOther === 0) return base
  const out = Buffer.from(base ?? ZEROS)
  for (let sector = 0; sector < 32; sector++) {
    const at = sector * SECTOR_BYTES
    if (sectorsOfOther & (1 << sector)) out.set((other ?? ZEROS).subarray(at, at + SECTOR_BYTES), at)
  }
  return out
}
