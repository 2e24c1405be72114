/**
 * The repository keeps its own rules.
 *
 * Rules that live in a document are broken by the third person who has not read it; these are a test. Each finding names the
 * file, the line and what to write instead. `tidy` is a function of a tree of texts, so that its own tests are small trees.
 *
 *     layers      imports run downwards only:  main, cli ► index.ts ► node.ts ► backup ► gateways ► streams ► tables ► cluster
 *                                              ► replication ► storage ► records ► platform ► stdx
 *     doors       another layer is entered by its index.ts
 *     outside     only src/platform/nodejs touches files, sockets, timers, clocks and randomness
 *     platforms   which platform runs is chosen at the top: no layer imports platform/nodejs or platform/memory
 *     leftovers   no unfinished work in words, no test that is switched off
 *     openings    a module opens by saying what it is about
 *     state       no module-level state
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { lineAt, type SourceText, sourceText } from './source-text.ts'

export interface Finding {
  readonly file: string
  readonly line: number
  readonly rule: string
  /** What is wrong, and what to write instead. */
  readonly message: string
}

/** Paths from the repository's root, with `/`, and their texts. */
export type Tree = ReadonlyMap<string, string>

interface Source extends SourceText {
  readonly file: string
  readonly text: string
  /** Tests, fuzzers and benchmarks may reach across. */
  readonly isTest: boolean
  /** `storage`, `node.ts`, …; null outside src. */
  readonly layer: string | null
  readonly imports: readonly Import[]
}

interface Import {
  readonly specifier: string
  /** From the repository's root; null for packages. */
  readonly target: string | null
  /** `import type`: nothing of it is left when the program runs. */
  readonly typeOnly: boolean
  readonly line: number
}

type Report = (line: number, rule: string, message: string) => void

/** From the bottom to the top; an import may only go down. */
const LAYERS = [
  'stdx',
  'platform',
  'records',
  'storage',
  'replication',
  'cluster',
  'tables',
  'streams',
  'gateways',
  'backup',
  'observability',
  'node.ts',
  'index.ts',
  'cli',
  'main.ts',
]

/** May choose a platform and use this process: the command line and the composition roots. */
const ROOTS = new Set(['node.ts', 'index.ts', 'cli', 'main.ts'])

const OUTSIDE_MODULES = new Map([
  ['fs', 'platform.disk'],
  ['fs/promises', 'platform.disk'],
  ['net', 'platform.network'],
  ['dgram', 'platform.network'],
  ['tls', 'platform.network'],
  ['http', 'platform.network'],
  ['https', 'platform.network'],
  ['http2', 'platform.network'],
  ['dns', 'platform.network'],
  ['timers', 'platform.clock'],
  ['timers/promises', 'platform.clock'],
  ['perf_hooks', 'platform.clock'],
  ['child_process', 'a command in src/cli'],
  ['worker_threads', 'a command in src/cli'],
  ['cluster', 'a command in src/cli'],
])

const OUTSIDE_NAMES: readonly [RegExp, string][] = [
  [/(?<![.\w])(?:set|clear)(?:Timeout|Interval)\b/g, 'platform.clock.after / every'],
  [/(?<![.\w])(?:set|clear)Immediate\b/g, 'platform.clock.endOfTurn'],
  [/\bDate\.now\b/g, 'platform.clock.now (or wall, for labels)'],
  [/\bnew Date\(\s*\)/g, 'platform.clock.wall'],
  [/(?<![.\w])performance\.now\b/g, 'platform.clock.now'],
  [/\bprocess\.hrtime\b/g, 'platform.clock.now'],
  [/\bMath\.random\b/g, 'platform.random.below'],
  [/\b(?:randomBytes|randomInt|randomUUID|getRandomValues)\b/g, 'platform.random.bytes / below'],
  [/\bconsole\.(?:log|error|warn|info|debug)\b/g, 'the trace function that the layer is handed'],
]

/** Written in parts, so that this file is no finding of itself. The marks are wrong anywhere, the phrases in prose. */
const MARKS = new RegExp(`\\b(?:${['FIX' + 'ME', 'TO' + 'DO', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`, 'g')
const PHRASES = new RegExp(
  `\\b(?:${['place' + 'holder', 'for ' + 'now', 'not (?:yet )?' + 'implemented'].join('|')})\\b`,
  'gi',
)

const SWITCHED_OFF = /\b(?:test|it|describe|suite)\.(?:only|skip|todo)\b|\b(?:only|skip|todo): true\b/g

const MODULE_STATE: readonly [RegExp, string][] = [
  [/^(?:export )?(?:let|var) \w+/gm, 'a field of the object that owns it'],
  [
    /^(?:export )?const \w+(?:: (?![Rr]eadonly)[^=\n]+)? = (?:new (?:Weak)?(?:Map|Set)(?:<[^\n]*>)?\(\)|\[\]|\{\})(?=\s|$)/gm,
    'a field of the object that owns it (an empty collection is there to be filled)',
  ],
]

/** A file this short needs no introduction. */
const TINY_LINES = 15

export function tidy(tree: Tree): Finding[] {
  const findings: Finding[] = []
  for (const [file, text] of tree) {
    const report: Report = (line, rule, message) => findings.push({ file, line, rule, message })
    leftovers(file, text, report)
    if (!file.endsWith('.ts')) continue
    const source = parse(file, text)
    switchedOff(source, report)
    if (source.layer === null) continue
    imports(source, report)
    if (source.isTest) continue
    outside(source, report)
    opening(source, report)
    moduleState(source, report)
  }
  return findings.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line))
}

function parse(file: string, text: string): Source {
  const { withoutComments, codeOnly } = sourceText(text)
  const isTest = /\.(?:test|fuzz|bench)\.ts$|(?:^|\/)(?:testing|contract|testdata)\//.test(file)
  const imports: Import[] = []
  const forms = /\b(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"\n]+)['"]|\bimport\s*\(?\s*['"]([^'"\n]+)['"]/g
  for (const match of withoutComments.matchAll(forms)) {
    const specifier = match[1] ?? match[2]!
    const target = specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : null
    const typeOnly = /^(?:import|export)\s+type\b/.test(match[0])
    imports.push({ specifier, target, typeOnly, line: lineAt(text, match.index + match[0].length - 1) })
  }
  return { file, text, withoutComments, codeOnly, isTest, layer: layerOf(file), imports }
}

/** A file at the root of src that has no place of its own belongs to the composition root. */
function layerOf(file: string): string | null {
  const [top, layer] = file.split('/')
  if (top !== 'src' || layer === undefined) return null
  return layer.endsWith('.ts') && !LAYERS.includes(layer) ? 'node.ts' : layer
}

function imports(source: Source, report: Report): void {
  const from = source.layer!
  if (!LAYERS.includes(from) && !source.isTest) {
    report(1, 'layers', `src/${from} is no layer; put the file into one of ${LAYERS.join(', ')}`)
  }
  for (const { specifier, target, line } of source.imports) {
    if (target === null) continue
    const to = layerOf(target)
    if (to === null) {
      if (!source.isTest) report(line, 'layers', `${specifier} is outside src; what the product needs lives in src`)
      continue
    }
    if (/^src\/platform\/(?:nodejs|memory|contract)\//.test(target)) platformChoice(source, target, line, report)
    if (to === from) continue
    if (!source.isTest) layerOrder(from, to, specifier, line, report)
    // What fuzzers share, or tests, is no part of a layer.
    const amongFuzzers = source.file.endsWith('.fuzz.ts') && target.endsWith('.fuzz.ts')
    const amongTests = source.isTest && /\bharness\.test\.ts$/.test(target)
    if (!isDoor(target) && !amongFuzzers && !amongTests) {
      report(
        line,
        'doors',
        `${specifier} goes around the door of ${to}; import src/${to}/index.ts and export there what is missing`,
      )
    }
  }
}

function layerOrder(from: string, to: string, specifier: string, line: number, report: Report): void {
  if (to === 'observability' && from !== 'node.ts') {
    report(
      line,
      'layers',
      `only node.ts imports observability; emit an event through trace instead of importing ${specifier}`,
    )
  } else if (LAYERS.indexOf(to) > LAYERS.indexOf(from)) {
    report(
      line,
      'layers',
      `${from} is below ${to}; turn ${specifier} into an interface of ${from} that ${to} implements`,
    )
  }
}

function platformChoice(source: Source, target: string, line: number, report: Report): void {
  const folder = target.split('/')[2]!
  if (source.isTest || ROOTS.has(source.layer!) || source.file.startsWith(`src/platform/${folder}/`)) return
  report(
    line,
    'platforms',
    `platform/${folder} is chosen by node.ts, index.ts, cli or a test; take a Platform through the constructor`,
  )
}

function isDoor(target: string): boolean {
  const parts = target.split('/')
  if (parts.length === 2) return true
  if (parts.at(-1) === 'index.ts') {
    // Gateways and platforms are several houses in one street, each with a door of its own.
    return parts.length === 3 || (parts.length === 4 && (parts[1] === 'gateways' || parts[1] === 'platform'))
  }
  return target.startsWith('src/platform/contract/')
}

function outside(source: Source, report: Report): void {
  if (source.file.startsWith('src/platform/nodejs/')) return
  if (source.layer === 'cli' || source.layer === 'main.ts') return
  const http = source.file.startsWith('src/gateways/http/')
  for (const { specifier, line, typeOnly } of source.imports) {
    const module = specifier.replace(/^node:/, '')
    const instead = OUTSIDE_MODULES.get(module)
    if (instead === undefined || typeOnly || (http && module === 'http')) continue
    report(line, 'outside', `${specifier} is the outside world; use ${instead}`)
  }
  for (const [pattern, instead] of OUTSIDE_NAMES) {
    each(source.codeOnly, pattern, (match, line) =>
      report(line, 'outside', `${match} is the outside world; use ${instead}`),
    )
  }
}

function leftovers(file: string, text: string, report: Report): void {
  each(text, MARKS, (match, line) =>
    report(line, 'leftovers', `"${match}" marks unfinished work; do it, or open an issue`),
  )
  each(prose(file, text), PHRASES, (match, line) =>
    report(
      line,
      'leftovers',
      `"${match}" tells of unfinished work; build it, or leave it out and say so in the design`,
    ),
  )
}

/** The comments of a program, the whole of a document. */
function prose(file: string, text: string): string {
  if (file.endsWith('.md')) return text
  const { withoutComments } = sourceText(text)
  return [...text]
    .map((character, i) => (withoutComments[i] === character ? (character === '\n' ? '\n' : ' ') : character))
    .join('')
}

function switchedOff(source: Source, report: Report): void {
  if (!source.isTest) return
  each(source.codeOnly, SWITCHED_OFF, (match, line) =>
    report(line, 'leftovers', `${match} switches tests off; repair the test or remove it`),
  )
}

function opening(source: Source, report: Report): void {
  if (source.text.trimEnd().split('\n').length <= TINY_LINES) return
  const start = source.text.replace(/^#!.*\n/, '').trimStart()
  if (start.startsWith('/*') || start.startsWith('//')) return
  // A comment right after the imports introduces the module as well.
  const afterImports = start.replace(/^(?:import\b[^'"]*['"][^'"\n]+['"];?\s*)+/, '')
  if (afterImports.startsWith('/*') || afterImports.startsWith('//')) return
  report(
    1,
    'openings',
    'the module says nothing about itself; open it with a comment: the problem, the idea, the hard part',
  )
}

function moduleState(source: Source, report: Report): void {
  for (const [pattern, instead] of MODULE_STATE) {
    each(source.codeOnly, pattern, (match, line) =>
      report(line, 'state', `"${match}" is module-level state; make it ${instead}`),
    )
  }
}

function each(text: string, pattern: RegExp, found: (match: string, line: number) => void): void {
  for (const match of text.matchAll(pattern)) found(match[0].trim(), lineAt(text, match.index))
}

const FOLDERS = ['src', 'simulator', 'compat', 'bench', 'tools', 'docs']

/** The repository's own texts. */
export function readTree(root: string): Tree {
  const tree = new Map<string, string>()
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
      const inside = posix.join(path, entry.name)
      if (entry.isDirectory()) visit(inside)
      else if (/\.(?:ts|mjs|md)$/.test(entry.name)) tree.set(inside, readFileSync(join(root, inside), 'utf8'))
    }
  }
  for (const folder of readdirSync(root)) if (FOLDERS.includes(folder)) visit(folder)
  return tree
}

export function describeFinding({ file, line, rule, message }: Finding): string {
  return `${file}:${line}  ${rule}  ${message}`
}

function main(args: string[]): number {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(
      'Usage: node dist/tools/tidy.js\n\nChecks the rules of the repository; run from its root. Exit code 1 when there are findings.',
    )
    return 0
  }
  const tree = readTree('.')
  const findings = tidy(tree)
  for (const finding of findings) console.log(describeFinding(finding))
  console.log(`tidy: ${tree.size} files, ${findings.length} findings`)
  return findings.length === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2))
