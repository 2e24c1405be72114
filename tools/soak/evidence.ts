/** What the nodes left behind when all of them have stopped: their shard logs side by side, and their traces. */
import { checkTrace, type TraceLine, type TraceReport } from '../check-trace.ts'
import { type Comparison, compareShardLogs } from './shard-logs.ts'
import type { Accounts } from './workload.ts'

export interface Evidence {
  readonly trace: Omit<TraceReport, 'problems'>
  readonly shardLogs: Pick<Comparison, 'shards' | 'entries' | 'bytes'>
  readonly problems: readonly string[]
}

export interface Left {
  readonly directories: readonly string[]
  readonly traces: Iterable<TraceLine>
  /** What was committed, by shard: all replicas hold as much. */
  readonly marksAtEnd: Accounts['marksAtEnd']
}

export function examine({ directories, traces, marksAtEnd }: Left): Evidence {
  const { shards, entries, bytes, offsets, problems: differing } = compareShardLogs(directories)
  const problems = differing.map((problem) => `shard logs: ${problem}`)
  for (const { shard, highWatermark } of marksAtEnd) {
    const held = offsets.get(shard) ?? 0
    if (held < highWatermark)
      problems.push(
        `shard logs: shard ${shard} was committed up to ${highWatermark}, all replicas hold it up to ${held} only`,
      )
  }
  const { problems: unsound, ...trace } = checkTrace(traces, directories.length)
  problems.push(...unsound.map((problem) => `trace: ${problem}`))
  if (trace.acknowledged === 0) problems.push('trace: nothing was acknowledged')
  return { trace, shardLogs: { shards, entries, bytes }, problems }
}
