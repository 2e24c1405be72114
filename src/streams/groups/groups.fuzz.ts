/**
 * Consumer groups under everything that can happen to them: clients that come, go, repeat themselves and lie; commits that take
 * their time; coordinators that fail over, with what was not committed kept or lost, and old ones that do not know it yet.
 *
 * `Lab` is the world: coordinators on the replicas of one shard, a log between them that commits when it is told to, and a
 * clock. The stories of `groups.test.ts` run in it as well.
 */
import type { Clock, Random, Timer } from '../../platform/index.ts'
import type { Shard, Standing } from '../../replication/index.ts'
import { assert, must, Prng } from '../../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../../storage/index.ts'
import { KafkaError } from '../errors.ts'
import { GroupCoordinator } from '../group-coordinator.ts'
import type { GroupEvent } from './events.ts'
import type { GroupCoordinatorOptions } from './options.ts'

const SHARD = 16
/** The group that is deleted now and then, and counts from 1 again after that. */
const DELETED = 'd'

interface LabTimer {
  readonly at: number
  readonly callback: () => void
  cancelled: boolean
}

class LabClock implements Clock {
  #now = 0
  #timers: LabTimer[] = []

  now = (): number => this.#now
  wall = (): number => 1_700_000_000_000 + this.#now

  after(delayMs: number, callback: () => void): Timer {
    const timer = { at: this.#now + delayMs, callback, cancelled: false }
    this.#timers.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  every(): Timer {
    throw new Error('groups use no intervals')
  }

  endOfTurn(callback: () => void): void {
    callback()
  }

  get armed(): number {
    return this.#timers.filter((timer) => !timer.cancelled).length
  }

  /** Runs the next timer due by `until`, if there is one; then time stands at it, else at `until`. */
  advance(until: number): boolean {
    this.#timers = this.#timers.filter((timer) => !timer.cancelled)
    const next = this.#timers.reduce<LabTimer | null>((a, b) => (a !== null && a.at <= b.at ? a : b), null)
    if (next === null || next.at > until) {
      this.#now = until
      return false
    }
    this.#now = Math.max(this.#now, next.at)
    this.#timers.splice(this.#timers.indexOf(next), 1)
    next.callback()
    return true
  }
}

interface LabNode {
  readonly coordinator: GroupCoordinator
  standing: Standing
  leadsNow: boolean
  wantsProposal: boolean
}

export class Lab {
  readonly clock = new LabClock()
  readonly events: GroupEvent[] = []
  readonly #nodes: LabNode[] = []
  readonly #log: Entry[] = []
  #committed = 0
  #term = 0
  #leader = -1
  /** While false, nothing commits. */
  commits = true

  constructor(nodes: number, seed: number, options: Partial<GroupCoordinatorOptions>) {
    const prng = new Prng(seed)
    const random: Random = {
      below: (bound) => prng.below(bound),
      bytes: (length) => prng.bytes(length),
      chance: () => false,
    }
    for (let i = 0; i < nodes; i++) {
      const node = {
        standing: { role: 'follower', term: 0, leader: null, settled: false },
        leadsNow: false,
        wantsProposal: false,
      } as unknown as LabNode
      const shard = {
        id: SHARD,
        get standing() {
          return node.standing
        },
        requestProposal: () => {
          node.wantsProposal = true
        },
        hasRoom: true,
        leadsNow: () => node.leadsNow,
      } as unknown as Shard
      const trace = (event: GroupEvent): number => this.events.push(event)
      Object.assign(node, { coordinator: new GroupCoordinator(options, { shard, clock: this.clock, random, trace }) })
      this.#nodes.push(node)
    }
  }

  get leader(): GroupCoordinator {
    return must(this.#nodes[this.#leader], 'a leader').coordinator
  }

  coordinator(node: number): GroupCoordinator {
    return must(this.#nodes[node], `node ${node}`).coordinator
  }

  /** `node` leads from here on; of what was not committed, the first `kept` entries survive. */
  lead(node: number, kept: number, oldLeaderKnows: boolean, settle: boolean): void {
    const old = this.#nodes[this.#leader]
    this.#log.length = Math.min(this.#log.length, this.#committed + kept)
    this.#term++
    this.#leader = node
    if (old !== undefined) {
      old.leadsNow = false
      if (oldLeaderKnows || old === this.#nodes[node])
        this.#stand(old, { role: 'follower', term: this.#term, leader: null, settled: false })
    }
    this.#stand(this.#nodes[node]!, { role: 'leader', term: this.#term, leader: node, settled: false })
    this.#append(EntryKind.leadership, 0, [])
    if (settle) this.settle()
  }

  /** The leader's own first entry commits, and with it everything before. */
  settle(): void {
    const node = this.#nodes[this.#leader]!
    if (node.standing.settled) return
    this.#commitAll()
    node.leadsNow = true
    this.#stand(node, { ...node.standing, settled: true })
    this.turn()
  }

  /** Nodes that still think they lead an old term find out. */
  tellEverybody(): void {
    for (const [i, node] of this.#nodes.entries()) {
      if (i === this.#leader || node.standing.role !== 'leader') continue
      this.#stand(node, { role: 'follower', term: this.#term, leader: this.#leader, settled: false })
    }
  }

  /** The end of an event-loop turn: what was proposed becomes an entry, which commits if it may; until nothing happens. */
  turn(): void {
    const node = this.#nodes[this.#leader]
    if (node === undefined) return
    do {
      if (node.wantsProposal) {
        node.wantsProposal = false
        const last = this.#log.at(-1)
        const context = { term: this.#term, firstOffset: last === undefined ? 0 : nextOffsetAfter(last), stamp: 0 }
        const draft = node.coordinator.draft(context)
        if (draft !== null) node.coordinator.appended(this.#append(draft.kind, draft.recordCount, draft.payload))
      }
      if (this.commits && node.standing.settled) this.#commitAll()
    } while (node.wantsProposal)
  }

  wait(ms: number): void {
    const until = this.clock.now() + ms
    while (this.clock.advance(until)) this.turn()
  }

  #append(kind: EntryKind, recordCount: number, payload: readonly Uint8Array[]): Entry {
    const last = this.#log.at(-1)
    const entry = encodeEntry({
      kind,
      shard: SHARD,
      term: this.#term,
      index: this.#log.length + 1,
      stamp: 0,
      firstOffset: last === undefined ? 0 : nextOffsetAfter(last),
      recordCount,
      previousCrc: last?.crc ?? 0,
      payload,
    })
    this.#log.push(entry)
    return entry
  }

  #commitAll(): void {
    for (; this.#committed < this.#log.length; this.#committed++) {
      for (const node of this.#nodes) {
        // A leader of old cannot apply what it does not have: it is cut off.
        if (node.standing.role === 'leader' && node !== this.#nodes[this.#leader]) continue
        this.#catchUp(node, this.#committed)
      }
    }
    for (const node of this.#nodes) node.coordinator.applied()
  }

  #catchUp(node: LabNode, through: number): void {
    for (let i = node.coordinator.appliedIndex; i <= through; i++) node.coordinator.apply(this.#log[i]!)
  }

  #stand(node: LabNode, standing: Standing): void {
    node.standing = standing
    node.coordinator.roleChanged(standing)
    if (standing.role === 'follower') {
      node.wantsProposal = false
      this.#catchUp(node, this.#committed - 1)
    }
  }
}

interface FuzzClient {
  readonly name: string
  readonly instance: string | null
  memberId: string
  generation: number
  leads: boolean
  members: string[]
  skipAssignment: boolean
}

/** What everybody was told, and the rules that it must keep. */
class Truth {
  readonly generations = new Map<string, string>()
  readonly assignments = new Map<string, string>()
  readonly #highest = new Map<string, number>()
  /** Offsets: when the last acknowledged commit was sent, and when each was sent and answered. */
  readonly acknowledged = new Map<string, number>()
  readonly sent = new Map<string, { order: number; end: number; value: number }[]>()

  told(group: string, generation: number, protocol: string): void {
    if (group === DELETED) return
    const highest = this.#highest.get(group) ?? 0
    assert(generation >= highest, () => `${group}: generation ${generation} told after ${highest}`)
    this.#highest.set(group, generation)
    const key = `${group}/${generation}`
    const before = this.generations.get(key)
    assert(before === undefined || before === protocol, () => `${key}: ${protocol} after ${before}`)
    this.generations.set(key, protocol)
  }

  /** `assignment` names the SyncGroup that made it: one per generation. */
  assigned(group: string, generation: number, assignment: string): void {
    if (assignment === '' || group === DELETED) return
    const key = `${group}/${generation}`
    const before = this.assignments.get(key)
    assert(before === undefined || before === assignment, () => `${key}: assignment ${assignment} after ${before}`)
    this.assignments.set(key, assignment)
  }
}

/** Throws on a defect. */
export function fuzz(seed: number, rounds: number): void {
  for (let round = 0; round < rounds; round++) world(new Prng(`${seed}/${round}`))
}

function world(prng: Prng): void {
  const lab = new Lab(3, prng.uint32(), {
    groupInitialRebalanceDelayMs: [0, 300, 3000][prng.below(3)]!,
    groupMinSessionTimeoutMs: 100,
  })
  lab.lead(0, 0, true, true)
  const truth = new Truth()
  const groups = ['g', 'g/x', DELETED]
  let open = 0
  let order = 0
  const once = <Response>(what: string, handle: (response: Response) => void): ((response: Response) => void) => {
    let answered = false
    open++
    return (response) => {
      assert(!answered, () => `${what} answered twice`)
      answered = true
      open--
      handle(response)
    }
  }
  const clients: FuzzClient[] = Array.from({ length: 2 + prng.below(5) }, (_, i) => ({
    name: `c${i}`,
    instance: prng.below(3) === 0 ? `i${prng.below(2)}` : null,
    memberId: '',
    generation: -1,
    leads: false,
    members: [],
    skipAssignment: false,
  }))
  const groupOf = (client: FuzzClient): string => groups[client.name === 'c1' ? 1 : client.name === 'c2' ? 2 : 0]!
  // What is rare in one world is common in another.
  const strays = 1 + prng.below(16)
  const holds = 1 + prng.below(4)
  const turns = 1 + prng.below(6)
  const target = (): GroupCoordinator => (prng.below(strays) === 0 ? lab.coordinator(prng.below(3)) : lab.leader)
  const versions = [0, 4, 5, 9]

  const join = (client: FuzzClient): void => {
    const group = groupOf(client)
    const apiVersion = versions[prng.below(versions.length)]!
    if (prng.below(20) === 0) client.memberId = ''
    const names = prng.below(4) === 0 ? ['b', 'a'] : ['a']
    const request = {
      groupId: group,
      sessionTimeoutMs: 500 + prng.below(5000),
      rebalanceTimeoutMs: 500 + prng.below(5000),
      memberId: client.memberId,
      groupInstanceId: client.instance,
      protocolType: 'consumer',
      protocols: names.map((name) => ({ name, metadata: Buffer.from(prng.below(5) === 0 ? 'changed' : client.name) })),
    }
    const context = { clientId: client.name, clientHost: 'h', apiVersion }
    const done = once(`join of ${client.name}`, (response: Parameters<Parameters<GroupCoordinator['join']>[2]>[0]) => {
      if (response.errorCode === KafkaError.MEMBER_ID_REQUIRED) client.memberId = response.memberId
      else if (
        response.errorCode === KafkaError.UNKNOWN_MEMBER_ID ||
        response.errorCode === KafkaError.FENCED_INSTANCE_ID
      )
        client.memberId = ''
      if (response.errorCode !== KafkaError.NONE) return
      truth.told(group, response.generationId, must(response.protocolName, 'protocol'))
      client.memberId = response.memberId
      client.generation = response.generationId
      client.leads = response.leader === response.memberId
      client.members = response.members.map((member) => member.memberId)
      client.skipAssignment = response.skipAssignment
      assert(
        client.leads === client.members.length > 0,
        () => `${client.name}: members go to the leader and to nobody else`,
      )
    })
    target().join(request, context, done)
  }

  const sync = (client: FuzzClient): void => {
    const group = groupOf(client)
    const { generation, memberId } = client
    const label = `by ${client.name} at ${order++}`
    const assigns = client.leads && !client.skipAssignment
    const assignments = assigns ? client.members.map((id) => ({ memberId: id, assignment: Buffer.from(label) })) : []
    const request = {
      groupId: group,
      generationId: generation,
      memberId,
      groupInstanceId: client.instance,
      assignments,
    }
    target().sync(
      request,
      once(`sync of ${client.name}`, (response) => {
        if (response.errorCode === KafkaError.NONE) truth.assigned(group, generation, response.assignment.toString())
      }),
    )
  }

  const commit = (client: FuzzClient): void => {
    const groupId = groupOf(client)
    const simple = prng.below(4) === 0
    const sent = { order: order++, end: Number.POSITIVE_INFINITY, value: order * 10 }
    const key = groupId
    const request = {
      groupId,
      generationIdOrMemberEpoch: simple ? -1 : client.generation,
      memberId: simple ? '' : client.memberId,
      groupInstanceId: simple ? null : client.instance,
      topics: [{ name: 't', partitions: [{ partitionIndex: 0, committedOffset: sent.value, committedMetadata: 'm' }] }],
    }
    truth.sent.set(key, [...(truth.sent.get(key) ?? []), sent])
    target().commitOffsets(
      request,
      { clientId: client.name, clientHost: 'h', apiVersion: 8 },
      once('commit', ({ topics }) => {
        const { errorCode } = topics[0]!.partitions[0]!
        sent.end = order++
        if (errorCode !== KafkaError.NONE) return
        truth.acknowledged.set(key, Math.max(sent.order, truth.acknowledged.get(key) ?? -1))
      }),
    )
  }

  const fetch = (groupId: string): void => {
    const topics = [{ name: 't', partitionIndexes: [0] }]
    target().fetchOffsets(
      { groupId, topics },
      once('fetch', (response) => {
        if (response.errorCode !== KafkaError.NONE) return
        const found = response.topics[0]!.partitions[0]!.committedOffset
        const since = truth.acknowledged.get(groupId) ?? -1
        // Whatever was answered before an acknowledged request began is overwritten; requests that overlap take any order.
        const allowed = (truth.sent.get(groupId) ?? []).filter((each) => each.end >= since).map((each) => each.value)
        if (since === -1) allowed.push(-1)
        assert(allowed.includes(found), () => `${groupId}: offset ${found}, allowed ${allowed}`)
      }),
    )
  }

  const drop = (groupId: string): void => {
    const sent = { order: order++, end: Number.POSITIVE_INFINITY, value: -1 }
    truth.sent.set(groupId, [...(truth.sent.get(groupId) ?? []), sent])
    target().delete(
      [groupId],
      once('delete', ({ results }) => {
        sent.end = order++
        if (results[0]!.errorCode !== KafkaError.NONE) return
        truth.acknowledged.set(groupId, Math.max(sent.order, truth.acknowledged.get(groupId) ?? -1))
      }),
    )
  }

  for (let step = 0; step < 250; step++) {
    const client = clients[prng.below(clients.length)]!
    const { memberId, generation, instance } = client
    const groupId = groupOf(client)
    const dice = prng.below(100)
    if (dice < 30) join(client)
    else if (dice < 52) sync(client)
    else if (dice < 62)
      target().heartbeat(
        { groupId, generationId: generation, memberId, groupInstanceId: instance },
        once('heartbeat', () => {}),
      )
    else if (dice < 66) {
      const request = { groupId, members: [{ memberId, groupInstanceId: instance }] }
      target().leave(
        request,
        { clientId: client.name, clientHost: 'h', apiVersion: 5 },
        once('leave', () => {}),
      )
    } else if (dice < 76) commit(client)
    else if (dice < 82) fetch(groupId)
    else if (dice < 84) drop(DELETED)
    else if (dice < 92) lab.wait(prng.below(prng.below(4) === 0 ? 6000 : 300))
    else if (dice < 95) lab.commits = prng.below(holds) === 0
    else if (dice < 97) lab.lead(prng.below(3), prng.below(4), prng.below(2) === 0, prng.below(2) === 0)
    else lab.settle()
    if (prng.below(turns) === 0) lab.turn()
    if (prng.below(10) === 0) lab.tellEverybody()
  }

  lab.commits = true
  lab.settle()
  lab.turn()
  lab.lead(1, 100, true, true)
  lab.tellEverybody()
  lab.lead(2, 100, true, true)
  assert(open === 0, () => `${open} requests were never answered`)
  // Whoever is in a group is heard of or expires: in the end nobody is left, and no timer.
  lab.wait(1_000_000)
  for (const { members } of lab.leader.describe(groups)) assert(members.length === 0, () => `${members.length} ghosts`)
  assert(lab.clock.armed === 0, () => `${lab.clock.armed} timers for groups without members`)
}
