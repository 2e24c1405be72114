/**
 * The log for people: one line for what an operator would want to know, made from the same events that metrics and checkers
 * read. There is no logging inside the layers, and so no level to forget and nothing to pay on a hot path: an event that is
 * not news falls through.
 */
import type { NodeEvent } from './node-event.ts'

/** Kafka's code: worth a line, because something between the client and us changes bytes. */
const CORRUPT_MESSAGE = 2

export type LogLevel = 'info' | 'warning' | 'error'

export interface LogLine {
  readonly level: LogLevel
  readonly message: string
}

export class NodeLog {
  readonly #write: (line: LogLine) => void
  /** The last reason per peer: an address that stays unreachable is news once. */
  readonly #unreachable = new Map<number, string>()

  constructor(write: (line: LogLine) => void) {
    this.#write = write
  }

  note(observed: NodeEvent): void {
    const line = this.#line(observed)
    if (line !== null) this.#write(line)
  }

  #line({ layer, event }: NodeEvent): LogLine | null {
    switch (event.type) {
      case 'peer-up':
        this.#unreachable.delete(event.node)
        return info(`session with node ${event.node} is up`)
      case 'peer-down':
        return warning(`session with node ${event.node} ended: ${event.reason}`)
      case 'peer-unreachable':
        if (this.#unreachable.get(event.node) === event.reason) return null
        this.#unreachable.set(event.node, event.reason)
        return warning(`node ${event.node} cannot be reached yet: ${event.reason}`)
      case 'peer-refused':
        return warning(`node ${event.node} was refused: ${event.refusal.message}`)
      case 'refused-by-peer':
        return warning(`node ${event.node} refuses this node: ${event.refusal.message}`)
      case 'peer-damaged':
        return warning(`damaged bytes from node ${event.node}: ${event.defect}`)
      case 'peer-silent':
        return warning(`node ${event.node} has been silent for ${Math.round(event.silentMs)} ms`)
      case 'self-paused':
        return warning(`this node stood still for ${Math.round(event.pausedMs)} ms`)
      case 'leader-conflict':
        return error(`nodes ${event.nodes.join(' and ')} both claim to lead shard ${event.shard} in term ${event.term}`)
      case 'standing-changed':
        return event.role === 'leader' ? info(`leads shard ${event.shard} in term ${event.term}`) : null
      case 'leader-stepped-down':
        return info(`leads shard ${event.shard} no longer (term ${event.term}: ${event.reason})`)
      case 'shard-log-damaged':
        return error(
          `the log of shard ${event.shard} is damaged at byte ${event.position} of ${event.file} (${event.reason}); it will be repaired from another replica, if one has it`,
        )
      case 'shard-log-repaired': {
        const range = `entries ${event.firstIndex} to ${event.lastIndex}`
        return warning(
          `the log of shard ${event.shard} is whole again: ${event.file}, ${range}${asideOf(event.quarantined)}`,
        )
      }
      case 'directory-reset':
        return error(
          `${event.reason} All shards recover from their other replicas, in term ${event.term}, and have no vote until they have; ` +
            `what was there is in ${event.quarantined}`,
        )
      case 'replica-recovered':
        return info(`shard ${event.shard} has recovered (up to entry ${event.index}, term ${event.term})`)
      case 'log-unrepaired':
        return error(`${event.file} of shard ${event.shard} cannot be repaired yet: ${event.reason}`)
      case 'cleaned-part-adopted':
        return info(
          `shard ${event.shard} has what compaction has left below entry ${event.firstIndex} from another replica`,
        )
      case 'part-not-fetched':
        return warning(
          `shard ${event.shard} cannot go on at entry ${event.index} yet: what compaction has left below is not to be had: ${event.reason}`,
        )
      case 'file-repaired':
        return warning(`${event.file} was written again: ${event.reason}${asideOf(event.quarantined)}`)
      case 'replica-suspect':
        return error(`shard ${event.shard}: ${event.error.message}`)
      case 'malformed':
        return warning(`${event.remote}: ${event.reason}`)
      case 'recovery-done':
        return event.fresh
          ? info('new data directory')
          : info(
              `recovered ${event.entries} entries of ${event.shards} shards from ${event.segments} journal segments in ${Math.round(event.milliseconds)} ms (${event.ending})`,
            )
      case 'segment-not-prepared':
        return warning(`journal segment ${event.number} could not be prepared: ${event.reason}`)
      case 'disk-full':
        return warning(`${event.work} waits for room: ${event.reason}`)
      case 'disk-low': {
        const left =
          event.freeBytes === null ? 'the disk takes no more' : `${event.freeBytes} bytes of the disk are left`
        return error(`${left}, the reserve is ${event.reserveBytes}: records are refused until there is more`)
      }
      case 'disk-ample':
        return info('the disk has room again: records are taken')
      case 'disk-stuck':
        return error(`the disk has not answered for ${event.milliseconds} ms: this node leads nothing until it does`)
      case 'disk-answers':
        return info(`the disk answers again, after ${event.milliseconds} ms`)
      case 'shard-quarantined':
        return warning(`shard ${event.shard}: files set aside at ${event.path}`)
      case 'storage-failed':
        return error(`storage: ${event.message}`)
      default:
        return layer === 'streams' && event.type === 'stream-refused' && event.error === CORRUPT_MESSAGE
          ? warning(`shard ${event.shard}: ${event.reason}`)
          : null
    }
  }
}

function info(message: string): LogLine {
  return { level: 'info', message }
}

function warning(message: string): LogLine {
  return { level: 'warning', message }
}

function error(message: string): LogLine {
  return { level: 'error', message }
}

function asideOf(quarantined: string | null): string {
  return quarantined === null ? '' : `; the damaged file is ${quarantined}`
}
