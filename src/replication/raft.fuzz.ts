/**
 * Random walks through the protocol: a few replicas, and at every step something that the world may do, chosen at random:
 * deliver, deliver once more, sync, tick, beat, propose, lose sessions, lose power, hand over, take checkpoints, forget what the
 * shard log has, cut the log, install snapshots. After every step, what Raft promises (Figure 3 of
 * the paper) is checked against a referee who sees all; at the end of a walk the faults stop and the replicas must agree.
 *
 * What it does not cover: damaged disks and bytes, membership changes, clocks that run apart.
 */
import assert from 'node:assert/strict'
import { Prng } from '../stdx/index.ts'
import { type Entry, EntryKind } from '../storage/index.ts'
import { type Flight, type HarnessNode, isControl, ProtocolHarness } from './protocol-harness.test.ts'
import type { Ready } from './raft.ts'

const STEPS = 800

/** Runs `rounds` walks. Throws, naming the walk's seed, when a promise is broken. */
export function fuzz(seed: number, rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    const walkSeed = `${seed}/${round}`
    try {
      walk(walkSeed)
    } catch (error) {
      throw new Error(`raft walk ${walkSeed}: ${error instanceof Error ? error.message : error}`, { cause: error })
    }
  }
}

class Referee {
  /** Election safety: at most one leader per term. */
  readonly #leaders = new Map<number, number>()
  /** State machine safety: what any replica has committed, by index − 1. */
  readonly committed: Entry[] = []
  /** In which term each of them was. */
  readonly #committedIn: number[] = []
  /** How many of the first so many committed entries hold data. */
  readonly #data: number[] = []
  readonly #commits = new Map<number, number>()
  /** What a node has promised in writing. */
  readonly #votes = new Map<string, number>()

  ready(node: HarnessNode, ready: Ready): void {
    const { id, raft } = node
    assert.ok(ready.commit >= (this.#commits.get(id) ?? 0), `node ${id}: commit went back to ${ready.commit}`)
    this.#commits.set(id, ready.commit)
    for (const entry of ready.committed) {
      const known = this.committed[entry.index - 1]
      if (known === undefined) {
        assert.equal(entry.index, this.committed.length + 1, `node ${id}: commits ${entry.index} out of order`)
        this.committed.push(entry)
        this.#committedIn.push(raft.term)
        this.#data.push((this.#data.at(-1) ?? 0) + (entry.kind === EntryKind.data ? 1 : 0))
      } else
        assert.equal(entry.crc, known.crc, `node ${id}: commits another entry ${entry.index} than was committed before`)
    }
    // State machine safety, by entries or by snapshot.
    const { index, crc } = node.applied
    assert.equal(crc, this.committed[index - 1]?.crc ?? 0, `node ${id}: has applied another entry ${index}`)
    assert.equal(node.state.length, this.dataUpTo(index), `node ${id}: its machine has another state at ${index}`)
    if (raft.role === 'leader') {
      const other = this.#leaders.get(raft.term) ?? id
      assert.equal(other, id, `term ${raft.term} has two leaders: ${other} and ${id}`)
      this.#leaders.set(raft.term, id)
      // Leader completeness: what was committed in an earlier term, which may be later than the entry's own, is in the log of a
      // leader.
      for (const [at, entry] of this.committed.entries()) {
        if (this.#committedIn[at]! >= raft.term) break
        const { log } = raft
        assert.ok(entry.index <= log.lastIndex, `leader ${id} of term ${raft.term} ends before entry ${entry.index}`)
        if (entry.index < log.startIndex - 1) continue
        const what = `leader ${id} of term ${raft.term} lacks entry ${entry.index}`
        if (entry.index > log.anchorIndex) assert.equal(log.entry(entry.index)!.crc, entry.crc, what)
        else assert.equal(log.termAt(entry.index), entry.term, what)
      }
    }
    for (const { message } of ready.messages) {
      if (message.type === 'vote-reply' && message.granted) {
        // T1: the vote is on disk before it is given.
        assert.ok(node.disk.term > message.term || node.disk.vote !== 0, `node ${id}: gives a vote that is not on disk`)
      }
      if (message.type === 'append-reply' && message.rejected === null) {
        // T2: what is acknowledged as journaled is on disk, and it is what the memory holds.
        assert.ok(
          node.disk.term >= message.term,
          `node ${id}: speaks in term ${message.term}, its disk is in ${node.disk.term}`,
        )
        assert.ok(message.received >= message.journaled, `node ${id}: journaled more than it received`)
        const from = node.disk.base?.snapshot.index ?? 0
        assert.ok(
          message.journaled <= Math.max(from, node.disk.entries.length),
          `node ${id}: journaled, and not on disk`,
        )
        for (let index = from + 1; index <= message.journaled; index++) {
          const durable = node.disk.entries[index - 1]
          const held = raft.log.entry(index)?.crc ?? this.committed[index - 1]?.crc
          assert.equal(durable?.crc, held, `node ${id}: acknowledges entry ${index}, its disk differs`)
        }
      }
    }
  }

  dataUpTo(index: number): number {
    return index === 0 ? 0 : this.#data[index - 1]!
  }

  /** ReadIndex and leases (thesis §6.4): whoever is sure to lead was not replaced before. */
  leases(nodes: readonly HarnessNode[]): void {
    for (const { id, raft } of nodes) {
      if (!raft.leadsNow()) continue
      for (const term of this.#leaders.keys()) {
        assert.ok(term <= raft.term, `node ${id} is sure to lead in term ${raft.term}, but term ${term} has a leader`)
      }
    }
  }

  voted(node: HarnessNode): void {
    const { term, vote } = node.disk
    if (vote === 0) return
    const key = `${node.id}/${term}`
    assert.equal(this.#votes.get(key) ?? vote, vote, `node ${node.id}: two votes in term ${term}`)
    this.#votes.set(key, vote)
  }

  restarted(id: number): void {
    this.#commits.set(id, 0)
  }

  /** Log matching: two logs with the same term at an index are the same up to there. */
  logs(nodes: readonly HarnessNode[]): void {
    for (const a of nodes) {
      for (const b of nodes) {
        if (a.id >= b.id) continue
        const last = Math.min(a.raft.log.lastIndex, b.raft.log.lastIndex)
        let same = false
        for (let index = last; index > 0; index--) {
          const left = a.raft.log.entry(index)
          const right = b.raft.log.entry(index)
          if (left === undefined || right === undefined) break
          same ||= left.term === right.term
          if (same)
            assert.equal(left.crc, right.crc, `nodes ${a.id} and ${b.id}: logs differ at ${index} below a match`)
        }
      }
    }
  }

  /** An acknowledged entry (committed anywhere) is on the disks of a quorum. */
  durable(nodes: readonly HarnessNode[]): void {
    const index = this.committed.length
    if (index === 0) return
    const { crc } = this.committed[index - 1]!
    const holders = nodes.filter(({ disk }) => {
      return (disk.base?.snapshot.index ?? 0) >= index || disk.entries[index - 1]?.crc === crc
    }).length
    assert.ok(holders * 2 > nodes.length, `entry ${index} is committed and on ${holders} of ${nodes.length} disks`)
  }
}

function walk(seed: string): void {
  const random = new Prng(seed)
  const count = random.below(2) === 0 ? 3 : 5
  const referee = new Referee()
  const patience = random.derive('patience')
  const harness = new ProtocolHarness({
    voters: Array.from({ length: count }, (_, i) => i + 1),
    below: (bound) => patience.below(bound),
    chance: chances(random.derive('chances')),
    raft: {
      maxAppendBytes: [1, 200, 1 << 16][random.below(3)]!,
      maxInflightBytes: [1, 500, 1 << 20][random.below(3)]!,
      snapshotChunkBytes: [7, 40, 1 << 16][random.below(3)]!,
      acknowledgeReceipt: random.below(2) === 0,
    },
    onReady: (node, ready) => referee.ready(node, ready),
  })
  for (let id = 1; id <= count; id++) harness.add(id)
  const nodes = [...harness.nodes.values()]
  const any = <T>(from: readonly T[]): T => from[random.below(from.length)]!
  // Swarm: each walk has its own mixture of faults, some of them none at all.
  const rates = {
    session: random.below(8),
    crash: random.below(5),
    transfer: random.below(3),
    slow: 1 + random.below(30),
  }
  const logs = random.derive('logs')
  const below = (bound: number): number => logs.below(bound)
  /** In a hundred steps. */
  const logRates = {
    cut: [0, 4, 30][below(3)]!,
    release: below(4),
    checkpoint: below(3),
    echo: below(2) === 0 ? 0 : below(8),
  }
  const turns = random.derive('turns')
  let proposals = 0

  for (let step = 0; step < STEPS; step++) {
    const running = harness.running()
    const dice = random.below(200)
    if (dice < rates.session) {
      const [a, b] = [any(nodes), any(nodes)]
      if (a !== b) {
        if (harness.isConnected(a.id, b.id)) harness.disconnect(a.id, b.id)
        if (random.below(2) === 0) harness.connect(a.id, b.id)
      }
    } else if (dice < rates.session + rates.crash) {
      const node = any(nodes)
      if (node.up) harness.crash(node.id)
      else {
        referee.restarted(node.id)
        harness.restart(node.id)
      }
    } else if (dice < rates.session + rates.crash + rates.transfer) {
      const leader = running.find((node) => node.raft.role === 'leader')
      if (leader !== undefined) harness.act(leader.id, (raft) => raft.transfer(1 + random.below(count)))
    } else if (dice < 30) {
      const node = any(nodes)
      if (node.up && node.raft.role === 'leader') propose(harness, node, ++proposals)
    } else if (dice < 60) {
      const node = any(nodes)
      if (node.up && node.raft.needsTick) harness.act(node.id, (raft) => raft.tick())
    } else if (dice < 75) {
      harness.now += random.below(10) === 0 ? 300 : random.below(rates.slow)
      const [a, b] = [any(nodes), any(nodes)]
      if (a !== b) harness.beat(a.id, b.id)
      if (a.up) harness.act(a.id, (raft) => raft.checkQuorum())
    } else if (dice < 75 + rates.slow) {
      const writing = running.filter((node) => node.writes.length > 0)
      if (writing.length > 0) {
        const node = any(writing)
        harness.sync(node.id)
        referee.voted(node)
      }
    } else {
      const flights = harness.deliverable()
      if (flights.length > 0) harness.deliverTogether(oneTurn(harness, any(flights), turns))
    }
    careForLogs(harness, nodes, logRates, below)
    referee.logs(harness.running())
    referee.durable(nodes)
    referee.leases(harness.running())
  }
  converge(harness, referee, nodes)
}

/** Often more of a connection than one message is heard in one turn, and answered at once. */
function oneTurn(harness: ProtocolHarness, first: Flight, random: Prng): readonly Flight[] {
  if (random.below(2) === 0) return [first]
  const control = isControl(first.message)
  const line = harness.flights.filter(({ from, to, message }) => {
    return from === first.from && to === first.to && isControl(message) === control
  })
  return line.slice(0, 1 + random.below(4))
}

/** Rare things made common: in half of the walks, a quarter of all places, each now and then. */
function chances(random: Prng): (site: string) => boolean {
  if (random.below(2) === 0) return () => false
  const active = new Map<string, boolean>()
  return (site) => {
    if (!active.has(site)) active.set(site, random.below(4) === 0)
    return active.get(site)! && random.below(20) === 0
  }
}

/** What happens to logs beside entries: they are cut, let go from memory, read, replaced; and what was sent arrives twice. */
function careForLogs(
  harness: ProtocolHarness,
  nodes: readonly HarnessNode[],
  rates: { readonly cut: number; readonly release: number; readonly checkpoint: number; readonly echo: number },
  below: (bound: number) => number,
): void {
  const node = nodes[below(nodes.length)]!
  if (!node.up) return
  const { id, raft } = node
  if (node.reads.length > 0 && below(4) === 0) harness.answerRead(id, 300)
  if (node.installs.length > 0 && below(8) === 0) harness.install(id)
  if (below(100) < rates.cut && raft.settled && node.applied.index > raft.log.startIndex) {
    const most = node.applied.index - raft.log.startIndex
    harness.proposeCut(id, node.applied.index - below(Math.min(most, below(2) === 0 ? 2 : most)))
  }
  if (below(100) < rates.release)
    raft.log.releaseUpTo(raft.log.anchorIndex + below(node.applied.index - raft.log.anchorIndex + 1))
  if (below(100) < rates.checkpoint) harness.checkpoint(id)
  if (below(100) < rates.echo) harness.echo(below)
}

/** The faults are over: within a reasonable time one leads, and all hold and have committed the same. */
function converge(harness: ProtocolHarness, referee: Referee, nodes: readonly HarnessNode[]): void {
  for (const node of nodes) {
    if (node.up) continue
    referee.restarted(node.id)
    harness.restart(node.id)
  }
  for (const a of nodes) for (const b of nodes) if (a.id < b.id) harness.connect(a.id, b.id)
  let proposed = 0
  for (let turn = 0; turn < 600; turn++) {
    harness.now += 10
    for (const a of nodes) for (const b of nodes) if (a !== b && turn % 10 === 0) harness.beat(a.id, b.id)
    for (const node of nodes) {
      if (turn % 10 === 0) harness.act(node.id, (raft) => raft.checkQuorum())
      if (node.raft.needsTick) harness.act(node.id, (raft) => raft.tick())
    }
    for (const flight of [...harness.flights]) if (harness.flights.includes(flight)) harness.deliver(flight)
    for (const node of nodes) if (node.writes.length > 0) harness.sync(node.id)
    for (const node of nodes) if (node.installs.length > 0) harness.install(node.id)
    while (nodes.some((node) => node.reads.length > 0)) {
      harness.answerRead(nodes.find((node) => node.reads.length > 0)!.id, 300)
    }
    const leader = nodes.find((node) => node.raft.settled)
    if (leader !== undefined && turn > 500 && proposed === 0) propose(harness, leader, ++proposed)
  }
  referee.logs(nodes)
  const leaders = nodes.filter((node) => node.raft.role === 'leader')
  assert.equal(leaders.length, 1, `${leaders.length} leaders after the faults were over`)
  assert.equal(leaders[0]!.raft.leadsNow(), true, 'the leader does not know that it leads')
  assert.equal(proposed, 1, 'no leader settled')
  for (const { id, raft, writes, state, installs } of nodes) {
    assert.deepEqual(state, nodes[0]!.state, `nodes ${id} and ${nodes[0]!.id} have different states`)
    assert.equal(installs.length, 0, `node ${id} installs and does not end`)
    assert.equal(
      raft.commit,
      referee.committed.length,
      `node ${id} has committed ${raft.commit} of ${referee.committed.length}`,
    )
    assert.equal(raft.log.lastIndex, raft.commit, `node ${id} holds what is not committed`)
    assert.equal(raft.journaledIndex, raft.commit, `node ${id} has not journaled what is committed`)
    assert.equal(raft.uncommittedBytes, 0, `node ${id} counts bytes as uncommitted`)
    assert.equal(writes.length, 0)
  }
  assert.equal(harness.flights.length, 0, 'the replicas do not come to rest')
}

function propose(harness: ProtocolHarness, node: HarnessNode, number: number): void {
  const payload = [Buffer.from(`${number}`)]
  const stamp = node.raft.log.lastIndex + 1
  harness.act(node.id, (raft) => void raft.propose({ kind: EntryKind.data, recordCount: 1, payload, stamp }))
}
