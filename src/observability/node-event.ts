import type { ClusterEvent } from '../cluster/index.ts'
import type { KafkaEvent } from '../gateways/kafka/index.ts'
import type { HostEvent, RaftEvent } from '../replication/index.ts'
import type { StorageEvent } from '../storage/index.ts'
import type { GroupEvent, StreamsEvent } from '../streams/index.ts'

/** Everything that can be observed of a node, by the layer that it happens in. */
export type NodeEvent =
  | { readonly layer: 'storage'; readonly event: StorageEvent }
  | { readonly layer: 'replication'; readonly event: RaftEvent | HostEvent }
  | { readonly layer: 'cluster'; readonly event: ClusterEvent }
  | { readonly layer: 'streams'; readonly event: StreamsEvent | GroupEvent }
  | { readonly layer: 'kafka'; readonly event: KafkaEvent }
