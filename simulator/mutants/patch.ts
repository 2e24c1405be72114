/**
 * Mutants of the product: a place in the compiled tree and what stands there instead.
 *
 *      dist/src, dist/simulator ──copy──► a temporary tree ──replace──► child processes run seeds there
 *
 * The text to find must be there exactly once, or the mutant is refused: a patch that no longer applies is a mutant that nobody
 * hunts, and a test sees to it (patch.test.ts). White space does not count, so that a patch reads like the source and survives
 * the compiler's way of laying out lines.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Mutant } from './mutant.ts'

export interface Edit {
  /** Under src/, without its ending: `replication/leader`. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PatchMutant extends Mutant {
  readonly edits: readonly Edit[]
}

export class PatchError extends Error {
  override name = 'PatchError'
}

/** The text with the edit made. Throws when `find` is not there exactly once. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const pattern = new RegExp(find.trim().split(/\s+/).map(escaped).join('\\s+'), 'g')
  const places = [...text.matchAll(pattern)]
  if (places.length !== 1) throw new PatchError(`${file}: found ${places.length} times, not once: ${find}`)
  const [place] = places
  return text.slice(0, place!.index) + replace + text.slice(place!.index + place![0].length)
}

function escaped(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')
}

/** Texts of the files that the mutant changes, by path below dist/. */
export function patchedFiles(mutant: PatchMutant, dist: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const edit of mutant.edits) {
    const path = join('src', `${edit.file}.js`)
    files.set(path, edited(files.get(path) ?? readFileSync(join(dist, path), 'utf8'), edit))
  }
  return files
}

export interface PatchedTree {
  /** The module that runs jobs in it, and its command line. */
  readonly entry: string
  readonly main: string
  remove(): void
}

/** A copy of the compiled tree with the mutant's edits. `root`: the repository. */
export function buildTree(mutant: PatchMutant, root = process.cwd()): PatchedTree {
  const dist = join(root, 'dist')
  const files = patchedFiles(mutant, dist)
  const tree = mkdtempSync(join(tmpdir(), `tidemark-${mutant.name}-`))
  for (const folder of ['src', 'simulator']) {
    cpSync(join(dist, folder), join(tree, 'dist', folder), {
      recursive: true,
      filter: (path) => !/\.(?:test\.js|d\.ts)$/.test(path),
    })
  }
  for (const [path, text] of files) writeFileSync(join(tree, 'dist', path), text)
  writeFileSync(join(tree, 'package.json'), readFileSync(join(root, 'package.json')))
  symlinkSync(resolve(root, 'node_modules'), join(tree, 'node_modules'), 'dir')
  return {
    entry: join(tree, 'dist', 'simulator', 'runner', 'worker.js'),
    main: join(tree, 'dist', 'simulator', 'main.js'),
    remove: () => rmSync(tree, { recursive: true, force: true }),
  }
}
