/** The three small files that are kept twice: which file is one of them, and what follows where it does not count. */
import { basename, dirname, join } from 'node:path'

export type SmallFile = 'identity' | 'checkpoint' | 'terms'

/** In a data directory, each and its copy. */
export const SMALL_FILES: readonly string[] = ['identity', 'checkpoint', 'terms'].flatMap((name) => [
  name,
  `${name}.copy`,
])

/** By its name in a data directory; null for any other. */
export function smallFileIn(name: string): SmallFile | null {
  return SMALL_FILES.includes(name) ? (name.replace(/\.copy$/, '') as SmallFile) : null
}

/** The other one of the two. */
export function twinOf(path: string): string {
  const name = basename(path)
  return join(dirname(path), name.endsWith('.copy') ? name.slice(0, -'.copy'.length) : `${name}.copy`)
}

const RECOVERS = 'a node that is alone does not start; in a cluster its shards recover from the other members'

/** Neither of the two counts, or the journal does not. Without a bound of terms nothing recovers (recovery.ts). */
export function whatFollows(lost: SmallFile | 'journal', boundKnown: boolean): string {
  if (lost === 'terms')
    return 'the node makes it anew, above all terms that it finds; with a damaged journal or checkpoint it does not start'
  if (lost === 'identity' || !boundKnown) return 'a node does not start on this directory without it'
  return RECOVERS
}
