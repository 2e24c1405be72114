/**
 * What clients did and what they were told, as data: the input of every checker in this directory.
 *
 * The simulator builds it in memory; a test against real processes writes it as JSON lines while it runs. A checker cannot
 * tell the two apart, which is the point: nothing here imports the product.
 *
 *     {"at":1200,"id":7,"process":"c1","type":"call","f":"write","key":"k","value":"v1"}
 *     {"at":1350,"id":7,"type":"ok","f":"write","index":12}
 *     {"at":1360,"id":8,"process":"c2","type":"call","f":"send","partition":"t/0","values":["a","b"],"ordered":true}
 *     {"at":9000,"id":8,"type":"unknown"}
 *
 *   - `at` comes from one monotonic clock, in any unit. Two events at one moment count as concurrent.
 *   - `id` is of one operation: its `call`, and one of `ok`, `fail` (it certainly did not and will not happen) and `unknown`.
 *     **A time-out or a lost connection is `unknown`, never `fail`**: the operation may take effect at any time from its call
 *     on, for ever. A call without a second line is `unknown` too.
 *   - `process` does one thing after the other, sends of an ordered producer excepted, which may overlap.
 *
 * | f           | call                                             | ok                                                      |
 * | ----------- | ------------------------------------------------ | ------------------------------------------------------- |
 * | `read`      | key                                              | value (null: none), index?                              |
 * | `write`     | key, value                                       | index?                                                  |
 * | `cas`       | key, expected, value                             | applied, index?                                         |
 * | `send`      | partition, values, ordered?, mayRepeat?          | offset (of the first)                                   |
 * | `poll`      | partition, position                              | records ([offset, value] …), highWatermark?, logStart?  |
 * | `seek`      | partition, position: the reader goes elsewhere   |                                                         |
 * | `trim`      | partition, before: what is below may go          | start?                                                  |
 * | `assign`    | group, member                                    | generation, partitions: what it owns from now on        |
 * | `commit`    | group, member, generation, partition, offset     |                                                         |
 * | `committed` | group, partition                                 | offset (−1: none)                                       |
 *
 * `index` is the place in the log that orders the key: of the write itself, or up to where the state was that was read.
 * `ordered`: the sender promises its sends to be in the log in the order of their calls (an idempotent producer).
 * `mayRepeat`: its client sends again without a sequence number, so a value may be there twice.
 */
export type Input =
  | { readonly f: 'read'; readonly key: string }
  | { readonly f: 'write'; readonly key: string; readonly value: string }
  | { readonly f: 'cas'; readonly key: string; readonly expected: string | null; readonly value: string }
  | {
      readonly f: 'send'
      readonly partition: string
      readonly values: readonly string[]
      readonly ordered?: boolean
      readonly mayRepeat?: boolean
    }
  | { readonly f: 'poll'; readonly partition: string; readonly position: number }
  | { readonly f: 'seek'; readonly partition: string; readonly position: number }
  | { readonly f: 'trim'; readonly partition: string; readonly before: number }
  | { readonly f: 'assign'; readonly group: string; readonly member: string }
  | {
      readonly f: 'commit'
      readonly group: string
      readonly member: string
      readonly generation: number
      readonly partition: string
      readonly offset: number
    }
  | { readonly f: 'committed'; readonly group: string; readonly partition: string }

export type Output =
  | { readonly f: 'read'; readonly value: string | null; readonly index?: number }
  | { readonly f: 'write'; readonly index?: number }
  | { readonly f: 'cas'; readonly applied: boolean; readonly index?: number }
  | { readonly f: 'send'; readonly offset: number }
  | {
      readonly f: 'poll'
      readonly records: readonly (readonly [offset: number, value: string])[]
      readonly highWatermark?: number
      readonly logStart?: number
    }
  | { readonly f: 'seek' }
  | { readonly f: 'trim'; readonly start?: number }
  | { readonly f: 'assign'; readonly generation: number; readonly partitions: readonly string[] }
  | { readonly f: 'commit' }
  | { readonly f: 'committed'; readonly offset: number }

export type Kind = Input['f']

/** One operation, its two lines joined. */
export interface Operation {
  readonly id: number
  readonly process: string
  readonly call: number
  /** Infinity: the outcome is unknown. */
  readonly return: number
  readonly input: Input
  /** null: refused for certain, or unknown. */
  readonly output: Output | null
}

export type OperationOf<K extends Kind> = Operation & {
  readonly input: Extract<Input, { f: K }>
  readonly output: Extract<Output, { f: K }> | null
}

/** It certainly did not happen. */
export function isRefused(operation: Operation): boolean {
  return operation.output === null && operation.return !== Number.POSITIVE_INFINITY
}

export function isOf<K extends Kind>(operation: Operation, kind: K): operation is OperationOf<K> {
  return operation.input.f === kind
}

/** A line that is none of the format: a harness that writes it must not pass for one that found nothing. */
export class HistoryError extends Error {
  override name = 'HistoryError'
}

/** Reads the lines of a history, in whatever order they were written. */
export function parseHistory(text: string): Operation[] {
  interface Draft {
    id: number
    process: string
    call: number
    return: number
    input: Input | null
    output: Output | null
  }
  const drafts = new Map<number, Draft>()
  text.split('\n').forEach((line, number) => {
    if (line.trim() === '') return
    const { at, id, process, type, ...rest } = fieldsOf(line, number + 1)
    let draft = drafts.get(id)
    if (draft === undefined) {
      draft = { id, process: '', call: 0, return: Number.POSITIVE_INFINITY, input: null, output: null }
      drafts.set(id, draft)
    }
    const said = (what: string): HistoryError => new HistoryError(`line ${number + 1}: operation ${id} ${what}`)
    if (type === 'call') {
      if (draft.input !== null) throw said('is called twice')
      draft.input = rest as unknown as Input
      draft.process = process
      draft.call = at
    } else if (type === 'ok' || type === 'fail') {
      if (draft.return !== Number.POSITIVE_INFINITY) throw said('ends twice')
      draft.return = at
      if (type === 'ok') draft.output = rest as unknown as Output
    } else if (type !== 'unknown') throw said(`has the type ${type}`)
  })
  const operations: Operation[] = []
  for (const draft of drafts.values()) {
    if (draft.input === null) throw new HistoryError(`operation ${draft.id} ends and was never called`)
    if (draft.return < draft.call) throw new HistoryError(`operation ${draft.id} ends before it is called`)
    if (draft.output !== null && draft.output.f !== draft.input.f)
      throw new HistoryError(`operation ${draft.id} is called as ${draft.input.f} and ends as ${draft.output.f}`)
    operations.push(draft as Operation)
  }
  return operations.sort((a, b) => a.call - b.call || a.id - b.id)
}

interface Line {
  readonly at: number
  readonly id: number
  readonly process: string
  readonly type: string
  readonly [field: string]: unknown
}

function fieldsOf(line: string, number: number): Line {
  let fields: Line
  try {
    fields = JSON.parse(line) as Line
  } catch {
    throw new HistoryError(`line ${number} is no JSON`)
  }
  if (typeof fields?.at !== 'number' || typeof fields.id !== 'number' || typeof fields.type !== 'string')
    throw new HistoryError(`line ${number} needs at, id and type`)
  return fields
}

/** The lines of a history, in the order of time. */
export function formatHistory(operations: readonly Operation[]): string {
  const lines: { at: number; text: string }[] = []
  for (const { id, process, call, return: end, input, output } of operations) {
    lines.push({ at: call, text: JSON.stringify({ at: call, id, process, type: 'call', ...input }) })
    if (end === Number.POSITIVE_INFINITY) continue
    const type = output === null ? 'fail' : 'ok'
    lines.push({ at: end, text: JSON.stringify({ at: end, id, type, ...output }) })
  }
  lines.sort((a, b) => a.at - b.at)
  return lines.map(({ text }) => `${text}\n`).join('')
}
