/** What the cluster answers instead of doing what it was asked: one table, shared by the wire and by the metadata. */
import { TypedError } from '../stdx/index.ts'

export type ClusterFailure =
  /** No session with that node: it is stopped, unreachable, or not connected yet. The request has not been carried out, or not been answered. */
  | { code: 'PEER_DOWN'; node: number }
  /** The node is connected and did not answer in time. Whether the request was carried out is unknown. */
  | { code: 'REQUEST_TIMEOUT'; node: number; method: string; timeoutMs: number }
  | { code: 'REQUEST_TOO_LARGE'; node: number; method: string; bytes: number; bytesMax: number }
  /** The other node runs a version that does not know this request. */
  | { code: 'UNKNOWN_METHOD'; node: number; method: string }
  /** The answer could not be understood. */
  | { code: 'BAD_RESPONSE'; node: number; method: string }
  /** Whether the node has that entry it cannot say: its replica does not reach up to there yet, or its disk would not let it look. */
  | { code: 'ENTRY_NOT_KNOWN'; node: number; shard: number; index: number }
  /** This node's wire is stopped. */
  | { code: 'MESH_STOPPED' }

export type ClusterErrorCode = ClusterFailure['code']

export class ClusterError extends TypedError<ClusterFailure> {}
