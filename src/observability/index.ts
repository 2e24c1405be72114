/** Readers of what the layers emit: metrics, the log for people, the trace for checkers. Imported by the composition root alone. */
export { type LogLevel, type LogLine, NodeLog } from './log.ts'
export { Metrics, type MetricsSources } from './metrics.ts'
export type { NodeEvent } from './node-event.ts'
export { type TraceCollaborators, TraceFile } from './trace-file.ts'
