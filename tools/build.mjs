/**
 * Compiles the repository with tsc into dist/, and bundles what is published, both only when something changed.
 *
 *     src, tools, …  ── tsc ──►  dist/src, dist/tools, …       what the tests run, and the declarations
 *     dist/src       ── rolldown ──►  dist/bundle              what users run: the same statements in a few files
 *
 * Loading hundreds of small modules took a third of the time between the start of a node and its first write. Only our own modules
 * are bundled; the libraries stay what `npm install` makes of them. Nothing is minified, so that a stack trace can be read.
 *
 * Two things tsc leaves undone: it keeps the output of sources that are gone (a deleted test would run for ever), and it
 * does not make the command executable.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HELP = `Usage: node tools/build.mjs [--check] [--force] [--help]

Compiles src, simulator, compat, bench and tools into dist/ (incremental; nothing to do takes a tenth of a second).

  --check   only check the types, write no output
  --force   compile from nothing
`

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(root, 'dist')
const bundled = join(dist, 'bundle')
const stampFile = join(dist, '.built')

const flags = new Set(process.argv.slice(2))
if (flags.has('--help') || flags.has('-h')) {
  process.stdout.write(HELP)
  process.exit(0)
}
const check = flags.delete('--check')
const force = flags.delete('--force')
if (flags.size > 0) {
  process.stderr.write(`build: unknown argument ${[...flags][0]}\n\n${HELP}`)
  process.exit(1)
}

const startedAt = performance.now()
if (force) rmSync(dist, { recursive: true, force: true })
const sources = readConfiguration().include.flatMap((folder) => filesUnder(join(root, folder)).filter(isSource))
const stamp = fingerprint([
  ...sources,
  join(root, 'tsconfig.json'),
  join(root, 'package.json'),
  compiler(),
  fileURLToPath(import.meta.url),
])
const label = `${sources.length} files`

if (!check && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) {
  report(`${label}, nothing changed`)
  process.exit(0)
}

const options = check ? ['--noEmit', '--tsBuildInfoFile', join('dist', '.tsbuildinfo-check')] : []
const pretty = process.stdout.isTTY ? ['--pretty'] : []
const compiled = spawnSync(process.execPath, [compiler(), '-p', 'tsconfig.json', ...options, ...pretty], {
  cwd: root,
  stdio: 'inherit',
})
if (compiled.status !== 0) {
  if (!check) rmSync(stampFile, { force: true })
  process.stderr.write(`build: failed (${label})\n`)
  process.exit(1)
}
if (check) report(`${label}, types are sound`)
else {
  const removed = removeOrphans()
  await bundle()
  writeFileSync(stampFile, stamp)
  report(`${label} compiled into dist/${removed > 0 ? `, ${removed} old files removed` : ''}`)
}

function readConfiguration() {
  return JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'))
}

function compiler() {
  return join(root, 'node_modules', 'typescript', 'bin', 'tsc')
}

function filesUnder(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesUnder(path) : [path]
  })
}

function isSource(path) {
  return path.endsWith('.ts')
}

/** Changes with any source's time, size or name, and with a source that comes or goes. */
function fingerprint(paths) {
  const lines = paths.map((path) => {
    const { mtimeMs, size } = statSync(path)
    return `${path} ${mtimeMs} ${size}`
  })
  return lines.sort().join('\n')
}

/** Flat, so that every file of it finds the package where the compiled ones do (src/package.ts). */
async function bundle() {
  const { rolldown } = await import('rolldown')
  const entry = (name) => join(dist, 'src', `${name}.js`)
  const build = await rolldown({
    input: { main: entry('main'), index: entry('index') },
    external: (id) => !id.startsWith('.') && !isAbsolute(id),
    platform: 'node',
  })
  await build.write({ dir: bundled, format: 'esm', cleanDir: true, chunkFileNames: '[name].js' })
  await build.close()
  chmodSync(join(bundled, 'main.js'), 0o755)
}

/** Removes compiled files whose source is gone; returns how many. */
function removeOrphans() {
  let removed = 0
  for (const path of filesUnder(dist)) {
    if (path.startsWith(bundled)) continue
    const match = /^(.*)\.(?:d\.ts|js)(?:\.map)?$/.exec(path)
    if (match === null || existsSync(`${root}${match[1].slice(dist.length)}.ts`)) continue
    rmSync(path)
    removed++
  }
  return removed
}

function report(text) {
  process.stdout.write(`build: ${text} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)\n`)
}
