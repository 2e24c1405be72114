/**
 * How a backup keeps what it has still to read from being cut (docs/decisions/0005-backup.md): a message of our own, under a key far
 * above Kafka's, which ApiVersions does not list.
 */
import type { MessageDefinition, MessageOf } from '../message-definition.ts'

/** Holds the log of one partition from an offset on, until the lease ends; once more with the same holder: renews. A lease of 0 ends it. */
export const holdLogRequest = {
  name: 'HoldLogRequest',
  apiKey: 1003,
  versions: '0',
  flexible: '0+',
  fields: {
    name: { type: 'string' },
    topicId: { type: 'uuid' },
    partitionIndex: { type: 'int32' },
    holder: { type: 'uuid' },
    /** For people. */
    holderName: { type: 'string' },
    offset: { type: 'int64' },
    leaseMs: { type: 'int32' },
  },
} as const satisfies MessageDefinition
export type HoldLogRequest = MessageOf<typeof holdLogRequest>

export const holdLogResponse = {
  name: 'HoldLogResponse',
  apiKey: 1003,
  versions: '0',
  flexible: '0+',
  fields: {
    errorCode: { type: 'int16' },
    errorMessage: { type: 'string', nullable: '0+' },
    /** Where the log starts; −1 where this node does not lead. */
    logStartOffset: { type: 'int64' },
    /** An earlier hold of the same holder stood until this one did: there was no gap. Nodes of before it was told say that there was. */
    renewed: { type: 'bool', tag: 0, default: false },
  },
} as const satisfies MessageDefinition
