/**
 * What the replicas together must keep to, in every state: Figure 3 of the Raft paper, and what a commit is worth here.
 *
 * Some of it speaks of the past, which the replicas may have forgotten, so a state of the cluster also holds a referee's two
 * facts: who has ever led which term, and the entries that anybody has ever known to be committed, each with the term that
 * committed it. The latter are numbered like everything else, for they are few.
 */
import { must } from '../../src/stdx/index.ts'
import { Violation } from '../violation.ts'
import type { EntryNumbers } from './canonical.ts'
import type { ReplicaFacts } from './replica-rules.ts'

interface Committed {
  /** By index − 1. */
  readonly entries: readonly number[]
  /** The term of the leader that committed it. */
  readonly terms: readonly number[]
}

const QUORUM = 2
const LEADERS_BITS = 2
const LEADERS_MASK = 3

export class ClusterRules {
  readonly #numbers: EntryNumbers
  readonly #committed: Committed[] = [{ entries: [], terms: [] }]
  readonly #byText = new Map<string, number>([['', 0]])

  constructor(numbers: EntryNumbers) {
    this.#numbers = numbers
  }

  /** How many entries the most fortunate history has committed. */
  get longest(): number {
    return this.#committed.reduce((most, { entries }) => Math.max(most, entries.length), 0)
  }

  /** Two bits per term above `firstTerm`: 0 for nobody, else the node, counted from 1. Election safety (Raft §5.2). */
  leaders(known: number, node: number, { role, term }: ReplicaFacts, firstTerm: number): number {
    if (role !== 2) return known
    const shift = (term - firstTerm - 1) * LEADERS_BITS
    const other = (known >>> shift) & LEADERS_MASK
    if (other === 0) return known | ((node + 1) << shift)
    if (other !== node + 1)
      throw new Violation('one leader per term', `nodes ${other} and ${node + 1} lead in term ${term}`)
    return known
  }

  /** State machine safety (§5.4.3): what this replica holds to be committed is what everybody ever did. */
  committed(known: number, node: number, facts: ReplicaFacts): number {
    const { entries, terms } = must(this.#committed[known], 'a committed history')
    const { commit, log } = facts
    if (commit > log.length)
      throw new Violation('only what is there is committed', `${commit} of ${log.length} on node ${node + 1}`)
    for (let i = 0; i < Math.min(commit, entries.length); i++) {
      if (log[i] !== entries[i])
        throw new Violation(
          'one committed history',
          `node ${node + 1} commits ${this.#name(log[i]!)}, another had committed ${this.#name(entries[i]!)}`,
        )
    }
    if (commit <= entries.length) return known
    const more = {
      entries: log.slice(0, commit),
      terms: [...terms, ...Array.from({ length: commit - entries.length }, () => facts.term)],
    }
    const text = more.entries.map((entry, i) => `${entry}:${more.terms[i]}`).join()
    let number = this.#byText.get(text)
    if (number === undefined) {
      number = this.#committed.length
      this.#committed.push(more)
      this.#byText.set(text, number)
    }
    return number
  }

  check(replicas: readonly [ReplicaFacts, ReplicaFacts, ReplicaFacts], committed: number): void {
    const { entries, terms } = must(this.#committed[committed], 'a committed history')
    for (let i = 0; i < entries.length; i++) {
      let disks = 0
      for (const { diskLog } of replicas) if (diskLog[i] === entries[i]) disks++
      if (disks < QUORUM)
        throw new Violation('committed is on a quorum of disks', `${this.#name(entries[i]!)} is on ${disks}`)
    }
    for (const { role, term, log } of replicas) {
      if (role !== 2) continue
      // Leader completeness (§5.4): committed in an earlier term, so in the log of every later leader.
      for (let i = 0; i < entries.length; i++) {
        if (terms[i]! < term && log[i] !== entries[i])
          throw new Violation(
            'leaders hold what is committed',
            `the leader of term ${term} lacks ${this.#name(entries[i]!)}`,
          )
      }
    }
    this.#logsMatch(replicas[0], replicas[1])
    this.#logsMatch(replicas[0], replicas[2])
    this.#logsMatch(replicas[1], replicas[2])
  }

  /** Log matching (§5.3): the same term at the same index means the same log up to there. */
  #logsMatch(a: ReplicaFacts, b: ReplicaFacts): void {
    const { entries } = this.#numbers
    for (let i = Math.min(a.log.length, b.log.length) - 1, same = false; i >= 0; i--) {
      const [left, right] = [a.log[i]!, b.log[i]!]
      if (left === right) same = true
      else if (same || entries[left]!.term === entries[right]!.term)
        throw new Violation('log matching', `${this.#name(left)} and another one, in logs that agree there or later`)
    }
  }

  #name(entry: number): string {
    const { index, term } = must(this.#numbers.entries[entry], 'an entry')
    return `entry ${index} of term ${term}`
  }
}
