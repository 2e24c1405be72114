/**
 * Is there one order of all operations, each at some moment between its call and its return, in which a single sequential
 * object would have given every answer that was given? That is linearizability (Herlihy & Wing 1990), and this file looks
 * for the order.
 *
 * Trying all orders is hopeless, and nobody does better in the worst case: the problem is NP-complete. What makes it work is
 * that real histories are narrow. Wing & Gong (1993) walk the calls and returns in the order of time and keep them in a doubly
 * linked list:
 *
 *      ► call w1 ─ call r2 ─ return w1 ─ call r3 ─ return r2 ─ return r3
 *        └ may be next     └ w1 must have been linearized before anybody may go beyond this
 *
 * At a call: if the object would answer so, linearize it: take call and return out of the list, remember it on a stack, and
 * start again at the head. At a return: its operation should have come earlier; undo the last choice and try the next. Lowe
 * (2017) adds the memory: the same *set* of linearized operations with the same state leads to the same future, so it is
 * entered once. Horn & Kroening (2015, 1504.00204) add the cut: a history over many keys is linearizable exactly if each key's
 * is (P-compositionality), which turns one long history into many short ones.
 *
 * Three things that are easy to get wrong:
 *
 *   - An operation of unknown outcome has no return. It may be linearized anywhere after its call, or never; the search ends
 *     when all operations *with* returns are in.
 *   - A read that is right in the present state is taken at once and never reconsidered: it changes nothing, so any order in
 *     which it comes later stays right with it here. Without this, histories with lost answers are up to eight times slower.
 *   - Of operations of unknown outcome that do the same, one is as good as the other, so the one that was called first comes first.
 *     Without this a client that repeats itself into a void leaves 2^n choices.
 *   - **A search that runs out of budget has verified nothing.** It is `exhausted`, which is a failure of the checker and must
 *     be counted as one. Up to ten concurrent clients and a thousand operations per key stay far below the budget; give
 *     writes values of their own, or wrong reads are explained away.
 *
 * The set of linearized operations is a bitset. Operations are numbered by their calls, so all but a narrow window near the
 * frontier are in; the memory keeps the window only. Those without a return never leave the window, and have a bitset apart.
 */
import { isRefused, type Operation, type OperationOf } from './history.ts'

/** A sequential object. */
export interface Model<State, Timed> {
  readonly initial: State
  /** The state after the operation, or undefined where the object would have answered otherwise. An unknown answer fits all. */
  step(state: State, operation: Timed): State | undefined
  /** Equal for equal states only. */
  encode(state: State): string
  /** It never changes the state. */
  isRead(operation: Timed): boolean
  /** Equal for operations that do the same, whatever was answered. */
  effect(operation: Timed): string
}

export interface Interval {
  readonly call: number
  /** Infinity: unknown outcome. */
  readonly return: number
}

export type Verdict<Timed> =
  | { readonly kind: 'linearizable'; readonly steps: number }
  /** However the others are ordered, at most `linearized` of them fit before `stuck` has to have happened. */
  | { readonly kind: 'violation'; readonly steps: number; readonly linearized: number; readonly stuck: Timed }
  | { readonly kind: 'exhausted'; readonly steps: number }

/** Choices tried in one search: about ten seconds, some hundred times what a history of the recommended size needs. */
export const STEP_BUDGET = 20_000_000

const HEAD = 0
const WORD_BITS = 16

export function checkLinearizable<State, Timed extends Interval>(
  history: readonly Timed[],
  model: Model<State, Timed>,
  stepBudget = STEP_BUDGET,
): Verdict<Timed> {
  return new Search(history, model).run(stepBudget)
}

class Search<State, Timed extends Interval> {
  readonly #model: Model<State, Timed>
  /** Those with a return first, each part in the order of the calls. */
  readonly #operations: readonly Timed[]
  readonly #finite: number
  /** Of those without a return: the one before it that does the same, or −1. */
  readonly #twins: Int32Array
  /** Nodes of the list: HEAD, then 1 + operation for calls, then 1 + count + operation for returns. 0 also ends it. */
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #done: LinearizedSet

  constructor(history: readonly Timed[], model: Model<State, Timed>) {
    const byCall = (a: Timed, b: Timed): number => a.call - b.call
    const finite = history.filter((operation) => operation.return !== Number.POSITIVE_INFINITY).sort(byCall)
    const unknown = history.filter((operation) => operation.return === Number.POSITIVE_INFINITY).sort(byCall)
    this.#model = model
    this.#operations = [...finite, ...unknown]
    this.#finite = finite.length
    this.#twins = twinsOf(unknown, finite.length, model)
    const count = this.#operations.length
    this.#next = new Int32Array(1 + 2 * count)
    this.#previous = new Int32Array(1 + 2 * count)
    this.#done = new LinearizedSet(finite.length, unknown.length)
    const nodes: { at: number; node: number }[] = []
    this.#operations.forEach((operation, i) => {
      nodes.push({ at: operation.call, node: 1 + i })
      if (i < finite.length) nodes.push({ at: operation.return, node: 1 + count + i })
    })
    // At one moment calls come first: what only touches is concurrent.
    nodes.sort((a, b) => a.at - b.at || a.node - b.node)
    let last = HEAD
    for (const { node } of nodes) {
      this.#next[last] = node
      this.#previous[node] = last
      last = node
    }
    this.#next[last] = HEAD
    this.#previous[HEAD] = last
  }

  run(stepBudget: number): Verdict<Timed> {
    const model = this.#model
    const operations = this.#operations
    const count = operations.length
    const seen = new Set<string>()
    const chosen: number[] = []
    const before: State[] = []
    let state = model.initial
    let missing = this.#finite
    let steps = 0
    let deepest = -1
    let stuck = 0
    let node = this.#next[HEAD]!
    while (missing > 0) {
      if (++steps > stepBudget) return { kind: 'exhausted', steps }
      if (node !== HEAD && node <= count) {
        const i = node - 1
        const after = this.#isNext(i) ? model.step(state, operations[i]!) : undefined
        if (after !== undefined) {
          this.#done.add(i)
          const key = this.#done.key(model.encode(after))
          if (!seen.has(key)) {
            seen.add(key)
            chosen.push(i)
            before.push(state)
            state = after
            if (i < this.#finite) missing--
            this.#lift(i)
            node = this.#next[HEAD]!
            continue
          }
          this.#done.remove(i)
        }
        node = this.#next[node]!
        continue
      }
      if (chosen.length > deepest) {
        deepest = chosen.length
        stuck = node - 1 - count
      }
      for (;;) {
        const i = chosen.pop()
        if (i === undefined) return { kind: 'violation', steps, linearized: deepest, stuck: operations[stuck]! }
        state = before.pop()!
        if (i < this.#finite) missing++
        this.#done.remove(i)
        this.#unlift(i)
        if (model.isRead(operations[i]!)) continue
        node = this.#next[1 + i]!
        break
      }
    }
    return { kind: 'linearizable', steps }
  }

  #isNext(i: number): boolean {
    const twin = i < this.#finite ? -1 : this.#twins[i - this.#finite]!
    return twin < 0 || this.#done.has(twin)
  }

  #lift(i: number): void {
    this.#unlink(1 + i)
    if (i < this.#finite) this.#unlink(1 + this.#operations.length + i)
  }

  /** In the reverse order of the lifting, so each finds its neighbours as it left them. */
  #unlift(i: number): void {
    if (i < this.#finite) this.#relink(1 + this.#operations.length + i)
    this.#relink(1 + i)
  }

  #unlink(node: number): void {
    const next = this.#next[node]!
    const previous = this.#previous[node]!
    this.#next[previous] = next
    this.#previous[next] = previous
  }

  #relink(node: number): void {
    this.#next[this.#previous[node]!] = node
    this.#previous[this.#next[node]!] = node
  }
}

function twinsOf<State, Timed>(unknown: readonly Timed[], from: number, model: Model<State, Timed>): Int32Array {
  const last = new Map<string, number>()
  return Int32Array.from(unknown, (operation, i) => {
    const effect = model.effect(operation)
    const twin = last.get(effect) ?? -1
    last.set(effect, from + i)
    return twin
  })
}

/** Which operations are linearized, and a short name for that set. */
class LinearizedSet {
  readonly #finite: number
  readonly #words: Uint16Array
  readonly #unknownWords: Uint16Array
  /** All words below are full. */
  #low = 0
  /** All words above are empty. */
  #high = 0

  constructor(finite: number, unknown: number) {
    this.#finite = finite
    this.#words = new Uint16Array(Math.ceil(finite / WORD_BITS) + 1)
    this.#unknownWords = new Uint16Array(Math.ceil(unknown / WORD_BITS))
  }

  add(i: number): void {
    if (i >= this.#finite) {
      const at = i - this.#finite
      this.#unknownWords[at >>> 4]! |= 1 << (at & 15)
      return
    }
    const word = i >>> 4
    this.#words[word]! |= 1 << (i & 15)
    if (word > this.#high) this.#high = word
  }

  has(i: number): boolean {
    const [words, at] = i < this.#finite ? [this.#words, i] : [this.#unknownWords, i - this.#finite]
    return (words[at >>> 4]! & (1 << (at & 15))) !== 0
  }

  remove(i: number): void {
    if (i >= this.#finite) {
      const at = i - this.#finite
      this.#unknownWords[at >>> 4]! &= ~(1 << (at & 15))
      return
    }
    const word = i >>> 4
    this.#words[word]! &= ~(1 << (i & 15))
    if (word < this.#low) this.#low = word
  }

  /** Exact: two sets with one name are one set. */
  key(state: string): string {
    const words = this.#words
    while (words[this.#low] === 0xffff) this.#low++
    if (this.#high < this.#low) this.#high = this.#low
    while (this.#high > this.#low && words[this.#high] === 0) this.#high--
    let key = `${this.#low}/${this.#high}/`
    for (let word = this.#low; word <= this.#high; word++) key += String.fromCharCode(words[word]!)
    for (const word of this.#unknownWords) key += String.fromCharCode(word)
    return key + state
  }
}

// ── registers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type RegisterOperation = OperationOf<'read' | 'write' | 'cas'>

/** One value, null at first; read, write, and compare-and-set. */
export const REGISTER: Model<string | null, RegisterOperation> = {
  initial: null,
  step(state, { input, output }) {
    if (input.f === 'write') return input.value
    if (input.f === 'read') return output?.f !== 'read' || output.value === state ? state : undefined
    const applies = state === input.expected
    if (output?.f === 'cas' && output.applied !== applies) return undefined
    return applies ? input.value : state
  },
  encode: (state) => (state === null ? '' : `=${state}`),
  isRead: ({ input, output }) => input.f === 'read' || (output?.f === 'cas' && !output.applied),
  effect: ({ input: { key: _key, ...does } }) => JSON.stringify(does),
}

export interface RegistersVerdict {
  readonly violations: readonly { readonly key: string; readonly stuck: RegisterOperation }[]
  /** Keys about which nothing is known: the checker failed, which is no pass. */
  readonly exhausted: readonly string[]
  readonly steps: number
}

/** Registers by key, each by itself. */
export function checkRegisters(history: readonly Operation[], stepBudget = STEP_BUDGET): RegistersVerdict {
  const keys = new Map<string, RegisterOperation[]>()
  for (const operation of history) {
    const { input } = operation
    if (input.f !== 'read' && input.f !== 'write' && input.f !== 'cas') continue
    // What did not happen, and what nobody saw the answer of, says nothing.
    if (isRefused(operation) || (input.f === 'read' && operation.output === null)) continue
    const of = keys.get(input.key)
    if (of === undefined) keys.set(input.key, [operation as RegisterOperation])
    else of.push(operation as RegisterOperation)
  }
  const violations: { key: string; stuck: RegisterOperation }[] = []
  const exhausted: string[] = []
  let steps = 0
  for (const [key, operations] of keys) {
    const verdict = checkLinearizable(operations, REGISTER, stepBudget)
    steps += verdict.steps
    if (verdict.kind === 'violation') violations.push({ key, stuck: verdict.stuck })
    else if (verdict.kind === 'exhausted') exhausted.push(key)
  }
  return { violations, exhausted, steps }
}
