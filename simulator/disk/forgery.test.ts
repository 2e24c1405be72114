import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Atlas } from './atlas.ts'
import { readDirectory } from './directory-content.ts'
import { forgeEntry } from './forgery.ts'
import { SAMPLE_OPTIONS, sampleDirectory } from './sample-directory.ts'

const { directory } = SAMPLE_OPTIONS

test('forgery: an entry that passes every sum is refused by the one that follows it', () => {
  const platter = sampleDirectory('forgery')
  const forged = new Set<string>()
  for (let pick = 0; pick < 60; pick++) {
    const copy = platter.copy()
    const done = forgeEntry(copy, directory, pick)
    assert.ok(done !== null)
    forged.add(`${done.shard}/${done.index}`)
    // Every sum of the journal is as good as before.
    const blocks = (of: typeof platter) => new Atlas(of, directory).blocks().map(({ sequence }) => sequence)
    assert.deepEqual(blocks(copy), blocks(platter))
    const reading = readDirectory(copy, SAMPLE_OPTIONS)
    assert.equal(reading.kind, 'refused', `entry ${done.index} of shard ${done.shard}`)
    if (reading.kind === 'refused') assert.match(`${reading.error.message}`, /do not form a log at index/)
  }
  assert.ok(forged.size > 5, [...forged].join(', '))
})

test('atlas: what is proved at the journal’s end is refused when it rots, and is in its last file', () => {
  const platter = sampleDirectory('forgery')
  const atlas = new Atlas(platter, directory)
  const proved = atlas.provedAtTheEnd()
  const last = atlas.lastBlock()!
  assert.ok(proved.length > 2)
  for (const { path, from, to, sequence } of proved) {
    assert.equal(path, last.path)
    assert.ok(sequence <= last.sequence - 2)
    const copy = platter.copy()
    copy.overwrite(path, from, Buffer.alloc(to - from))
    const reading = readDirectory(copy, SAMPLE_OPTIONS)
    assert.equal(reading.kind, 'refused')
  }
})
