/**
 * Consumer groups: who may read what, and how far the group says it has come.
 *
 * A group's position in a partition is a register: commits write it, a new owner reads it. So it is asked for linearizability
 * like any other, and beyond that it must not go back unless its reader does: a later owner starts at the position, the
 * commits of an earlier one are fenced off by the generation.
 */
import { isRefused, type Operation, type OperationOf } from './history.ts'
import { checkLinearizable, type Model } from './linearizability.ts'
import { type Anomaly, byReturn, Frontier, type LogFacts, label } from './log-facts.ts'

type Commit = OperationOf<'commit'>
type Position = OperationOf<'committed'>

const POSITION: Model<number, Commit | Position> = {
  initial: -1,
  step(state, { input, output }) {
    if (input.f === 'commit') return input.offset
    return output?.f !== 'committed' || output.offset === state ? state : undefined
  },
  encode: String,
  isRead: ({ input }) => input.f === 'committed',
  effect: ({ input }) => (input.f === 'commit' ? `${input.offset}` : ''),
}
const SEARCH_STEPS = 2_000_000

export function checkGroups(facts: LogFacts, anomalies: Anomaly[]): void {
  checkOwners(facts, anomalies)
  checkZombies(facts, anomalies)
  checkDelivered(facts, anomalies)
  const positions = new Map<string, (Commit | Position)[]>()
  for (const operation of [...facts.commits, ...facts.positions]) {
    if (isRefused(operation) || (operation.input.f === 'committed' && operation.output === null)) continue
    const key = `${operation.input.group} ${operation.input.partition}`
    const of = positions.get(key)
    if (of === undefined) positions.set(key, [operation])
    else of.push(operation)
  }
  for (const [where, operations] of positions) {
    checkBackwards(facts, where, operations, anomalies)
    const verdict = checkLinearizable(withoutUnseen(operations), POSITION, SEARCH_STEPS)
    if (verdict.kind === 'violation') {
      const what = `${label(verdict.stuck)} does not fit: no order of the commits explains all answers`
      anomalies.push({ name: 'wrong-position', where, what, operations: [verdict.stuck] })
    } else if (verdict.kind === 'exhausted')
      anomalies.push({ name: 'unverified', where, what: `gave up after ${verdict.steps} steps`, operations: [] })
  }
}

/** A commit without an answer that nobody ever read can be left out of any order that explains the rest. */
function withoutUnseen(operations: readonly (Commit | Position)[]): (Commit | Position)[] {
  const seen = new Set(operations.map(({ output }) => (output?.f === 'committed' ? output.offset : null)))
  return operations.filter(({ input, output }) => input.f !== 'commit' || output !== null || seen.has(input.offset))
}

/** In one generation a partition has one owner; a process's generation only grows (a name's new one may hear before its old one does). */
function checkOwners(facts: LogFacts, anomalies: Anomaly[]): void {
  const owners = new Map<string, OperationOf<'assign'>>()
  const generations = new Map<string, OperationOf<'assign'>>()
  for (const assign of byReturn(facts.assigns)) {
    const { group, member } = assign.input
    const { generation, partitions } = assign.output!
    for (const partition of partitions) {
      const key = `${group} ${generation} ${partition}`
      const owner = owners.get(key)
      if (owner === undefined) owners.set(key, assign)
      else if (owner.input.member !== member) {
        const what = `${partition} belongs to ${member} and to ${owner.input.member} in generation ${generation}`
        anomalies.push({ name: 'two-owners', where: group, what, operations: [owner, assign] })
      }
    }
    const key = `${group} ${assign.process}`
    const last = generations.get(key)
    if (last !== undefined && last.output!.generation > generation) {
      const what = `${assign.process} is in generation ${generation} after ${last.output!.generation}`
      anomalies.push({ name: 'generation-backwards', where: group, what, operations: [last, assign] })
    }
    generations.set(key, assign)
  }
}

/** A commit that was sent when a later generation was known to have begun is not taken. */
function checkZombies(facts: LogFacts, anomalies: Anomaly[]): void {
  const groups = new Map<string, Frontier>()
  for (const assign of byReturn(facts.assigns)) {
    const { group } = assign.input
    let known = groups.get(group)
    if (known === undefined) {
      known = new Frontier()
      groups.set(group, known)
    }
    known.learn(assign.return, assign.output!.generation, assign)
  }
  for (const commit of facts.commits) {
    const { group, generation, member } = commit.input
    const known = commit.output === null ? undefined : groups.get(group)?.before(commit.call)
    if (known === undefined || known === null || known.value <= generation) continue
    const what = `a commit of ${member} in generation ${generation} was taken, and ${known.value} had begun before it was sent`
    anomalies.push({ name: 'zombie-commit', where: group, what, operations: [commit, known.by] })
  }
}

/** A member commits up to what it was given, or what its group had committed before. */
function checkDelivered(facts: LogFacts, anomalies: Anomaly[]): void {
  const delivered = new Map<string, Frontier>()
  const learn = (process: string, partition: string, at: number, offset: number, by: Operation): void => {
    const key = `${process} ${partition}`
    let frontier = delivered.get(key)
    if (frontier === undefined) {
      frontier = new Frontier()
      delivered.set(key, frontier)
    }
    frontier.learn(at, offset, by)
  }
  const told: Operation[] = [...facts.positions]
  for (const { polls, seeks } of facts.partitions.values()) told.push(...polls, ...seeks)
  for (const operation of byReturn(told)) {
    const { input, output, process } = operation
    if (output?.f === 'committed' && input.f === 'committed')
      learn(process, input.partition, operation.return, output.offset, operation)
    else if (output?.f === 'poll' && input.f === 'poll') {
      const end = output.records.at(-1)?.[0]
      learn(process, input.partition, operation.return, end === undefined ? input.position : end + 1, operation)
    } else if (input.f === 'seek') learn(process, input.partition, operation.return, input.position, operation)
  }
  for (const commit of facts.commits) {
    const { partition, offset, group } = commit.input
    // What was learned at the same moment counts: clients commit in the turn in which they are told.
    const known = delivered.get(`${commit.process} ${partition}`)?.before(commit.call, true)
    if ((known?.value ?? 0) >= offset || offset <= 0) continue
    const what = `${commit.process} commits ${offset} of ${partition}, and was given what is below ${known?.value ?? 0}`
    anomalies.push({ name: 'commit-beyond-delivered', where: group, what, operations: [commit] })
  }
}

/** In real time positions do not go down, unless some reader of the group went back. */
function checkBackwards(
  facts: LogFacts,
  where: string,
  operations: readonly (Commit | Position)[],
  anomalies: Anomaly[],
): void {
  const commits = operations.filter((operation): operation is Commit => operation.input.f === 'commit')
  const partition = commits[0]?.input.partition
  const seeks = partition === undefined ? [] : (facts.partitions.get(partition)?.seeks ?? [])
  const processes = new Set(commits.map(({ process }) => process))
  const resets = seeks.filter(({ process }) => processes.has(process))
  const known = new Frontier()
  for (const commit of byReturn(commits)) known.learn(commit.return, commit.input.offset, commit)
  for (const commit of commits) {
    const floor = commit.output === null ? null : known.before(commit.call)
    if (floor === null || floor.value <= commit.input.offset) continue
    if (resets.some((seek) => seek.call <= commit.call && seek.input.position <= commit.input.offset)) continue
    const what = `${label(commit)} puts the group at ${commit.input.offset}, behind ${floor.value}`
    anomalies.push({ name: 'commit-backwards', where, what, operations: [commit, floor.by] })
  }
}
