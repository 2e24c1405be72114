/** Raft broken, one rule at a time: elections, replication, commitment, leases. */
import { DEAF_HANDOVERS, LEADS_AGAIN } from './attacks-replication.ts'
import type { PatchMutant } from './patch.ts'

export const REPLICATION_PATCHES: readonly PatchMutant[] = [
  {
    name: 'term-not-written',
    trap: 'T1',
    breaks: 'a term that was heard of is not written, so after a restart the node is in an older one',
    edits: [
      {
        file: 'replication/raft-core',
        find: 'this.vote = vote; this.persistence.hardStateChanged();',
        replace: 'this.vote = vote; if (vote !== 0) this.persistence.hardStateChanged();',
      },
    ],
  },
  {
    name: 'vote-not-written',
    trap: 'T1',
    breaks: 'a vote is told and never written: after a restart it may be given to another in the same term',
    edits: [
      {
        file: 'replication/raft-core',
        find: 'this.vote = node; this.persistence.hardStateChanged();',
        replace: 'this.vote = node;',
      },
    ],
  },
  {
    name: 'votes-before-their-sync',
    trap: 'T1',
    breaks: 'messages of a term, votes among them, leave before term and vote are synced',
    edits: [
      {
        file: 'replication/persistence',
        find: 'return this.#hardStateWrite <= this.#completed;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'follower-acknowledges-memory',
    trap: 'T2',
    breaks: 'a follower says "journaled" of what it has only received',
    edits: [
      {
        file: 'replication/follower',
        find: 'return Math.min(following.matched, this.#core.persistence.journaled);',
        replace: 'return following.matched;',
      },
    ],
  },
  {
    name: 'leader-counts-itself-early',
    trap: 'T2',
    breaks: 'a leader counts its own journal before its own sync has returned',
    edits: [
      {
        file: 'replication/leader',
        find: 'node === self ? core.persistence.journaled : progress.get(node).match',
        replace: 'node === self ? core.log.lastIndex : progress.get(node).match',
      },
    ],
  },
  {
    name: 'old-term-committed-by-count',
    trap: 'T3',
    breaks: 'entries of earlier terms are committed by counting replicas (Raft, figure 8)',
    edits: [
      {
        file: 'replication/leader',
        find: 'if (index <= core.commit || index < this.#firstIndex)',
        replace: 'if (index <= core.commit)',
      },
    ],
  },
  {
    name: 'no-entry-at-election',
    trap: 'T3',
    breaks: 'a new leader appends nothing of its own, so what its predecessors left is never committed',
    edits: [
      {
        file: 'replication/leader',
        find: 'core.appendNext({ kind: EntryKind.leadership, recordCount: 0, payload: NO_PAYLOAD, stamp: core.stamp() });',
        replace: '',
      },
    ],
  },
  {
    name: 'no-pre-vote',
    trap: 'T6',
    breaks: 'a node that cannot win raises its term all the same, and deposes the leader when it returns',
    attack: { by: 'graphs' },
    edits: [
      {
        file: 'replication/follower',
        find: "core.chance('replication/early-campaign')) core.campaign('pre-vote');",
        replace: "core.chance('replication/early-campaign')) core.campaign('vote');",
      },
    ],
  },
  {
    name: 'no-check-quorum',
    trap: 'T6',
    breaks: 'a leader that a quorum does not answer goes on leading, and those who hear it wait for ever',
    attack: { by: 'graphs' },
    edits: [
      {
        file: 'replication/leader',
        find: 'if (this.#quorumHeardAt < oldest) {',
        replace: 'if (this.#quorumHeardAt < Number.NEGATIVE_INFINITY) {',
      },
    ],
  },
  {
    name: 'votes-against-a-live-leader',
    trap: 'T6',
    attack: { by: 'graphs' },
    breaks: 'a replica that hears its leader helps others to replace it, while the leader trusts in its lease',
    edits: [
      {
        file: 'replication/raft-core',
        find: 'return this.leader !== candidate && this.hasLiveLeader();',
        replace: 'return false;',
      },
    ],
  },
  {
    name: 'reads-before-it-is-settled',
    trap: 'T14',
    breaks: 'a leader answers reads before an entry of its own term is committed, with a mark of the past',
    edits: [
      {
        file: 'replication/leader',
        find: 'return this.#core.commit >= this.#firstIndex;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'lease-without-support',
    trap: 'T14',
    breaks: 'a leader answers reads without knowing whether a quorum still follows it',
    edits: [
      {
        file: 'replication/leader',
        find: 'return agreed(core.configuration, this.#supportedAt) > oldest;',
        replace: 'return oldest < Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'lease-by-the-wall-clock',
    trap: 'T25',
    breaks: 'leases and check-quorum go by a clock that people and NTP set',
    edits: [
      { file: 'replication/host', find: 'now: () => this.#clock.now(),', replace: 'now: () => this.#clock.wall(),' },
    ],
  },
  {
    name: 'lease-outlives-a-handover',
    trap: 'T14',
    breaks: 'a leader that told another one to campaign answers reads as if it were still protected',
    attack: DEAF_HANDOVERS,
    edits: [
      {
        file: 'replication/leader',
        find: 'if (!this.settled || this.#transfer?.asked === true) return false;',
        replace: 'if (!this.settled) return false;',
      },
    ],
  },
  {
    name: 'moved-is-not-said',
    trap: 'T14',
    breaks:
      'a follower that leaves its leader for a higher term does not say so, and its heartbeats go on supporting the old one',
    edits: [
      {
        file: 'replication/raft-core',
        find: "this.sendAtOnce(former, { type: 'moved', shard: this.shard, term });",
        replace: '',
      },
    ],
  },
  {
    name: 'follower-commits-what-it-holds',
    trap: 'T24',
    breaks: 'a follower takes all that its leader sent for committed: the high-water mark comes from a follower',
    edits: [
      {
        file: 'replication/follower',
        find: 'core.commitUpTo(Math.min(message.commit, following.matched));',
        replace: 'core.commitUpTo(following.matched);',
      },
    ],
  },
  {
    name: 'commit-beyond-the-match',
    trap: 'T2',
    breaks: 'a follower commits up to the leader’s mark what it holds, also leftovers that no leader has confirmed',
    edits: [
      {
        file: 'replication/follower',
        find: 'core.commitUpTo(Math.min(message.commit, following.matched));',
        replace: 'core.commitUpTo(Math.min(message.commit, core.log.lastIndex));',
      },
    ],
  },
  {
    name: 'applied-before-commit',
    trap: 'T12',
    breaks: 'the leader applies what it has journaled itself, before a quorum has it',
    edits: [
      {
        file: 'replication/leader',
        find: 'const index = agreed(core.configuration, this.#journaled);',
        replace: 'const index = core.persistence.journaled;',
      },
    ],
  },
  {
    name: 'any-log-may-win',
    trap: 'T2',
    breaks: 'votes are given without comparing logs (Raft §5.4.1), so a leader may lack what was committed',
    edits: [
      {
        file: 'replication/voting',
        find: 'return claim.lastTerm > lastTerm || (claim.lastTerm === lastTerm && claim.lastIndex >= lastIndex);',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'longer-log-wins',
    trap: 'T3',
    breaks: 'votes compare how long logs are and forget their last terms',
    edits: [
      {
        file: 'replication/voting',
        find: 'return claim.lastTerm > lastTerm || (claim.lastTerm === lastTerm && claim.lastIndex >= lastIndex);',
        replace: 'return claim.lastIndex >= lastIndex || lastTerm < 0;',
      },
    ],
  },
  {
    name: 'candidate-does-not-vote-for-itself',
    trap: 'T1',
    breaks: 'a candidate counts itself and remembers no vote, so it may help a rival in the same term',
    edits: [
      {
        file: 'replication/raft-core',
        find: 'this.enterTerm(this.term + 1, this.self, this.self);',
        replace: 'this.enterTerm(this.term + 1, 0, this.self);',
      },
    ],
  },
  {
    name: 'truncates-what-matches',
    trap: 'T2',
    breaks: 'a follower cuts its log at an entry that it already holds, and with it what it has acknowledged',
    edits: [
      {
        file: 'replication/follower',
        find: 'if (held.term === entry.term) return held.crc === entry.crc || this.#quarantine(from, entry, entry.crc, held.crc);',
        replace: '',
      },
    ],
  },
  {
    name: 'no-consistency-check',
    trap: 'T2',
    breaks: 'a follower takes entries without looking at what they follow (Raft §5.3)',
    edits: [
      {
        file: 'replication/follower',
        find: 'return previousIndex <= log.lastIndex && log.termAt(previousIndex) === previousTerm;',
        replace: 'return previousIndex <= log.lastIndex || previousTerm < 0;',
      },
    ],
  },
  {
    name: 'overtaken-write-counts',
    trap: 'T2',
    breaks: 'a write that a truncation has overtaken still counts as the new entries being on disk (ABA)',
    attack: { by: 'explore' },
    edits: [
      {
        file: 'replication/persistence',
        find: 'for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, last);',
        replace: '',
      },
    ],
  },
  {
    name: 'stale-answers-count',
    trap: 'T22',
    breaks: 'a leader counts acknowledgements that were given to its earlier terms',
    attack: LEADS_AGAIN,
    edits: [
      {
        file: 'replication/raft',
        find: 'else if (message.term < core.term) {',
        replace: "else if (message.term < core.term && message.type !== 'append-reply') {",
      },
    ],
  },
  {
    name: 'reads-above-the-mark',
    trap: 'T24',
    breaks: 'readers are shown what is not committed',
    edits: [
      {
        file: 'replication/log-reading',
        find: 'return raft.log.slice(index, maxBytes, commitIndex);',
        replace: 'return raft.log.slice(index, maxBytes);',
      },
      {
        file: 'replication/replica',
        find: 'get committedOffset() { return this.#applied.nextOffset; }',
        replace: 'get committedOffset() { return this.raft.log.endOffset; }',
      },
      {
        file: 'replication/log-reading',
        find: 'if (offset >= nextOffset) return [];',
        replace: 'if (offset >= raft.log.endOffset) return [];',
      },
    ],
  },
  {
    name: 'state-is-told-before-commit',
    trap: 'T24',
    breaks: 'metadata and group offsets are acknowledged when they are proposed',
    edits: [
      {
        file: 'replication/keyed-machine',
        find: 'this.#waiters.push({ index: 0, changes: changes.length, done }); this.shard.requestProposal();',
        replace: 'this.shard.requestProposal(); done(null);',
      },
    ],
  },
  {
    name: 'catch-up-beyond-the-mark',
    trap: 'bug 5',
    attack: { profile: 'crash' },
    breaks: 'a leader that has just started reads for a follower beyond its own mark, and stops itself',
    edits: [
      {
        file: 'replication/leader',
        find: "must(read.at(-1), 'last entry read').index <= commit ? read : read.filter(({ index }) => index <= commit)",
        replace: 'read; assert(read.at(-1).index <= commit, "read beyond the mark")',
      },
    ],
  },
]
