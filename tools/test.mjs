/**
 * Runs the compiled tests. The files are collected here, because Node.js 20 and 24 disagree about globs, and the reporter is
 * named, because they disagree about that too.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const HELP = `Usage: node tools/test.mjs [filter …] [--name PATTERN] [--reporter spec|dot|tap] [--help]

Runs dist/**/*.test.js with node --test; build first. A filter is a part of a path: "journal", "src/storage",
"src/storage/journal.test.ts". Without a filter everything runs.

  --name PATTERN      only tests whose name matches this regular expression
  --reporter NAME     spec (default), dot or tap

Environment: TIDEMARK_REWRITE=1 writes the expectations of the text stories anew.
`

const TEST_TIMEOUT_MS = 180_000
const root = join(dirname(fileURLToPath(import.meta.url)), '..')

const filters = []
const names = []
let reporter = 'spec'
const args = process.argv.slice(2)
while (args.length > 0) {
  const arg = args.shift()
  if (arg === '--help' || arg === '-h') {
    process.stdout.write(HELP)
    process.exit(0)
  } else if (arg === '--name' && args.length > 0) names.push(`--test-name-pattern=${args.shift()}`)
  else if (arg === '--reporter' && args.length > 0) reporter = args.shift()
  else if (arg.startsWith('-')) fail(`unknown argument ${arg}\n\n${HELP}`)
  else filters.push(arg)
}

const all = testsUnder(join(root, 'dist')).sort()
if (all.length === 0) fail('dist/ holds no tests; run npm run build first')
const files = filters.length === 0 ? all : all.filter((path) => filters.some((filter) => matches(path, filter)))
if (files.length === 0) fail(`no test file matches ${filters.join(', ')} (of ${all.length})`)

const startedAt = performance.now()
const runner = spawn(
  process.execPath,
  [
    '--test',
    '--test-concurrency=2',
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
    ...names,
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
)
runner.on('exit', (code, signal) => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const verdict = code === 0 ? 'passed' : `FAILED${signal === null ? '' : ` (${signal})`}`
  process.stdout.write(`test: ${files.length} of ${all.length} test files ${verdict} (${seconds} s)\n`)
  process.exitCode = code === 0 ? 0 : 1
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => runner.kill(signal))

function testsUnder(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return testsUnder(path)
    return entry.name.endsWith('.test.js') ? [relative(root, path)] : []
  })
}

/** `src/x.test.ts`, `dist/src/x.test.js`, `./src/x` and `x` all mean the same file. */
function matches(path, filter) {
  const plain = filter.replace(/^\.\//, '').replace(/\.ts$/, '.js')
  return path.split(sep).join('/').includes(plain)
}

function fail(text) {
  process.stderr.write(`test: ${text}\n`)
  process.exit(1)
}
