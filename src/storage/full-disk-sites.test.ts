/**
 * A disk that is full from some call on: every call that takes space or makes something durable, one after the other, is the first
 * to be refused (F20, T18).
 *
 * Whatever it hits, nothing acknowledged is lost. Work that nobody was promised waits, goes on when there is room again, and ends
 * nothing; only a journal block that is not taken, or a sync that failed, ends the storage, with an error that says so; a start is
 * refused with a typed error and succeeds when there is room. Records stop while it is full, as those of a node do, votes do not.
 */
import { strict as assert } from 'node:assert'
import { type TestContext, test } from 'node:test'
import type { DiskCall, DiskTrouble } from '../platform/memory/index.ts'
import { Driver, isExcused, SIZES, STEPS, verify } from './full-disk-harness.test.ts'
import { World } from './harness.test.ts'
import type { Storage } from './storage.ts'

/** So many steps after the first refusal there is room again. */
const FULL_STEPS = 5
const TAKES_SPACE: ReadonlySet<string> = new Set(['write', 'open', 'rename', 'makeDirectory', 'truncate'])
const MAKES_DURABLE: ReadonlySet<string> = new Set(['datasync', 'syncDirectory'])

/**
 * How a disk is full.
 *
 *     refused      it takes no call that may need space (a quota; a file system that copies on write)
 *     in-half      the first write that it refuses ends in its middle
 *     no-blocks    it overwrites what a file has already, and has not one block for more
 *     at-sync      it finds out when it is to make things durable (delayed allocation), and is not believed after that
 */
const MANNERS = ['refused', 'in-half', 'no-blocks', 'at-sync'] as const
type Manner = (typeof MANNERS)[number]

/** Takes `from - 1` calls that need space, and then none until there is room. */
class FullDisk {
  readonly #from: number
  readonly #manner: Manner
  readonly #world: World
  readonly #sites: ReadonlySet<string>
  #hasRoom = false
  calls = 0
  refusedFirst: DiskCall | null = null

  constructor(from: number, manner: Manner, world: World) {
    this.#from = from
    this.#manner = manner
    this.#world = world
    this.#sites = manner === 'at-sync' ? MAKES_DURABLE : TAKES_SPACE
  }

  get hasRoom(): boolean {
    return this.#hasRoom
  }

  get isFull(): boolean {
    return this.refusedFirst !== null && !this.#hasRoom
  }

  makeRoom(): void {
    this.#hasRoom = true
    this.#world.disk.capacityBytes = 2 ** 40
  }

  troubleWith(call: DiskCall): DiskTrouble | null {
    if (!this.#sites.has(call.operation) || this.#hasRoom || ++this.calls < this.#from) return null
    const first = this.refusedFirst === null
    this.refusedFirst ??= call
    if (this.#manner === 'no-blocks') {
      const { disk } = this.#world
      if (first) disk.capacityBytes = disk.usedBytes
      return null
    }
    const half = this.#manner === 'in-half' && first && call.operation === 'write'
    return half ? { kind: 'short', bytes: call.bytes >> 1, errno: 'ENOSPC' } : { kind: 'fail', errno: 'ENOSPC' }
  }
}

/** Where the journal is to last until there is room, in what it has, its segments are somewhat longer. */
const sizes = (manner: Manner) => (manner === 'no-blocks' ? { ...SIZES, journalSegmentBytes: 64 << 10 } : SIZES)

type Ending = 'close' | 'kill' | 'power loss'
type Outcome = 'never full' | 'start refused' | 'ended' | 'went on'

function campaign(from: number, manner: Manner, ending: Ending, rare = false): { outcome: Outcome; calls: number } {
  const world = new World(`campaign ${from}`, { chancePermille: rare ? 400 : 0 })
  const disk = new FullDisk(from, manner, world)
  world.disk.condition = disk
  const where = (): string => `${manner}, call ${from} (${disk.refusedFirst?.operation} ${disk.refusedFirst?.path})`
  const opened = world.tryOpen(sizes(manner))
  if (opened instanceof Error) {
    assert.ok(isExcused(opened, manner), `${where()}: ${opened.stack}`)
    disk.makeRoom()
    verify(world, new Map(), where())
    return { outcome: 'start refused', calls: disk.calls }
  }
  const driver = new Driver(opened)
  let fullSteps = 0
  for (let step = 0; step < STEPS && world.fatals.length === 0; step++) {
    driver.step(step, disk.isFull)
    world.clock.settle()
    driver.special(step)
    world.clock.settle()
    if (disk.refusedFirst === null) continue
    opened.saveSpace(!disk.hasRoom)
    if (++fullSteps === FULL_STEPS) disk.makeRoom()
    if (fullSteps <= FULL_STEPS) opened.tryAgain()
    world.clock.settle()
  }
  const [fatal] = world.fatals
  if (fatal !== undefined) assert.ok(isExcused(fatal, manner), `${where()}: ${fatal.stack}`)
  else if (disk.hasRoom) goesOn(world, opened, where())
  if (ending === 'close') world.close(opened)
  else if (ending === 'kill') world.kill()
  else world.powerLoss()
  if (fatal !== undefined) startsOnFullDisk(world, manner, where())
  disk.makeRoom()
  verify(world, driver.acknowledged, where())
  const outcome = fatal !== undefined ? 'ended' : disk.refusedFirst === null ? 'never full' : 'went on'
  return { outcome, calls: disk.calls }
}

function goesOn(world: World, storage: Storage, where: string): void {
  assert.equal(storage.awaitsRoom, false, `${where}: it still waits`)
  let taken = false
  storage.checkpoint(() => {
    taken = true
  })
  world.clock.settle()
  assert.ok(taken, `${where}: no checkpoint after there was room`)
}

/** It says so, or finds what it needs in its own files. */
function startsOnFullDisk(world: World, manner: Manner, where: string): void {
  const again = world.tryOpen(sizes(manner))
  if (again instanceof Error) assert.ok(isExcused(again, manner), `${where}, again: ${again.stack}`)
  else world.kill()
}

const ENDINGS: readonly Ending[] = ['close', 'kill', 'power loss']

/** Runs it with each call as the first that is refused, and says what became of them. */
function everySite(t: TestContext, calls: number, one: (from: number) => Outcome): ReadonlyMap<Outcome, number> {
  const met = new Map<Outcome, number>()
  for (let from = 1; from <= calls; from++) {
    const outcome = one(from)
    met.set(outcome, (met.get(outcome) ?? 0) + 1)
  }
  t.diagnostic(`${calls} sites: ${[...met].map(([outcome, count]) => `${outcome} ${count}`).join(', ')}`)
  return met
}

for (const manner of MANNERS) {
  // Segments are left, checkpoints taken and files removed at any moment, also between two attempts. (Each then has its own calls.)
  for (const rare of manner === 'refused' ? [false] : [false, true]) {
    const how = `${manner}${rare ? ', whatever happens before the next attempt' : ''}`
    test(`full disk: whichever call is refused first, nothing is lost and all goes on (${how})`, (t) => {
      const { calls } = campaign(Number.POSITIVE_INFINITY, manner, 'close', rare)
      const met = everySite(t, calls, (from) => {
        const { outcome } = campaign(from, manner, ENDINGS[from % 3]!, rare)
        // A call of the closing.
        return outcome === 'never full' ? campaign(from, manner, 'close', rare).outcome : outcome
      })
      assert.ok(met.has('start refused') && met.has('went on'))
      assert.ok(rare || !met.has('never full'))
      // Where only blocks are missing, the journal has its own, and the storage needs no new start.
      assert.equal(met.has('ended'), manner !== 'no-blocks')
    })
  }

  test(`full disk: whichever call of a start is refused first, nothing is lost and the next one succeeds (${manner})`, (t) => {
    const { calls } = restart(Number.POSITIVE_INFINITY, manner, 'kill')
    const met = everySite(t, calls, (from) => restart(from, manner, from % 2 === 0 ? 'kill' : 'power loss').outcome)
    assert.ok(met.has('start refused') && !met.has('never full'))
  })
}

/** A start on what an earlier one left. */
function restart(from: number, manner: Manner, ending: Ending): { outcome: Outcome; calls: number } {
  const world = new World(`restart ${from}`)
  const driver = new Driver(world.open(sizes(manner)))
  for (let step = 0; step < STEPS; step++) {
    driver.step(step)
    world.clock.settle()
    driver.special(step)
    world.clock.settle()
  }
  if (ending === 'kill') world.kill()
  else world.powerLoss()
  const disk = new FullDisk(from, manner, world)
  world.disk.condition = disk
  const where = (): string =>
    `${manner}, start, call ${from} (${disk.refusedFirst?.operation} ${disk.refusedFirst?.path})`
  const again = world.tryOpen(sizes(manner))
  if (again instanceof Error) assert.ok(isExcused(again, manner), `${where()}: ${again.stack}`)
  const outcome = again instanceof Error ? 'start refused' : disk.refusedFirst === null ? 'never full' : 'went on'
  if (!(again instanceof Error)) world.kill()
  disk.makeRoom()
  verify(world, driver.acknowledged, where())
  return { outcome, calls: disk.calls }
}
