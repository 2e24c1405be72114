/** What happens in consumer groups. */
export type GroupEvent =
  /** This node coordinates the shard's groups from here on. */
  | { readonly type: 'groups-loaded'; readonly shard: number; readonly groups: number; readonly members: number }
  /** It no longer does; parked requests were sent elsewhere. */
  | { readonly type: 'groups-unloaded'; readonly shard: number; readonly groups: number }
  | {
      readonly type: 'group-rebalance-started'
      readonly group: string
      readonly generation: number
      readonly reason: string
    }
  /** The generation is committed and its members have been told. */
  | {
      readonly type: 'group-generation'
      readonly group: string
      readonly generation: number
      readonly protocol: string
      readonly members: number
    }
  /** The leader's assignment is committed and was handed out. */
  | { readonly type: 'group-stable'; readonly group: string; readonly generation: number; readonly members: number }
  | { readonly type: 'group-empty'; readonly group: string; readonly generation: number }
  | {
      readonly type: 'group-member-removed'
      readonly group: string
      readonly member: string
      readonly reason: 'left' | 'session' | 'join' | 'sync'
    }
  | {
      readonly type: 'group-member-replaced'
      readonly group: string
      readonly instance: string
      readonly member: string
    }
  | { readonly type: 'group-deleted'; readonly group: string }
