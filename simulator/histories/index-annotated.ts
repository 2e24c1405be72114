/**
 * The same question as in `linearizability.ts`, for answers that say where in the log they stand: then there is nothing to
 * search for. The log *is* the order; what is left is to see whether it is a right one:
 *
 *   1. replay: sort the writes by index, and see whether each answer is what the state at its index gives;
 *   2. sweep real time: an operation stands at or above everything that had returned before it was called, a write above.
 *
 *      index │            w7 ────┤                  r: called after w7 returned,
 *            │   w5 ──┤                 ├── r5 ──┤     and stands below it: stale
 *            └──────────────────────────────────────► time
 *
 * O(n log n), a million operations in about a second. It is stricter than the search over one key: all keys of one log share
 * its indexes, so the second rule binds across keys. And it is blind where the search is not: it believes the indexes. So both
 * run, this one over everything, the other over what it can carry.
 *
 * A write without an answer has no index. If somebody reads its value, it was there: somewhere above the last write below
 * the reader, no reader in between having seen another value after it. A write that nobody saw may explain a compare-and-set
 * that found its value.
 */
import { isRefused, type Operation } from './history.ts'
import type { RegisterOperation } from './linearizability.ts'

export type IndexAnomalyName =
  /** Two writes at one index. */
  | 'index-used-twice'
  /** It stands below what had returned before it was called. */
  | 'stale-index'
  /** The state at that index gives another answer. */
  | 'wrong-value'
  /** A compare-and-set that found another value than there was. */
  | 'cas-from-wrong-value'
  /** A compare-and-set that was denied, and the value was the expected one. */
  | 'cas-denied-wrongly'
  /** An answer without an index. */
  | 'no-index'

export interface IndexAnomaly {
  readonly name: IndexAnomalyName
  readonly operation: RegisterOperation
  readonly what: string
}

/** The operations of one log; `limit` anomalies are enough. Values must be written once. */
export function checkIndexes(history: readonly Operation[], limit = 10): IndexAnomaly[] {
  const anomalies: IndexAnomaly[] = []
  const known: Indexed[] = []
  const lost: Lost[] = []
  for (const each of history) {
    const { f } = each.input
    if ((f !== 'read' && f !== 'write' && f !== 'cas') || isRefused(each)) continue
    const operation = each as RegisterOperation
    const { output } = operation
    if (output === null) {
      if (f !== 'read') lost.push({ operation, floor: -1 })
    } else if (output.index === undefined) {
      anomalies.push({ name: 'no-index', operation, what: `${label(operation)} has no index` })
    } else known.push({ operation, index: output.index, writes: f === 'write' || applied(operation) })
  }
  const note = (name: IndexAnomalyName, operation: RegisterOperation, what: string): boolean => {
    anomalies.push({ name, operation, what })
    return anomalies.length >= limit
  }
  if (anomalies.length < limit) sweep(known, lost, note)
  if (anomalies.length < limit) replay(known, lost, note)
  return anomalies
}

interface Indexed {
  readonly operation: RegisterOperation
  readonly index: number
  readonly writes: boolean
}

/** Takes an anomaly; true: that is enough of them. */
type Note = (name: IndexAnomalyName, operation: RegisterOperation, what: string) => boolean

/** A write without an answer. */
interface Lost {
  readonly operation: RegisterOperation
  /** It stands above this index, if anywhere. */
  floor: number
}

/** Every operation against the highest index that had returned strictly before its call. */
function sweep(known: readonly Indexed[], lost: Lost[], note: Note): void {
  const calls = sorted(known, (a, b) => a.operation.call - b.operation.call)
  const returns = sorted(known, (a, b) => a.operation.return - b.operation.return)
  lost.sort((a, b) => a.operation.call - b.operation.call)
  let floor = -1
  let by: Indexed | null = null
  let next = 0
  let nextLost = 0
  const learn = (before: number): void => {
    for (; next < returns.length && returns[next]!.operation.return < before; next++) {
      const { index } = returns[next]!
      if (index <= floor) continue
      floor = index
      by = returns[next]!
    }
  }
  const learnLost = (before: number): void => {
    for (; nextLost < lost.length && lost[nextLost]!.operation.call <= before; nextLost++) {
      learn(lost[nextLost]!.operation.call)
      lost[nextLost]!.floor = floor
    }
  }
  for (const each of calls) {
    learnLost(each.operation.call)
    learn(each.operation.call)
    if (each.writes ? each.index > floor : each.index >= floor) continue
    const what = `${label(each.operation)} stands at ${each.index}; ${label(by!.operation)} at ${floor} had returned before`
    if (note('stale-index', each.operation, what)) return
  }
  learnLost(Number.POSITIVE_INFINITY)
}

/** What a key holds while the indexes are gone through. */
interface Cell {
  /** The last that was certainly there, */
  value: string | null
  /** at this index. */
  seen: number
  /** Since then some write without an answer has changed it, nobody saw to what. */
  hidden: boolean
}

function replay(known: readonly Indexed[], lostWrites: readonly Lost[], note: Note): void {
  const lost = new LostWrites(lostWrites)
  // A write is before the reads at its index.
  const order = sorted(known, (a, b) => a.index - b.index || Number(b.writes) - Number(a.writes))
  const cells = new Map<string, Cell>()
  let lastWrite: Indexed | null = null
  for (const each of order) {
    const { operation, index, writes } = each
    const { input, output } = operation
    let cell = cells.get(input.key)
    if (cell === undefined) {
      cell = { value: null, seen: 0, hidden: false }
      cells.set(input.key, cell)
    }
    if (writes) {
      if (lastWrite !== null && lastWrite.index === index) {
        const what = `${label(operation)} and ${label(lastWrite.operation)} both stand at ${index}`
        if (note('index-used-twice', operation, what)) return
      }
      lastWrite = each
    }
    if (input.f === 'write') cell.value = input.value
    else if (input.f === 'read') {
      const value = output?.f === 'read' ? output.value : null
      if (!holds(cell, value) && !lost.explain(cell, value, each, index)) {
        const what = `${label(operation)} saw ${quote(value)} at ${index}, where the value is ${quote(cell.value)}, as of ${cell.seen}${cell.hidden ? ', or a lost one' : ''}`
        if (note('wrong-value', operation, what)) return
      }
    } else if (writes) {
      // What it found may be what a lost write left at a lower index: its own is taken.
      if (!holds(cell, input.expected) && !lost.explain(cell, input.expected, each, index - 1)) {
        const what = `${label(operation)} at ${index} applied to ${quote(cell.value)}`
        if (note('cas-from-wrong-value', operation, what)) return
      }
      cell.value = input.value
    } else {
      if (holds(cell, input.expected) && !lost.hide(cell, each)) {
        const what = `${label(operation)} was denied at ${index}, where the value is ${quote(cell.value)}`
        if (note('cas-denied-wrongly', operation, what)) return
      }
      // It says what is not there, so what is may have been put there below it.
      continue
    }
    cell.seen = index
    cell.hidden = false
  }
}

function holds(cell: Cell, value: string | null): boolean {
  return cell.value === value && !cell.hidden
}

/** Writes without an answer, while something may still be explained by them. */
class LostWrites {
  /** By key, then by value. */
  readonly #keys = new Map<string, Map<string, Lost>>()

  constructor(lost: readonly Lost[]) {
    for (const each of lost) {
      const { input } = each.operation
      if (input.f === 'read') continue
      let values = this.#keys.get(input.key)
      if (values === undefined) {
        values = new Map()
        this.#keys.set(input.key, values)
      }
      values.set(input.value, each)
    }
  }

  /** True if a lost write, at `index` at the highest, accounts for `value`: then it is there, and the write is used up. */
  explain(cell: Cell, value: string | null, by: Indexed, index: number): boolean {
    if (value === null) return false
    const values = this.#keys.get(by.operation.input.key)
    const write = values?.get(value)
    if (write === undefined || !fits(write, cell, by, index)) return false
    const { input } = write.operation
    values!.delete(value)
    if (input.f === 'cas' && input.expected !== cell.value && !this.explain(cell, input.expected, by, index - 1))
      return false
    cell.value = value
    return true
  }

  /** True if some lost write may have put another value there. Which one stays open. */
  hide(cell: Cell, by: Indexed): boolean {
    for (const write of this.#keys.get(by.operation.input.key)?.values() ?? []) {
      if (!fits(write, cell, by, by.index)) continue
      cell.hidden = true
      return true
    }
    return false
  }
}

function fits(write: Lost, cell: Cell, by: Indexed, index: number): boolean {
  return index > cell.seen && index > write.floor && write.operation.call <= by.operation.return
}

/** Histories come nearly sorted, which the engine's sort makes use of. */
function sorted(known: readonly Indexed[], compare: (a: Indexed, b: Indexed) => number): Indexed[] {
  return known.slice().sort(compare)
}

function applied({ output }: RegisterOperation): boolean {
  return output?.f === 'cas' && output.applied
}

function quote(value: string | null): string {
  return value === null ? 'nothing' : `"${value}"`
}

function label({ id, process, input }: RegisterOperation): string {
  const what =
    input.f === 'read'
      ? ''
      : input.f === 'write'
        ? ` ${quote(input.value)}`
        : ` ${quote(input.expected)} → ${quote(input.value)}`
  return `${input.f} ${id} of ${process} (${input.key}${what})`
}
