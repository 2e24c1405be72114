/** What a check came to. One per line of the table, and per message between the processes. */
export interface Row {
  readonly client: string
  readonly version: string
  readonly runtime: string
  readonly nodes: number
  readonly check: string
  readonly outcome: 'ok' | 'failed' | 'skipped'
  readonly ms: number
  readonly note: string
}

/** One client against one cluster: what a process of its own is told to do. */
export interface Errand {
  readonly client: ClientName
  readonly brokers: readonly string[]
  readonly nodes: number
  readonly checks: readonly string[]
  readonly rebalanceDelayMs: number
}

export type ClientName = 'kafkajs' | 'plt-kafka-2.12' | 'plt-kafka-2.7' | 'kcat' | 'raw'

export const CLIENTS: readonly ClientName[] = ['kafkajs', 'plt-kafka-2.12', 'plt-kafka-2.7', 'kcat', 'raw']

/** What a client's process sends to the one that started it. */
export type Report = { readonly type: 'started'; readonly check: string } | { readonly type: 'row'; readonly row: Row }
