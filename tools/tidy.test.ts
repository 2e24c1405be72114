import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sourceText } from './source-text.ts'
import { describeFinding, readTree, tidy } from './tidy.ts'

/** The findings of a small tree, as `file:line rule`. */
function findings(tree: Record<string, string>): string[] {
  return tidy(new Map(Object.entries(tree))).map(({ file, line, rule }) => `${file}:${line} ${rule}`)
}

/** What one file's only finding says. */
function message(file: string, text: string): string {
  const found = tidy(new Map([[file, text]]))
  assert.equal(found.length, 1, found.map(describeFinding).join('\n'))
  return found[0]!.message
}

test('the repository is tidy', () => {
  assert.deepEqual(tidy(readTree('.')).map(describeFinding), [])
})

test('layers: imports go down, not up', () => {
  const up = "import { Raft } from '../replication/index.ts'\n"
  const down = "import type { Entry } from '../storage/index.ts'\n"
  assert.deepEqual(findings({ 'src/storage/a.ts': up, 'src/replication/b.ts': down }), ['src/storage/a.ts:1 layers'])
  assert.match(message('src/storage/a.ts', up), /storage is below replication.*interface/)
})

test('layers: every form of import counts, on its line', () => {
  const text = `/** About. */
import {
  one,
  two,
} from '../cluster/index.ts'
export * from '../cluster/index.ts'
import '../cluster/index.ts'
const later = () => import('../cluster/index.ts')
// import { no } from '../cluster/index.ts'
`
  assert.deepEqual(
    findings({ 'src/storage/a.ts': text }),
    [5, 6, 7, 8].map((line) => `src/storage/a.ts:${line} layers`),
  )
})

test('layers: observability belongs to node.ts alone', () => {
  const text = (path: string) => `import { Metrics } from '${path}'\n`
  const tree = {
    'src/gateways/http/a.ts': text('../../observability/index.ts'),
    'src/cli/b.ts': text('../observability/index.ts'),
    'src/node.ts': text('./observability/index.ts'),
    'src/observability/c.ts': "import type { StorageEvent } from '../storage/index.ts'\n",
  }
  assert.deepEqual(findings(tree), ['src/cli/b.ts:1 layers', 'src/gateways/http/a.ts:1 layers'])
})

test('layers: an unknown folder, and imports that leave src', () => {
  assert.deepEqual(findings({ 'src/utilities/a.ts': '' }), ['src/utilities/a.ts:1 layers'])
  assert.deepEqual(findings({ 'src/stdx/a.ts': "import '../../tools/tidy.ts'\n" }), ['src/stdx/a.ts:1 layers'])
  assert.deepEqual(findings({ 'src/stdx/a.test.ts': "import '../../tools/tidy.ts'\n" }), [])
})

test('layers: files at the root of src belong to the composition root', () => {
  const tree = {
    'src/options.ts': "import { Storage } from './storage/index.ts'\n",
    'src/main.ts': "import './options.ts'\nimport './cli/index.ts'\n",
    'src/streams/a.ts': "import '../options.ts'\n",
  }
  assert.deepEqual(findings(tree), ['src/streams/a.ts:1 layers'])
})

test('doors: another layer is entered by its index.ts', () => {
  const around = "import { Journal } from '../storage/journal.ts'\n"
  assert.match(message('src/replication/a.ts', around), /goes around the door.*src\/storage\/index\.ts/)
  assert.deepEqual(findings({ 'src/storage/a.ts': "import { Journal } from './journal/parts.ts'\n" }), [])
  assert.deepEqual(findings({ 'src/node.ts': "import { KafkaGateway } from './gateways/kafka/index.ts'\n" }), [])
  assert.deepEqual(findings({ 'src/node.ts': "import './gateways/kafka/codec.ts'\n" }), ['src/node.ts:1 doors'])
  const shared = "import { World } from '../storage/harness.test.ts'\n"
  assert.deepEqual(findings({ 'src/cluster/a.test.ts': shared }), [])
  assert.deepEqual(findings({ 'src/cluster/a.ts': shared }), ['src/cluster/a.ts:1 doors'])
})

test('platforms: chosen at the top and in tests', () => {
  const real = (path: string) => `import { nodePlatform } from '${path}/platform/nodejs/index.ts'\n`
  const tree = {
    'src/storage/a.ts': real('..'),
    'src/platform/memory/b.ts': real('../..'),
    'src/storage/a.test.ts': real('..'),
    'src/cli/c.ts': real('..'),
    'src/node.ts': real('.'),
    'src/index.ts': real('.'),
    'simulator/d.ts': real('../src'),
  }
  assert.deepEqual(findings(tree), ['src/platform/memory/b.ts:1 platforms', 'src/storage/a.ts:1 platforms'])
})

test('outside: modules and names of the outside world', () => {
  const text = `/** About setTimeout. */
import { readFile } from 'node:fs/promises'
import { connect } from 'net'
import type { AddressInfo } from 'node:net'
const a = setTimeout(() => {}, 1)
const b = Date.now() + performance.now()
const c = new Date()
const d = new Date(a)
const e = Math.random()
const f = 'Date.now()'
const g = \`Date.now() \${Date.now()} setTimeout\`
clock.setTimeout(1)
console.log(process.hrtime.bigint(), randomBytes(3))
`
  const lines = [2, 3, 5, 6, 6, 7, 9, 11, 13, 13, 13]
  assert.deepEqual(
    findings({ 'src/records/a.ts': text }),
    lines.map((line) => `src/records/a.ts:${line} outside`),
  )
  for (const free of [
    'src/platform/nodejs/a.ts',
    'src/cli/a.ts',
    'src/main.ts',
    'src/records/a.test.ts',
    'bench/a.ts',
  ]) {
    assert.deepEqual(findings({ [free]: text }), [], free)
  }
})

test('outside: the finding names the replacement', () => {
  assert.match(message('src/storage/a.ts', 'setImmediate(f)\n'), /platform\.clock\.endOfTurn/)
  assert.match(message('src/storage/a.ts', "import * as fs from 'fs'\n"), /platform\.disk/)
})

test('outside: the HTTP gateway has its library, and nothing else', () => {
  const text = "import { createServer } from 'node:http'\nimport { readFileSync } from 'node:fs'\n"
  assert.deepEqual(findings({ 'src/gateways/http/a.ts': text }), ['src/gateways/http/a.ts:2 outside'])
})

test('leftovers: marks anywhere, phrases in prose', () => {
  const mark = `FIX${'ME'}`
  const phrase = `place${'holder'}`
  const text = `/** A ${phrase}. */\nconst ${phrase} = '${phrase}'\nconst a = '${mark}'\n`
  assert.deepEqual(findings({ 'src/cli/a.ts': text }), ['src/cli/a.ts:1 leftovers', 'src/cli/a.ts:3 leftovers'])
  assert.deepEqual(findings({ 'docs/A.md': `Good\n\nfor ${'now'}\n` }), ['docs/A.md:3 leftovers'])
})

test('leftovers: no test is switched off', () => {
  const text = "test.skip('a', () => {})\ntest('b', { todo: true }, () => {})\n// test.only\n"
  const lines = [1, 2]
  assert.deepEqual(
    findings({ 'src/cli/a.test.ts': text }),
    lines.map((line) => `src/cli/a.test.ts:${line} leftovers`),
  )
})

test('openings: a module introduces itself unless it is tiny', () => {
  const body = 'export const a = 1\n'
  assert.deepEqual(findings({ 'src/stdx/a.ts': body.repeat(15) }), [])
  assert.deepEqual(findings({ 'src/stdx/a.ts': body.repeat(16) }), ['src/stdx/a.ts:1 openings'])
  assert.deepEqual(findings({ 'src/stdx/a.ts': `/** Why. */\n${body.repeat(16)}` }), [])
  assert.deepEqual(findings({ 'src/stdx/a.ts': `#!/usr/bin/env node\n// Why.\n${body.repeat(16)}` }), [])
  const imported = "import type {\n  A,\n} from './b.ts'\nimport './c.ts'\n\n"
  assert.deepEqual(findings({ 'src/stdx/a.ts': `${imported}/** Why. */\n${body.repeat(16)}` }), [])
  assert.deepEqual(findings({ 'src/stdx/a.ts': imported + body.repeat(16) }), ['src/stdx/a.ts:1 openings'])
})

test('state: nothing mutable at the top of a module', () => {
  const text = `let a = 1
export let b: string
const c = new Map<string, number>()
const d: string[] = []
const e = {}
const f = new Set(['x'])
const g: readonly string[] = []
const h = [1]
function i() {
  let j = 0
  return j
}
`
  assert.deepEqual(
    findings({ 'src/stdx/a.ts': text }),
    [1, 2, 3, 4, 5].map((line) => `src/stdx/a.ts:${line} state`),
  )
})

test('source text: comments, strings, templates and regular expressions', () => {
  const text = [
    "const a = 'it\\'s // no comment' // a comment",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text under test
    'const b = `text ${c /* inner */ + `deep ${d}`} text`',
    'const e = /[\'"/]/.test(f) ? g / h / i : 1',
    'const j = /[/]x/g // it',
  ].join('\n')
  const { withoutComments, codeOnly } = sourceText(text)
  assert.equal(withoutComments.length, text.length)
  const squeezed = codeOnly.split('\n').map((line) => line.replace(/ +/g, ' ').trim())
  assert.deepEqual(squeezed, [
    "const a = ' '",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text under test
    'const b = ` ${c + ` ${d}`} `',
    'const e = / /.test(f) ? g / h / i : 1',
    'const j = / /g',
  ])
  assert.ok(withoutComments.includes('// no comment') && !withoutComments.includes('inner'))
})
