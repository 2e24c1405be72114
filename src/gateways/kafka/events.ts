export type KafkaEvent =
  | { readonly type: 'listening'; readonly host: string; readonly port: number }
  | { readonly type: 'connected'; readonly remote: string }
  | { readonly type: 'disconnected'; readonly remote: string; readonly reason: string }
  /** The client sent what no client of Kafka's sends; its connection was closed. */
  | { readonly type: 'malformed'; readonly remote: string; readonly reason: string }
  /** One answered request per turn and connection: the oldest. */
  | { readonly type: 'request'; readonly api: string; readonly milliseconds: number }
  /** What a Fetch took out of the log. */
  | { readonly type: 'fetched'; readonly records: number; readonly bytes: number }
