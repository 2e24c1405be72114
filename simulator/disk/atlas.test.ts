import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Atlas, FILE_KINDS, kindOf } from './atlas.ts'
import { SAMPLE_OPTIONS, sampleDirectory } from './sample-directory.ts'

const { directory } = SAMPLE_OPTIONS
const platter = sampleDirectory('atlas')
const atlas = new Atlas(platter, directory)

test('every file of a data directory has its kind', () => {
  // What is kept twice is damaged in one place only.
  for (const { path } of platter.files(directory).filter((file) => !/\.copy$|terms$/.test(file.path)))
    assert.ok(FILE_KINDS.includes(kindOf(path)), path)
  for (const kind of FILE_KINDS) assert.ok(atlas.files(kind).length > 0, kind)
  assert.equal(kindOf(`${directory}/checkpoint.tmp`), 'other')
})

test('the end of the journal is on no list of what can be noticed', () => {
  const last = atlas.lastBlock()
  assert.ok(last !== null)
  for (const { path, from, to } of atlas.detectable('journal'))
    assert.ok(path !== last.path || to <= last.from || from >= last.to)
  assert.ok(!atlas.missable('journal').some(({ path }) => path === last.path))
  assert.ok(atlas.detectable('journal').length > 3)
})

test('what can be missed is there', () => {
  for (const kind of FILE_KINDS) for (const { path } of atlas.missable(kind)) assert.ok(platter.has(path))
  assert.deepEqual(
    [...atlas.folders('journal'), ...atlas.folders('shard-log')].map((path) => path.slice(directory.length)),
    ['/journal', '/shards/1', '/shards/16', '/shards/17'],
  )
})

test('atlas: whose directory it is, and what a start is certain to find', () => {
  const incarnation = atlas.diskIncarnation()
  assert.match(incarnation ?? '', /^[0-9a-f]{32}$/)
  // In the checkpoint, and in no entry.
  assert.ok(atlas.mentions(Buffer.from('state at ')))
  const last = atlas.lastBlock()!
  const inLast = platter.read(last.path, last.from + 100, 40)
  const [proved] = atlas.provedAtTheEnd()
  const inProved = platter.read(proved!.path, proved!.from + 100, 40)
  assert.equal(atlas.mentions(inProved), true)
  assert.equal(atlas.mentions(inLast), false)
  assert.equal(atlas.mentions(Buffer.from('nobody wrote this')), false)
})
