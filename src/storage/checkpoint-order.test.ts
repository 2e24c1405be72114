/** What a checkpoint may say while the journal is slow. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Entry } from './entry.ts'
import { chain, checkpointAt, follow, World } from './harness.test.ts'

/** Syncs of the journal return only when `release` is called. */
function holdJournalSyncs(world: World): { held: boolean; release(): void } {
  const { disk } = world
  const open = disk.open.bind(disk)
  const waiting: (() => void)[] = []
  const hold = {
    held: false,
    release(): void {
      hold.held = false
      for (const sync of waiting.splice(0)) sync()
    },
  }
  disk.open = (path, mode, done) =>
    open(path, mode, (error, file) => {
      if (file !== undefined && path.includes('journal')) {
        const datasync = file.datasync.bind(file)
        file.datasync = (synced) => {
          if (hold.held) waiting.push(() => datasync(synced))
          else datasync(synced)
        }
      }
      if (file === undefined) done(error)
      else done(error, file)
    })
  return hold
}

/**
 * A follower replaces entries of a leader that lost, and hears in the same breath that they are committed: a quorum of other
 * disks has them, its own not yet. Were a checkpoint to speak of them before its own journal holds them, a power loss would leave
 * a journal whose entries are of another history than the checkpoint, and a node that refuses to start.
 */
test('a checkpoint waits for the journal to hold what it stands for', () => {
  for (let seed = 0; seed < 12; seed++) {
    const world = new World(`slow journal ${seed}`)
    const hold = holdJournalSyncs(world)
    const storage = world.open()
    const ours = chain(16, 6)
    const theirs = ours.slice(0, 3)
    while (theirs.length < 5) theirs.push(follow(16, theirs.at(-1)!, 2, Buffer.from('theirs')))
    let log: readonly Entry[] = ours
    let committed = 3
    storage.setCheckpointSource({
      activeShards: () => [16],
      capture: () => checkpointAt(16, log, committed),
      tail: () => log.slice(committed),
    })
    const shardLog = storage.openShardLog(16)
    storage.append(ours, () => {})
    for (const entry of ours.slice(0, 3)) shardLog.append(entry)
    world.clock.settle()
    hold.held = true
    storage.append(theirs.slice(3), () => {})
    log = theirs
    committed = 5
    for (const entry of theirs.slice(3)) shardLog.append(entry)
    let taken = false
    storage.checkpoint(() => {
      taken = true
    })
    world.clock.settle()
    assert.equal(taken, false)
    if (seed % 3 === 0) {
      hold.release()
      world.clock.settle()
      assert.equal(taken, true)
    }
    world.powerLoss()
    const again = world.tryOpen()
    if (again instanceof Error) throw again
    const { checkpoint, entries } = again.recovered.get(16)!
    const last = entries.at(-1)?.index ?? checkpoint!.index
    assert.ok(seed % 3 === 0 ? last === 5 : last >= 5, `recovered up to ${last}`)
  }
})

/** The capture may know of a vote that is still on its way to the journal. */
test('what a start has found in a checkpoint is there after a power loss, wherever its writer was killed', () => {
  const log = chain(16, 3)
  const seen = new Set<number>()
  for (let turns = 0; turns < 40; turns++) {
    const world = new World(`killed ${turns}`)
    const storage = world.open()
    let term = 1
    storage.setCheckpointSource({
      activeShards: () => [16],
      capture: () => ({ ...checkpointAt(16, log, 3), term, vote: term }),
    })
    const shardLog = storage.openShardLog(16)
    storage.append(log, () => {})
    for (const entry of log) shardLog.append(entry)
    storage.checkpoint()
    world.clock.settle()
    term = 9
    storage.checkpoint()
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    world.kill()
    const found = world.open().recovered.get(16)!
    world.powerLoss()
    const again = world.open().recovered.get(16)!
    assert.deepEqual([again.term, again.vote], [found.term, found.vote], `after ${turns} turns`)
    seen.add(found.term)
  }
  assert.deepEqual([...seen].sort(), [1, 9])
})

for (const [when, flushes] of [
  ['has nothing else to do', false],
  ['is in the queue of all logs already', true],
] as const) {
  test(`a checkpoint with a removal has what it needs before the backlog of all logs, where that log ${when}`, () => {
    const world = new World('backlog')
    const storage = world.open()
    const directory = chain(1, 2)
    const others = Array.from({ length: 40 }, (_, i) => chain(30 + i, 4, 3000))
    storage.append([...directory, ...chain(19, 2), ...others.flat()], () => {})
    world.clock.settle()
    storage.openShardLog(1)
    storage.setCheckpointSource({ activeShards: () => [1], capture: () => checkpointAt(1, directory, 2) })
    for (const entry of [...others.flat(), ...directory]) storage.openShardLog(entry.shard).append(entry)
    for (const [{ shard }] of others as [Entry][]) storage.openShardLog(shard).flush()
    if (flushes) storage.openShardLog(1).flush()
    storage.removeShard(19, 1)
    while (!world.events.some(({ type }) => type === 'checkpointed')) assert.ok(world.clock.step())
    const written = world.events.filter((event) => event.type === 'shard-log-written' && event.shard >= 30)
    assert.ok(written.length < 10, `${written.length} pieces of other logs went before it`)
    world.clock.settle()
    world.close(storage)
  })
}
