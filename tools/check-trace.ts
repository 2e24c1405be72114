#!/usr/bin/env node
/**
 * Reads the traces of all nodes of one run (TIDEMARK_TRACE) and proves, or refutes, that no acknowledgement left before a
 * quorum of disks held what it promised. SIGKILL spares the page cache, so a soak that kills processes cannot see a missing
 * fdatasync by its losses; this can.
 *
 *     node 1   journaled term 2, index 7 ────────────────┐
 *     node 3        journaled term 2, index 8 ───────────┤ two of three: fine
 *     node 1                                             └► acknowledged term 2, index 7, offset 43
 *     node 2                                                  journaled term 2, index 7   (too late to count)
 *
 * **The rule.** An acknowledgement names an entry (term, index) of the leader's own term: everything that is being promised is
 * in it or before it. It is sound if at that moment a quorum of nodes *holds* that entry. A node holds the log of a term up to an
 * index as follows:
 *
 *   - `journaled` (term T, index I), which is written in the callback of the fdatasync, says that the entry of T at index I is on
 *     that disk. By log matching (Raft §5.3) so is all of T's log before it: the node holds T's log up to I.
 *   - Only the same term counts. A follower that is in term 3 may still have leftovers of term 2 at higher indexes, and that its
 *     journal reaches "index 10" then says nothing about the tenth entry of term 3. For the entry that an acknowledgement
 *     names the last word on every disk that holds it is of that term, so this is not too strict.
 *   - `truncated` from index F voids everything from F on, for all terms, at once: in memory the entries are gone though the disk
 *     still has them, and they may be overwritten at any time.
 *   - A restart voids nothing. What was synced must be there again; a node that comes back with less is a finding of its own,
 *     and the worst there is. (What recovery finds beyond that, it syncs before it says `journaled`.)
 *
 * The trace must not be believed about the index alone: the `appended` lines of the acknowledging node say which entry holds the
 * last offset below the acknowledged one, and that entry must not lie behind the named one.
 *
 * Times are of the machine's monotonic clock; each line is written before anybody can act on what it says. So the merged order
 * is the order of cause and effect, and nothing is allowed for.
 */
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** A node has opened its storage; what it synced before counts on, so this voids nothing. */
export interface RecoveredLine {
  readonly type: 'recovered'
  /** Label of the row of `RECOVERY_TABLE` that ended the journal, or `empty`. */
  readonly ending: string
  readonly fresh: boolean
  readonly segments: number
  readonly blocks: number
}

export type TraceLine = { readonly t: number; readonly node: number } & (
  | RecoveredLine
  | { readonly type: 'journaled'; readonly shard: number; readonly term: number; readonly index: number }
  | { readonly type: 'truncated'; readonly shard: number; readonly fromIndex: number }
  | {
      readonly type: 'appended'
      readonly shard: number
      readonly index: number
      readonly firstOffset: number
      readonly records: number
    }
  | {
      readonly type: 'acknowledged'
      readonly shard: number
      readonly term: number
      readonly index: number
      readonly offset: number
    }
)

export interface TraceReport {
  readonly lines: number
  readonly journaled: number
  readonly acknowledged: number
  readonly truncated: number
  readonly problems: readonly string[]
}

/** What one node has of one shard. */
class Replica {
  /** Term → the index up to which that term's log is on this disk. */
  readonly #held = new Map<number, number>()
  /** Entries that this node made as a leader, by index: the offset of their first record. */
  readonly #appended: { readonly index: number; readonly firstOffset: number }[] = []

  get end(): number {
    return Math.max(0, ...this.#held.values())
  }

  /** Returns what is wrong with it, if anything. */
  journaled(term: number, index: number): string | null {
    const { end } = this
    for (const known of this.#held.keys()) if (known < term - 64) this.#held.delete(known)
    this.#held.set(term, index)
    return index < end ? `had journaled up to index ${end}, and now up to ${index} of term ${term} only` : null
  }

  truncated(fromIndex: number): void {
    for (const [term, index] of this.#held) this.#held.set(term, Math.min(index, fromIndex - 1))
    while ((this.#appended.at(-1)?.index ?? 0) >= fromIndex) this.#appended.pop()
  }

  appended(index: number, firstOffset: number): void {
    this.#appended.push({ index, firstOffset })
    if (this.#appended.length > 20_000) this.#appended.splice(0, 10_000)
  }

  /** The entry, among those that this node made, that holds the last record below `offset`; 0 if another node made it. */
  indexBelow(offset: number): number {
    for (let i = this.#appended.length - 1; i >= 0; i--) {
      if (this.#appended[i]!.firstOffset < offset) return this.#appended[i]!.index
    }
    return 0
  }

  holds(term: number, index: number): boolean {
    return (this.#held.get(term) ?? 0) >= index
  }
}

const PROBLEMS_SHOWN = 50

/** `lines` in the order of their times; `replicas`: how many nodes each shard is on. */
export function checkTrace(lines: Iterable<TraceLine>, replicas: number): TraceReport {
  const quorum = Math.floor(replicas / 2) + 1
  const shards = new Map<number, Map<number, Replica>>()
  const counts = { lines: 0, journaled: 0, acknowledged: 0, truncated: 0, appended: 0 }
  const problems: string[] = []
  let found = 0
  const problem = (line: Exclude<TraceLine, { type: 'recovered' }>, what: string): void => {
    if (++found <= PROBLEMS_SHOWN)
      problems.push(`${line.t.toFixed(3)}: node ${line.node}, shard ${line.shard}: ${what}`)
  }
  for (const line of lines) {
    counts.lines++
    if (line.type === 'recovered') continue
    counts[line.type]++
    const nodes = shards.get(line.shard) ?? new Map<number, Replica>()
    shards.set(line.shard, nodes)
    const replica = nodes.get(line.node) ?? new Replica()
    nodes.set(line.node, replica)
    switch (line.type) {
      case 'journaled': {
        const wrong = replica.journaled(line.term, line.index)
        if (wrong !== null) problem(line, wrong)
        break
      }
      case 'truncated':
        replica.truncated(line.fromIndex)
        break
      case 'appended':
        replica.appended(line.index, line.firstOffset)
        break
      case 'acknowledged': {
        const { term, index, offset } = line
        const needed = replica.indexBelow(offset)
        if (needed > index) {
          problem(line, `acknowledged offset ${offset} by entry ${index}, but entry ${needed} holds what is below it`)
        }
        const holders = [...nodes].filter(([, each]) => each.holds(term, index)).map(([node]) => node)
        if (holders.length < quorum) {
          const who = holders.length === 0 ? 'no node' : `only node ${holders.join(', ')}`
          problem(
            line,
            `acknowledged offset ${offset} (term ${term}, index ${index}) when ${who} of ${replicas} had journaled it`,
          )
        }
      }
    }
  }
  if (found > PROBLEMS_SHOWN) problems.push(`… and ${found - PROBLEMS_SHOWN} more`)
  const { journaled, acknowledged, truncated } = counts
  return { lines: counts.lines, journaled, acknowledged, truncated, problems }
}

/** All lines of one process. Only the very last may be cut off, by the end of the process. */
export function parseTrace(text: string, file: string): TraceLine[] {
  const lines = text.split('\n')
  lines.pop()
  let last = Number.NEGATIVE_INFINITY
  return lines.map((line, i) => {
    let parsed: TraceLine
    try {
      parsed = JSON.parse(line) as TraceLine
    } catch {
      throw new Error(`${file}:${i + 1}: not a line of a trace: ${line.slice(0, 80)}`)
    }
    if (parsed.t < last) throw new Error(`${file}:${i + 1}: time goes back`)
    last = parsed.t
    return parsed
  })
}

/** Sorted by time; at the very same time what was journaled comes before what was acknowledged. */
export function mergeTraces(traces: readonly TraceLine[][]): TraceLine[] {
  const rank = (line: TraceLine): number => (line.type === 'acknowledged' ? 1 : 0)
  return traces.flat().sort((a, b) => a.t - b.t || rank(a) - rank(b))
}

export function readTraces(directory: string): TraceLine[] {
  const files = fs.readdirSync(directory).filter((name) => /^node-\d+-\d+\.jsonl$/.test(name))
  if (files.length === 0) throw new Error(`no node-*.jsonl in ${directory}; was TIDEMARK_TRACE set?`)
  return mergeTraces(files.map((name) => parseTrace(fs.readFileSync(path.join(directory, name), 'utf8'), name)))
}

function main(args: string[]): number {
  const [directory, replicas = '3'] = args
  if (directory === undefined || directory.startsWith('-') || !(Number(replicas) >= 1)) {
    console.log(
      'Usage: node dist/tools/check-trace.js DIRECTORY [REPLICAS]\n\nReads node-*.jsonl there and checks that no acknowledgement left before a quorum of REPLICAS (default 3) had\nsynced what it promised. Exit code 1 when one did.',
    )
    return directory === '--help' || directory === '-h' ? 0 : 1
  }
  const report = checkTrace(readTraces(directory), Number(replicas))
  for (const problem of report.problems) console.log(problem)
  const sound = report.problems.length === 0 && report.acknowledged > 0
  console.log(
    `check-trace: ${report.acknowledged} acknowledgements, ${report.journaled} syncs, ${report.truncated} truncations: ${sound ? 'sound' : report.acknowledged === 0 ? 'nothing was acknowledged' : 'BROKEN'}`,
  )
  return sound ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2))
