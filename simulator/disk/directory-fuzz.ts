/**
 * The one promise about damage at rest, tried at any byte of any file: a directory that was damaged is refused with a typed error,
 * or opens to exactly what it held.
 *
 *     a directory ──copy──► damage at one place ──► open, read everything ──► refused │ the same │ anything else: a defect
 *
 * Where nothing can prove that something is missing (the last block of the journal; see `atlas.ts`), a third answer is right: what
 * a crash would have left just before that block was written.
 */

import type { Platter } from '../../src/platform/memory/index.ts'
import { Prng, TypedError } from '../../src/stdx/index.ts'
import type { StorageOptions } from '../../src/storage/index.ts'
import { Atlas, FILE_KINDS, type FileKind } from './atlas.ts'
import { DAMAGE_SHAPES, damage } from './damage.ts'
import { type Reading, readDirectory } from './directory-content.ts'

export type Judgement = 'refused' | 'harmless' | 'cut'

/** How many came out how: `shard-log refused`, `journal harmless`, … */
export type FuzzTally = Map<string, number>

export class DirectoryJudge {
  readonly whole: Reading & { readonly kind: 'whole' }
  readonly #options: StorageOptions
  /** Without its last block. */
  readonly #cut: Reading | null

  constructor(platter: Platter, options: StorageOptions) {
    this.#options = options
    const whole = readDirectory(platter, options)
    if (whole.kind !== 'whole') throw new Error('the directory was damaged before', { cause: whole.error })
    this.whole = whole
    const last = new Atlas(platter, options.directory).lastBlock()
    if (last === null) this.#cut = null
    else {
      const copy = platter.copy()
      copy.overwrite(last.path, last.from, Buffer.alloc(last.to - last.from))
      this.#cut = readDirectory(copy, options)
    }
  }

  /** Throws what is wrong with the answer of a damaged directory. `mayForget`: the damage reaches what nothing proves. */
  judge(damaged: Platter, mayForget: boolean, what: string): Judgement {
    let reading: Reading
    try {
      reading = readDirectory(damaged, this.#options)
    } catch (error) {
      throw new Error(`${what}: ${(error as Error).message}`, { cause: error })
    }
    if (reading.kind === 'refused') {
      const { error } = reading
      if (!(error instanceof TypedError)) throw new Error(`${what}: ${error}`)
      return 'refused'
    }
    if (same(reading, this.whole)) return 'harmless'
    if (mayForget && this.#cut !== null && same(reading, this.#cut)) return 'cut'
    throw new Error(`${what}: it opened, and holds ${describe(reading)} instead of ${describe(this.whole)}`)
  }
}

export interface FuzzOptions {
  readonly seed: number | string
  readonly rounds: number
  readonly kinds?: readonly FileKind[]
}

/** Damages copies of what lies there, one place each, and judges every one. */
export function fuzzDirectory(platter: Platter, options: StorageOptions, fuzz: FuzzOptions): FuzzTally {
  const judge = new DirectoryJudge(platter, options)
  const atlas = new Atlas(platter, options.directory)
  const last = atlas.lastBlock()
  const prng = new Prng(`${fuzz.seed}/directory fuzz`)
  const kinds = fuzz.kinds ?? FILE_KINDS
  const tally: FuzzTally = new Map()
  for (let round = 0; round < fuzz.rounds; round++) {
    const kind = kinds[prng.below(kinds.length)]!
    const copy = platter.copy()
    const everywhere = prng.below(4) === 0
    const regions = everywhere ? atlas.everything(kind) : atlas.detectable(kind)
    const shape = DAMAGE_SHAPES[prng.below(DAMAGE_SHAPES.length)]!
    const done = damage(copy, regions, shape, prng.uint32())
    if (done === null) continue
    const { path, from, to } = done
    const mayForget = last !== null && path === last.path && to > last.from && from < last.to
    const verdict = judge.judge(copy, mayForget, `${shape} in ${path} [${from}, ${to})`)
    const key = `${kind} ${verdict}`
    tally.set(key, (tally.get(key) ?? 0) + 1)
  }
  return tally
}

function same(a: Reading, b: Reading): boolean {
  if (a.kind !== 'whole' || b.kind !== 'whole' || a.content.size !== b.content.size) return false
  return [...a.content].every(([shard, line]) => b.content.get(shard) === line)
}

function describe(reading: Reading): string {
  if (reading.kind !== 'whole') return `nothing (${reading.error.message})`
  return [...reading.content].map(([shard, line]) => `${shard}: ${line.slice(0, 40)}`).join('; ')
}
