/**
 * The Raft core with its private fields in the open, and on request with a defect.
 *
 * To know that two ways have led to the same state, an explorer must see all of it, and the core keeps its state in private
 * fields, which nothing outside a class can read. So the modules of `src/replication` are loaded a second time, from a copy in
 * which every `#name` is an ordinary property. Nothing else differs: what is explored is the product's code, line by line.
 *
 *     src/replication/*  ──#name → open$name, a mutant's edits──►  a temporary directory  ──import──►  OpenedCore
 *                                                                    (removed again at once)
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Raft } from '../../src/replication/raft.ts'
import type { RaftLog } from '../../src/replication/raft-log.ts'
import { must } from '../../src/stdx/index.ts'
import { type Edit, edited, PatchError } from '../mutants/patch.ts'

export interface OpenedCore {
  readonly Raft: typeof Raft
  readonly RaftLog: typeof RaftLog
}

/** What stands before the name of a field that was private. */
export const OPENED = 'open$'
const LAYER = 'replication'
const PRIVATE_NAME = /#(?=[a-z]\w*)/g
const IMPORT = /(from|import) ['"](\.\.?\/[^'"]+)['"]/g
const UNWANTED = /\.(test|fuzz|d)\.|\.map$/

export async function openCore(defect: readonly Edit[] = []): Promise<OpenedCore> {
  const source = new URL(`../../src/${LAYER}/`, import.meta.url)
  // The same module as TypeScript when the sources run directly, as JavaScript when they were built.
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const ending = extension.replace('.', '.m')
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-opened-core-'))
  try {
    const unused = new Set(defect)
    for (const file of readdirSync(fileURLToPath(source))) {
      if (!file.endsWith(extension) || UNWANTED.test(file)) continue
      const name = file.slice(0, -extension.length)
      let text = readFileSync(fileURLToPath(new URL(file, source)), 'utf8')
      for (const edit of defect) {
        if (edit.file !== `${LAYER}/${name}`) continue
        text = edited(text, edit)
        unused.delete(edit)
      }
      const opened = text.replace(PRIVATE_NAME, OPENED).replace(IMPORT, (_all, keyword: string, path: string) => {
        const beside = path.startsWith('./') ? `${path.slice(0, -extension.length)}${ending}` : null
        return `${keyword} '${beside ?? new URL(path, source).href}'`
      })
      writeFileSync(join(directory, `${name}${ending}`), opened)
    }
    for (const { file } of unused) throw new PatchError(`there is no ${file} to put a defect into`)
    const load = async (name: string): Promise<Partial<OpenedCore>> =>
      await import(pathToFileURL(join(directory, `${name}${ending}`)).href)
    const raft = await load('raft')
    const raftLog = await load('raft-log')
    return { Raft: must(raft.Raft, 'the class Raft'), RaftLog: must(raftLog.RaftLog, 'the class RaftLog') }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
