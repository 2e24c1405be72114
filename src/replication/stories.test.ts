/**
 * The protocol told in stories: `testdata/*.txt`. A block is a few commands, a line of dashes, and what they made happen.
 *
 *     TIDEMARK_REWRITE=1 npm test        writes what happens now into the stories; committing that says: I have read it
 *
 * The commands are the `case`s of `#run`. `quietly` at the end of a line runs it without a word.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { EntryKind } from '../storage/index.ts'
import type { NodeId } from './messages.ts'
import {
  describeEntries,
  describeMessage,
  diskWithTerms,
  type Flight,
  isControl,
  ProtocolHarness,
} from './protocol-harness.test.ts'

const FOLDER = 'src/replication/testdata'

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))) {
  test(`story: ${file.slice(0, -'.txt'.length).replaceAll('-', ' ')}`, () => {
    const path = join(FOLDER, file)
    const told = readFileSync(path, 'utf8')
    const happened = tell(told)
    if (process.env.TIDEMARK_REWRITE === '1') writeFileSync(path, happened)
    else assert.equal(happened, told)
  })
}

/** The same text with every block's output replaced by what happens. */
function tell(text: string): string {
  const story = new Story()
  const out: string[] = []
  let commands: string[] = []
  let inOutput = false
  for (const line of text.split('\n')) {
    if (inOutput) {
      if (line !== '') continue
      inOutput = false
    }
    out.push(line)
    if (line === '----') {
      for (const command of commands) story.run(command)
      out.push(...story.take())
      commands = []
      inOutput = true
    } else if (line !== '' && !line.startsWith('#')) commands.push(line)
  }
  assert.deepEqual(commands, [], 'commands without a line of dashes after them')
  return out.join('\n')
}

class Story {
  #lines: string[] = []
  #quiet = false
  #harness: ProtocolHarness | null = null

  take(): string[] {
    const lines = this.#lines
    this.#lines = []
    return lines.length > 0 ? lines : ['(nothing)']
  }

  run(line: string): void {
    this.#quiet = line.endsWith(' quietly')
    const words = (this.#quiet ? line.slice(0, -' quietly'.length) : line).match(/"[^"]*"|\S+/g) ?? []
    const settings = new Map<string, string>()
    const plain: string[] = []
    for (const word of words.slice(1)) {
      const setting = word.startsWith('"') ? null : /^([\w-]+)=(.*)$/.exec(word)
      if (setting === null) plain.push(word)
      else settings.set(setting[1]!, setting[2]!)
    }
    this.#run(words[0]!, plain, settings)
    this.#quiet = false
  }

  #say(line: string): void {
    if (!this.#quiet) this.#lines.push(line)
  }

  get #world(): ProtocolHarness {
    assert(this.#harness !== null, 'a story begins with add-nodes')
    return this.#harness
  }

  #run(command: string, words: readonly string[], settings: ReadonlyMap<string, string>): void {
    if (command === 'add-nodes') {
      this.#addNodes(Number(words[0]), settings)
      return
    }
    const world = this.#world
    const id = Number(words[0])
    switch (command) {
      case 'tick':
        for (let i = Number(words[1] ?? 1); i > 0; i--) world.act(id, (raft) => raft.tick())
        return
      case 'campaign':
        world.act(id, (raft) => raft.campaign())
        return
      case 'propose':
        for (const word of words.slice(1)) {
          const payload = [Buffer.from(word.slice(1, -1))]
          const kind = EntryKind.data
          world.act(id, (raft) => void raft.propose({ kind, recordCount: 1, payload, stamp: raft.log.lastIndex + 1 }))
        }
        return
      case 'deliver':
        for (const flight of this.#flights(words).slice(0, Number(settings.get('max') ?? 1000))) this.#deliver(flight)
        return
      case 'drop':
        for (const flight of this.#flights(words)) {
          world.flights.splice(world.flights.indexOf(flight), 1)
          this.#say(`lost ${flight.from}->${flight.to}: ${describeMessage(flight.message)}`)
        }
        return
      case 'repeat':
        for (const flight of this.#flights(words).slice(0, Number(settings.get('max') ?? 1000))) world.repeat(flight)
        return
      case 'sync':
        for (let i = Number(words[1] ?? world.node(id).writes.length); i > 0; i--) {
          this.#say(`${id}: synced #${world.node(id).writes[0]?.sequence}`)
          world.sync(id)
        }
        return
      case 'stabilize':
        this.#stabilize(words.map(Number))
        return
      case 'session-down':
        world.disconnect(id, Number(words[1]))
        return
      case 'session-up':
        world.connect(id, Number(words[1]))
        return
      case 'crash':
        world.crash(id)
        return
      case 'restart':
        world.restart(id)
        return
      case 'pass':
        assert(words[0]!.endsWith('ms'))
        world.now += Number(words[0]!.slice(0, -2))
        return
      case 'beats':
        for (const [from, to] of this.#pairs(words)) world.beat(from, to)
        return
      case 'check-quorum':
        world.act(id, (raft) => raft.checkQuorum())
        return
      case 'leads-now':
        this.#say(`${id}: ${world.node(id).raft.leadsNow() ? 'yes' : 'no'}`)
        return
      case 'transfer':
        world.act(id, (raft) => raft.transfer(Number(words[1])))
        return
      case 'step-down':
        world.act(id, (raft) => raft.stepDown())
        return
      case 'release':
        world.node(id).raft.log.releaseUpTo(Number(words[1]))
        return
      case 'cut':
        world.proposeCut(id, Number(words[1]))
        return
      case 'install':
        world.install(id)
        return
      case 'checkpoint':
        world.checkpoint(id)
        return
      case 'state':
        for (const word of words) this.#say(`${word}: ${JSON.stringify(world.node(Number(word)).state)}`)
        return
      case 'read':
        world.answerRead(id, Number(settings.get('max-bytes') ?? 1 << 20))
        return
      case 'status':
        this.#status(words.map(Number))
        return
      case 'log':
        for (const word of words) {
          const { raft } = world.node(Number(word))
          this.#say(`${word}: ${describeEntries(raft.log.slice(raft.log.firstIndex))}`)
        }
        return
      case 'disk':
        for (const word of words) {
          const { term, vote, entries, base } = world.node(Number(word)).disk
          const from = base === undefined ? '' : ` snapshot=${base.snapshot.index}`
          this.#say(`${word}: term=${term} vote=${vote}${from} ${describeEntries(entries)}`)
        }
        return
      default:
        assert.fail(`unknown command ${command}`)
    }
  }

  /** `add-nodes 3 learners=4 2=1,1,2` : voters 1..3, a learner, and node 2 starts with a log of these terms. */
  #addNodes(count: number, settings: ReadonlyMap<string, string>): void {
    const numbers = (name: string): number[] => (settings.get(name) ?? '').split(',').filter(Boolean).map(Number)
    const learners = numbers('learners')
    const voters = Array.from({ length: count }, (_, i) => i + 1)
    const maxAppendBytes = Number(settings.get('append-bytes') ?? 1 << 16)
    const maxInflightBytes = Number(settings.get('inflight-bytes') ?? 1 << 20)
    const snapshotChunkBytes = Number(settings.get('chunk-bytes') ?? 1 << 16)
    const acknowledgeReceipt = settings.get('receipts') === 'yes'
    this.#harness = new ProtocolHarness({
      voters,
      learners,
      raft: { maxAppendBytes, maxInflightBytes, snapshotChunkBytes, acknowledgeReceipt },
      observe: (line) => this.#say(line),
    })
    for (const id of [...voters, ...learners]) {
      const terms = numbers(String(id))
      const term = Number(settings.get('term') ?? terms.at(-1) ?? 0)
      this.#harness.add(id, diskWithTerms(terms, term))
    }
  }

  #deliver(flight: Flight): void {
    this.#say(`${flight.to}<-${flight.from}: ${flight.message.type}`)
    this.#world.deliver(flight)
  }

  /** What is in flight now: all of it, or that of the named links, or of the named types: `1->2 vote`. */
  #flights(words: readonly string[]): Flight[] {
    const links = words.filter((word) => word.includes('->'))
    const types = words.filter((word) => !word.includes('->'))
    return this.#world.flights.filter(
      ({ from, to, message }) =>
        (links.length === 0 || links.includes(`${from}->${to}`)) &&
        (types.length === 0 || types.includes(message.type)),
    )
  }

  /** Delivers and syncs until nothing is left to do, among the named nodes or all. */
  #stabilize(among: readonly NodeId[]): void {
    const world = this.#world
    const included = (id: NodeId): boolean => among.length === 0 || among.includes(id)
    for (let round = 0; round < 100; round++) {
      const flights = world.flights.filter(({ from, to }) => included(from) && included(to))
      for (const flight of flights) if (world.flights.includes(flight)) this.#deliver(flight)
      const writing = world.running().filter((node) => included(node.id) && node.writes.length > 0)
      for (const node of writing) {
        this.#say(`${node.id}: synced #${node.writes[0]!.sequence}`)
        world.sync(node.id)
      }
      if (flights.length === 0 && writing.length === 0) return
    }
    assert.fail('the replicas do not come to rest')
  }

  /** `beats` between all, or `beats 1->2`: node 1 beats and node 2 answers. */
  #pairs(words: readonly string[]): [NodeId, NodeId][] {
    if (words.length > 0) return words.map((word) => word.split('->').map(Number) as [NodeId, NodeId])
    const ids = this.#world.running().map((node) => node.id)
    return ids.flatMap((from) => ids.filter((to) => to !== from).map((to): [NodeId, NodeId] => [from, to]))
  }

  #status(ids: readonly NodeId[]): void {
    for (const node of this.#world.nodes.values()) {
      if (ids.length > 0 && !ids.includes(node.id)) continue
      const { raft } = node
      if (!node.up) {
        this.#say(`${node.id}: down`)
        continue
      }
      const leader = raft.leader === null ? '-' : raft.leader
      const marks = `last=${raft.log.lastIndex}/${raft.log.lastTerm} journaled=${raft.journaledIndex} commit=${raft.commit}`
      const settled = raft.settled ? ' settled' : ''
      this.#say(
        `${node.id}: ${raft.role} term=${raft.term} vote=${raft.vote || '-'} leader=${leader} ${marks}${settled}`,
      )
      for (const progress of raft.progress.values()) {
        const { state, match, received, next, confirmed, inflight } = progress
        const flags = `${confirmed ? ' confirmed' : ''}${inflight.count > 0 ? ` inflight=${inflight.count}` : ''}`
        this.#say(`     ${progress.node}: ${state} match=${match} received=${received} next=${next}${flags}`)
      }
    }
  }
}

test('stories: control and data connections are told apart', () => {
  assert.equal(isControl({ type: 'moved', shard: 1, term: 1 }), true)
})
