/** Streams and the wire broken: producers, marks, groups, sessions, identities. */
import { WIPED_IN_BLACKOUT } from './attacks.ts'
import type { Attack } from './mutant.ts'
import type { PatchMutant } from './patch.ts'

/** Until the end of the faults: a session that ends for another reason takes a reader that waits in vain with it. */
const FLIPS_AND_NOTHING_ELSE: Attack = {
  options: {
    faults: Array.from({ length: 80 }, (_, i) => ({
      kind: 'bit-flips',
      atMs: 39_900 + 250 * i,
      from: 1 + (i % 3),
      to: 1 + ((i + 1 + (Math.floor(i / 3) % 2)) % 3),
      count: 2,
    })),
  },
}

export const STREAMS_PATCHES: readonly PatchMutant[] = [
  {
    name: 'answered-by-the-leader-alone',
    trap: 'T24',
    breaks: 'a producer that asked for a quorum is told its offset when the leader’s journal has the batch',
    edits: [
      {
        file: 'streams/partition',
        find: 'this.#waiting.forQuorum(baseOffset + count, waiter, slot, baseOffset, appendTime);',
        replace: 'this.#waiting.forJournal(waiter, slot, baseOffset, appendTime);',
      },
    ],
  },
  {
    name: 'offset-before-commit',
    trap: 'T24',
    breaks: 'a producer is told its offset before anything is written',
    edits: [
      {
        file: 'streams/partition',
        find: 'this.#waiting.forQuorum(baseOffset + count, waiter, slot, baseOffset, appendTime);',
        replace: 'waiter.produced(slot, 0, baseOffset, appendTime, this.#shard.startOffset, null);',
      },
    ],
  },
  {
    name: 'waiters-outlive-leadership',
    trap: 'T24',
    breaks: 'producers wait through a change of leaders and are told that another leader’s entry was theirs',
    edits: [
      {
        file: 'streams/partition',
        find: 'if (entry.term === this.#term) this.#waiting.committed(',
        replace: 'this.#waiting.committed(',
      },
      { file: 'streams/partition', find: 'this.#waiting.failAll(error, startOffset, message);', replace: '' },
    ],
  },
  {
    name: 'followers-answer-reads',
    trap: 'T24',
    breaks: 'followers serve reads and tell their own high-water mark',
    edits: [
      {
        file: 'streams/partition-reader',
        find: "if (role !== 'leader') return KafkaError.NOT_LEADER_OR_FOLLOWER;",
        replace: "if (role !== 'leader') return KafkaError.NONE;",
      },
      {
        file: 'streams/partition-reader',
        find: 'if (!shard.standing.settled) { const again',
        replace: "if (shard.standing.role === 'leader' && !shard.standing.settled) { const again",
      },
      {
        file: 'streams/partition-reader',
        find: 'if (!this.#shard.standing.settled) return this.#result(KafkaError.NOT_LEADER_OR_FOLLOWER);',
        replace: '',
      },
    ],
  },
  {
    name: 'reads-without-leading-now',
    trap: 'T14',
    breaks: 'a leader that was replaced in its sleep answers reads',
    edits: [
      {
        file: 'streams/partition-reader',
        find: 'return settled && !this.#shard.leadsNow() ?',
        replace: 'return settled && !this.#shard ?',
      },
    ],
  },
  {
    name: 'duplicates-are-appended',
    trap: 'T23',
    breaks: 'a batch that a producer sends again is appended again',
    edits: [
      {
        file: 'streams/producers',
        find: 'if (mark.firstSequence === baseSequence && mark.lastSequence === lastSequence) return mark;',
        replace:
          'if (mark.firstSequence === baseSequence && mark.lastSequence === lastSequence) return KafkaError.NONE;',
      },
    ],
  },
  {
    name: 'producers-not-in-the-snapshot',
    trap: 'T23',
    breaks: 'a restart forgets which batches of each producer are in the log, and appends a retry again',
    edits: [
      {
        file: 'streams/producers',
        find: 'this.#committed.set(producerId, { epoch, marks }); } return at;',
        replace: '} return at;',
      },
    ],
  },
  {
    name: 'producers-remembered-by-the-leader-alone',
    trap: 'T23',
    breaks: 'only the leader that took a batch knows its sequence number: after a failover a retry is appended again',
    edits: [
      {
        file: 'streams/partition',
        find: 'if (this.#derived.apply(entry, payload))',
        replace:
          'if (this.#term === 0) this.#derived.producers.commit = () => {}; else delete this.#derived.producers.commit; if (this.#derived.apply(entry, payload))',
      },
    ],
  },
  {
    name: 'beginnings-anywhere',
    trap: 'T23',
    breaks:
      'a producer that was never here may begin with any batch, also while an earlier one is on its way to somebody else',
    edits: [
      {
        file: 'streams/producers',
        find: 'this.#isNew(producerId) ? baseSequence === 0 : this.#mayBegin(',
        replace: 'this.#mayBegin(',
      },
    ],
  },
  {
    name: 'handover-keeps-slices',
    trap: 'bug 6',
    breaks: 'batches that wait for a handover of leadership are slices of memory that is used again',
    edits: [
      {
        file: 'streams/pending-batches',
        find: 'batches[this.#kept] = Buffer.from(batches[this.#kept]);',
        replace: ';',
      },
    ],
  },
  {
    name: 'offsets-acknowledged-before-commit',
    trap: 'T24',
    breaks: 'a group’s offsets are acknowledged when they are proposed',
    edits: [
      {
        file: 'streams/group-coordinator',
        find: 'this.mutate(changes, (outcome) => { for (const { key } of changes) { const left',
        replace:
          'answer(KafkaError.NONE); this.mutate(changes, (outcome) => { for (const { key } of changes) { const left',
      },
      {
        file: 'streams/group-coordinator',
        find: 'answer(outcome === null ? KafkaError.NONE : KafkaError.NOT_COORDINATOR); }); } fetchOffsets',
        replace: '}); } fetchOffsets',
      },
    ],
  },
  {
    name: 'session-replay-accepted',
    trap: 'T22',
    breaks: 'the answer to an earlier attempt to connect is taken for the answer to this one',
    edits: [{ file: 'cluster/peer-dial', find: 'hello.nonce !== this.#nonce ||', replace: '' }],
  },
  {
    name: 'damaged-length-is-believed',
    trap: 'T27',
    breaks: 'the sum over a header is not looked at: a frame whose length has grown swallows those behind it',
    attack: FLIPS_AND_NOTHING_ELSE,
    edits: [{ file: 'cluster/peer-wire', find: "return 'header';", replace: '{}' }],
  },
  {
    name: 'empty-disk-keeps-its-id',
    trap: 'T11',
    breaks: 'a node that comes back with an empty disk is let in under its old id, and votes',
    attack: { options: WIPED_IN_BLACKOUT },
    edits: [
      {
        file: 'cluster/membership',
        find: 'if (known !== undefined && known !== diskIncarnation) {',
        replace: "if (known !== undefined && known === '') {",
      },
    ],
  },
]
