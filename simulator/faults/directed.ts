/**
 * Sequences of faults that need each other in this order and at this moment, so that chance brings them about once in thousands of
 * seeds. Each is the shortest way to one disaster that a rule of replication is there to prevent; with the rule, nothing happens.
 *
 *   deaf-handover    The leader has told its heir to campaign, and in that moment stops hearing its peers. It is replaced within
 *                    milliseconds and cannot know; its beats were answered a moment ago; clients reach it all the time.
 *                    (A lease ends with the call to campaign: Ongaro's thesis §6.4.1.)
 *
 * The budget is that of what they are made of: a node that is cut off.
 */
import { type Family, host } from './injection.ts'
import { aroundNode, cutFor } from './network.ts'
import { handOver } from './process.ts'

/** `shard`: the so-manieth of those that are led. */
export interface DirectedFault {
  readonly kind: 'deaf-handover'
  readonly atMs: number
  readonly shard: number
  readonly to: number
  readonly forMs: number
}

/** An heir that has everything is asked at once; it may have to wait for a write. */
const CALL_WAIT_MS = 500

export const directedFaults: Family<DirectedFault['kind']> = {
  'deaf-handover': {
    draw: ({ atMs, node, prng, forMs }) => ({
      kind: 'deaf-handover',
      atMs,
      shard: prng.below(16),
      to: node(),
      forMs: 500 + forMs,
    }),
    inject: ({ shard: place, to, forMs }, at) => {
      const { shard, leader } = at.led(place)
      if (leader === 0 || !at.budget.within(leader) || !handOver(at, shard, leader, to)) return false
      at.impairFor([leader], CALL_WAIT_MS + forMs)
      at.once(
        CALL_WAIT_MS,
        (node, event) =>
          node === to && event.type === 'campaign-started' && event.shard === shard && event.phase === 'vote',
        () => {
          const inwards = aroundNode(at, leader, false).filter(([, hearer]) => hearer === host(leader))
          cutFor(at, inwards, forMs, `node ${leader} hears no peer from now on, for ${forMs} ms`)
        },
      )
      return true
    },
  },
}
