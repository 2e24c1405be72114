/** What an operator may tune about consumer groups. The names are Kafka's. */
export interface GroupCoordinatorOptions {
  /** How long the first members of an empty group wait for others. Kafka waits 3000 ms. */
  readonly groupInitialRebalanceDelayMs: number
  readonly groupMinSessionTimeoutMs: number
  readonly groupMaxSessionTimeoutMs: number
  readonly groupNewMemberJoinTimeoutMs: number
  readonly groupMaxSize: number
  /** What a group's subscriptions may take in all, and its assignments, and one commit of offsets: each is one record. */
  readonly groupMaxBytes: number
  readonly offsetMetadataMaxBytes: number
}

export const GROUP_COORDINATOR_DEFAULTS: GroupCoordinatorOptions = {
  groupInitialRebalanceDelayMs: 300,
  groupMinSessionTimeoutMs: 6_000,
  groupMaxSessionTimeoutMs: 1_800_000,
  groupNewMemberJoinTimeoutMs: 300_000,
  groupMaxSize: Number.POSITIVE_INFINITY,
  groupMaxBytes: 8 << 20,
  offsetMetadataMaxBytes: 4_096,
}
