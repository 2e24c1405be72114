/** Every patch applies, exactly once, to the tree as it is compiled now. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { MUTANTS, PATCHES } from './catalogue.ts'
import { edited, PatchError, patchedFiles } from './patch.ts'

const EDIT = { file: 'x', find: 'return a + b;', replace: 'return a - b;' }

test('white space does not count, everything else does', () => {
  assert.equal(edited('f() { return a\n      + b; }', EDIT), 'f() { return a - b; }')
  assert.equal(edited('$1 return a + b;', { ...EDIT, replace: '$&' }), '$1 $&')
})

test('a text that is not there once is refused', () => {
  for (const text of ['return b + a;', 'return a + b; return a + b;', '']) {
    assert.throws(() => edited(text, EDIT), PatchError)
  }
})

test('names are unique and defects are told in one line', () => {
  assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length)
  for (const { name, trap, breaks } of MUTANTS) {
    assert.match(name, /^[a-z0-9-]+$/)
    assert.match(trap, /^(T\d+|bug \d+)$/)
    assert.ok(breaks.length > 20 && !breaks.includes('\n'), name)
  }
})

for (const mutant of PATCHES) {
  test(`the patch ${mutant.name} applies`, () => {
    const files = patchedFiles(mutant, 'dist')
    assert.ok(files.size > 0)
  })
}

// What is no program is found at once, and says nothing about the simulator.
test('what a patch leaves is a program', () => {
  const texts = PATCHES.flatMap((mutant) => [...patchedFiles(mutant, 'dist').values()])
  const parse = `
    const { SourceTextModule } = require('node:vm')
    for (const text of JSON.parse(require('node:fs').readFileSync(0, 'utf8'))) new SourceTextModule(text)`
  const parsed = (input: readonly string[]): string => {
    const options = ['--experimental-vm-modules', '--no-warnings', '--eval', parse]
    const { status, stderr } = spawnSync(process.execPath, options, { input: JSON.stringify(input), encoding: 'utf8' })
    return status === 0 ? '' : stderr
  }
  assert.equal(parsed(texts), '')
  assert.match(parsed(['for (;;) }']), /SyntaxError/)
})
