/** How readers are led through a log: rules over one partition. */
import { isRefused, type Operation, type OperationOf } from './history.ts'
import { type Anomaly, byReturn, Frontier, label, type PartitionFacts, type Poll } from './log-facts.ts'

export function checkReaders(facts: PartitionFacts, cutsByThemselves: boolean, anomalies: Anomaly[]): void {
  const found = (name: Anomaly['name'], what: string, ...operations: Operation[]): void => {
    anomalies.push({ name, where: facts.name, what, operations })
  }
  for (const poll of facts.polls) checkAnswer(facts, poll, found)
  checkStart(facts, cutsByThemselves, found)
  const readers = new Map<string, (Poll | OperationOf<'seek'>)[]>()
  for (const step of [...facts.polls, ...facts.seeks].sort((a, b) => a.call - b.call || a.id - b.id)) {
    const steps = readers.get(step.process)
    if (steps === undefined) readers.set(step.process, [step])
    else steps.push(step)
  }
  for (const steps of readers.values()) checkReader(facts, steps, found)
}

type Found = (name: Anomaly['name'], what: string, ...operations: Operation[]) => void

/** One answer, by itself. */
function checkAnswer(facts: PartitionFacts, poll: Poll, found: Found): void {
  const { output, input } = poll
  if (output === null) return
  const { highWatermark, logStart, records } = output
  let next = input.position
  for (const [offset, value] of records) {
    if (offset < input.position)
      found('misplaced-poll', `"${value}" is at offset ${offset}, below the position ${input.position}`, poll)
    else if (offset < next) found('nonmonotonic-poll', `offset ${offset} comes behind ${next - 1} in one answer`, poll)
    else checkGap(facts, next, offset, logStart ?? 0, poll, found)
    if (highWatermark !== undefined && offset >= highWatermark)
      found('precommitted-read', `"${value}" at offset ${offset} is shown with the mark ${highWatermark}`, poll)
    next = Math.max(next, offset + 1)
  }
  if (highWatermark !== undefined && logStart !== undefined && logStart > highWatermark)
    found('start-beyond-mark', `the log starts at ${logStart}, its mark is ${highWatermark}`, poll)
}

/** Nothing that is there lies between what was expected and what came. */
function checkGap(facts: PartitionFacts, from: number, to: number, start: number, by: Poll, found: Found): void {
  for (let offset = Math.max(from, start); offset < to; offset++) {
    const there = facts.at.get(offset)
    if (there === undefined) continue
    found('skipped-poll', `${label(by)} is led from ${from} to ${to}, past "${there.value}" at ${offset}`, by, there.by)
    return
  }
}

/** One reader's polls, one after the other. */
function checkReader(facts: PartitionFacts, steps: readonly (Poll | OperationOf<'seek'>)[], found: Found): void {
  let next: number | null = null
  let last: Poll | null = null
  for (const step of steps) {
    if (step.input.f === 'seek') {
      next = step.input.position
      continue
    }
    const poll = step as Poll
    const { output, input } = poll
    if (output === null) continue
    if (last !== null && last.return <= poll.call) {
      const [mark, before] = [output.highWatermark, last.output!.highWatermark]
      if (mark !== undefined && before !== undefined && mark < before)
        found('mark-backwards', `${poll.process} is shown the mark ${mark} after ${before}`, last, poll)
      const [start, startBefore] = [output.logStart, last.output!.logStart]
      if (start !== undefined && startBefore !== undefined && start < startBefore)
        found('start-backwards', `${poll.process} is shown the log start ${start} after ${startBefore}`, last, poll)
    }
    if (next !== null && last !== null) {
      if (input.position < next)
        found('nonmonotonic-poll', `${poll.process} is at ${input.position} again, after ${next - 1}`, last, poll)
      else checkGap(facts, next, input.position, output.logStart ?? facts.start, poll, found)
    }
    const end = output.records.at(-1)?.[0]
    next = end === undefined ? input.position : end + 1
    last = poll
  }
}

/** Where a log begins: only ever further up, and never above what somebody allowed to go. */
function checkStart(facts: PartitionFacts, cutsByThemselves: boolean, found: Found): void {
  const starts = new Frontier()
  for (const operation of byReturn<Operation>([...facts.polls, ...facts.trims])) {
    const { output } = operation
    const start = output?.f === 'poll' ? output.logStart : output?.f === 'trim' ? output.start : undefined
    if (start !== undefined) starts.learn(operation.return, start, operation)
    if (start === undefined || start === 0 || cutsByThemselves) continue
    let allowed = 0
    for (const trim of facts.trims)
      if (!isRefused(trim) && trim.call <= operation.return) allowed = Math.max(allowed, trim.input.before)
    if (start > allowed)
      found(
        'start-beyond-promise',
        `${label(operation)} is told that the log starts at ${start}; up to ${allowed} may go`,
        operation,
      )
  }
  for (const poll of facts.polls) {
    const known = starts.before(poll.call)
    const first = poll.output?.records[0]
    if (known !== null && first !== undefined && first[0] < known.value)
      found(
        'read-below-start',
        `offset ${first[0]} is shown; the log was known to start at ${known.value}`,
        poll,
        known.by,
      )
  }
}
