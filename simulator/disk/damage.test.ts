import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Prng } from '../../src/stdx/index.ts'
import { Atlas, FILE_KINDS } from './atlas.ts'
import { DAMAGE_SHAPES, damage } from './damage.ts'
import { readDirectory } from './directory-content.ts'
import { DirectoryJudge, fuzzDirectory } from './directory-fuzz.ts'
import { SAMPLE_OPTIONS, sampleDirectory } from './sample-directory.ts'

const { directory } = SAMPLE_OPTIONS

test('damage changes bytes where it says, and nowhere else', () => {
  const platter = sampleDirectory('damage')
  const prng = new Prng('damage')
  const seen = new Set<string>()
  for (let round = 0; round < 200; round++) {
    const kind = FILE_KINDS[round % FILE_KINDS.length]!
    const shape = DAMAGE_SHAPES[prng.below(DAMAGE_SHAPES.length)]!
    const copy = platter.copy()
    const done = damage(copy, new Atlas(copy, directory).detectable(kind), shape, prng.uint32())
    if (done === null) continue
    seen.add(`${kind} ${shape}`)
    for (const { path } of platter.files()) {
      const [before, after] = [platter.read(path), copy.read(path)]
      if (path !== done.path) assert.ok(before.equals(after), path)
      else {
        assert.ok(before.subarray(0, done.from).equals(after.subarray(0, done.from)))
        assert.ok(before.subarray(done.to).equals(after.subarray(done.to)))
        assert.ok(!before.equals(after))
      }
    }
  }
  assert.ok(seen.size > 12, [...seen].join(', '))
})

test('any region of any kind of file: refused with a typed error, or the same', () => {
  const tally = fuzzDirectory(sampleDirectory('fuzz'), SAMPLE_OPTIONS, { seed: 'fuzz', rounds: 400 })
  for (const kind of ['journal', 'shard-log'])
    assert.ok((tally.get(`${kind} refused`) ?? 0) > 0, `${kind}: ${JSON.stringify([...tally])}`)
  // There is a copy of each.
  for (const kind of ['identity', 'checkpoint']) assert.equal(tally.get(`${kind} refused`), undefined, kind)
  assert.ok((tally.get('shard-index harmless') ?? 0) > 0)
})

test('a file or a folder that is not there, is too short or too long: refused, told, or the same', () => {
  const platter = sampleDirectory('files')
  const judge = new DirectoryJudge(platter, SAMPLE_OPTIONS)
  const atlas = new Atlas(platter, directory)
  const verdicts = new Map<string, number>()
  const note = (kind: string, verdict: string): void => {
    verdicts.set(`${kind} ${verdict}`, (verdicts.get(`${kind} ${verdict}`) ?? 0) + 1)
  }
  const prng = new Prng('files')
  for (const kind of FILE_KINDS) {
    for (const { path, bytes } of atlas.missable(kind)) {
      const gone = platter.copy()
      gone.remove(path)
      note(`${kind} gone`, judge.judge(gone, false, `${path} gone`))
      const short = platter.copy()
      const left = prng.below(bytes)
      short.resize(path, left)
      note(`${kind} short`, judge.judge(short, false, `${path} cut to ${left} of ${bytes}`))
      const long = platter.copy()
      long.resize(path, bytes + 700)
      long.overwrite(path, bytes, prng.bytes(prng.below(700)))
      note(`${kind} long`, judge.judge(long, false, `${path} with something behind it`))
    }
  }
  for (const folder of [...atlas.folders('journal'), ...atlas.folders('shard-log')]) {
    const gone = platter.copy()
    gone.remove(folder)
    note('folder gone', judge.judge(gone, false, `${folder} gone`))
  }
  for (const what of ['identity gone', 'checkpoint gone']) assert.equal(verdicts.get(`${what} harmless`), 1)
  for (const what of ['shard-log gone', 'shard-log short', 'folder gone'])
    assert.ok((verdicts.get(`${what} refused`) ?? 0) > 0, `${what}: ${JSON.stringify([...verdicts])}`)
})

test('the judge tells a directory that holds something else', () => {
  const platter = sampleDirectory('judge')
  const judge = new DirectoryJudge(platter, SAMPLE_OPTIONS)
  assert.equal(judge.judge(platter.copy(), false, 'unharmed'), 'harmless')
  assert.throws(() => judge.judge(sampleDirectory('another'), false, 'another'), /it opened, and holds/)
  const cut = platter.copy()
  const last = new Atlas(cut, directory).lastBlock()!
  cut.overwrite(last.path, last.from, Buffer.alloc(last.to - last.from))
  assert.equal(judge.judge(cut, true, 'amnesia'), 'cut')
  assert.throws(() => judge.judge(cut, false, 'amnesia'), /it opened, and holds/)
})

test('reading a directory does not change it', () => {
  const platter = sampleDirectory('twice')
  const [once, twice] = [readDirectory(platter, SAMPLE_OPTIONS), readDirectory(platter, SAMPLE_OPTIONS)]
  assert.deepEqual(once, twice)
  assert.equal(once.kind, 'whole')
})
