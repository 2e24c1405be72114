/**
 * What clients ask of a coordinator and what they are told, as plain objects with the field names of Kafka's own messages.
 * A field that some versions of a request lack may be missing or undefined here; answers carry every field of every version.
 */

/** Who asks, from the request's header and the connection. */
export interface GroupRequestContext {
  readonly clientId: string | null
  readonly clientHost: string
  readonly apiVersion: number
}

export interface JoinGroupRequest {
  readonly groupId: string
  readonly sessionTimeoutMs: number
  /** Version 0 has none, and means the session timeout. */
  readonly rebalanceTimeoutMs?: number | undefined
  readonly memberId: string
  readonly groupInstanceId?: string | null | undefined
  readonly protocolType: string
  readonly protocols: readonly { readonly name: string; readonly metadata: Buffer }[]
  readonly reason?: string | null | undefined
}

export interface JoinGroupResponse {
  throttleTimeMs: number
  errorCode: number
  generationId: number
  protocolType: string | null
  protocolName: string | null
  leader: string
  skipAssignment: boolean
  memberId: string
  /** Empty for everybody but the leader, who assigns for them. */
  members: { memberId: string; groupInstanceId: string | null; metadata: Buffer }[]
}

export interface SyncGroupRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId?: string | null | undefined
  readonly protocolType?: string | null | undefined
  readonly protocolName?: string | null | undefined
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[]
}

export interface SyncGroupResponse {
  throttleTimeMs: number
  errorCode: number
  protocolType: string | null
  protocolName: string | null
  assignment: Buffer
}

export interface HeartbeatRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId?: string | null | undefined
}

export interface HeartbeatResponse {
  throttleTimeMs: number
  errorCode: number
}

export interface LeaveGroupRequest {
  readonly groupId: string
  /** Versions 0 to 2: the one who leaves. */
  readonly memberId?: string | undefined
  /** Version 3 and later. */
  readonly members?: readonly LeavingMember[] | undefined
}

export interface LeavingMember {
  readonly memberId: string
  readonly groupInstanceId?: string | null | undefined
  readonly reason?: string | null | undefined
}

export interface LeaveGroupResponse {
  throttleTimeMs: number
  errorCode: number
  members: { memberId: string; groupInstanceId: string | null; errorCode: number }[]
}

export interface OffsetCommitRequest {
  readonly groupId: string
  readonly generationIdOrMemberEpoch: number
  readonly memberId: string
  readonly groupInstanceId?: string | null | undefined
  readonly topics: readonly {
    readonly name: string
    readonly partitions: readonly {
      readonly partitionIndex: number
      readonly committedOffset: number
      readonly committedLeaderEpoch?: number | undefined
      readonly committedMetadata?: string | null | undefined
    }[]
  }[]
}

export interface OffsetCommitResponse {
  throttleTimeMs: number
  topics: { name: string; partitions: { partitionIndex: number; errorCode: number }[] }[]
}

/** One group of an OffsetFetch: every group has a coordinator of its own. */
export interface OffsetFetchGroupRequest {
  readonly groupId: string
  /** Null: everything the group has committed. */
  readonly topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[] | null
}

export interface OffsetFetchGroupResponse {
  groupId: string
  topics: {
    name: string
    partitions: {
      partitionIndex: number
      committedOffset: number
      committedLeaderEpoch: number
      metadata: string
      errorCode: number
    }[]
  }[]
  errorCode: number
}

export interface DescribedGroup {
  errorCode: number
  errorMessage: string | null
  groupId: string
  groupState: string
  protocolType: string
  protocolData: string
  members: DescribedMember[]
  authorizedOperations: number
}

export interface DescribedMember {
  memberId: string
  groupInstanceId: string | null
  clientId: string
  clientHost: string
  memberMetadata: Buffer
  memberAssignment: Buffer
}

export interface ListGroupsFilter {
  readonly statesFilter?: readonly string[] | undefined
  readonly typesFilter?: readonly string[] | undefined
}

export interface ListGroupsResponse {
  throttleTimeMs: number
  errorCode: number
  groups: { groupId: string; protocolType: string; groupState: string; groupType: string }[]
}

export interface DeleteGroupsResponse {
  throttleTimeMs: number
  results: { groupId: string; errorCode: number }[]
}

export type Done<Response> = (response: Response) => void
