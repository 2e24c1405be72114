/**
 * Stories of consumer groups, as text: `src/streams/testdata/groups/*.txt`. Every story is a few commands, and below each block
 * of them what the clients were told and how the group stands. `TIDEMARK_REWRITE=1` writes what happens into the files; to
 * commit a rewrite means to have understood it. Commands:
 *
 *     world nodes=2 delay=300 min-session=6000 max-size=… max-bytes=…   must come first; node 0 leads
 *     join A [group=g] [instance=i] [protocols=range:subscription,rr] [api=9] [session=10000] [rebalance=30000] [id=…]
 *     enter A …            join, and join again with the id that the first answer gives
 *     sync A [A=x,B=y] [generation=] [protocol=]     assignments by client name
 *     heartbeat A [generation=] [instance=]
 *     leave A B [api=5] [instance=i]                 one request; `leave - instance=i` names nobody else
 *     commit A t-0=17 [meta=…|long] [generation=] [api=8]   `commit - …` is a simple consumer
 *     fetch [group=g] [t-0,t-1]
 *     wait MS · hold · release                       time passes; commits wait; commits go on
 *     failover N [kept=K] [unsettled] [unaware]      node N leads; K uncommitted entries survive; the old leader does not know
 *     settle · tell        the new leader is sure of its log; old leaders learn that they lead no more
 *     ask N                                          the following requests go to node N (`ask leader`: as usual)
 *     timers · status [group=g] · describe g · list [states=…] [types=…] · delete g · forget-topic t
 *
 * Clients remember member id and generation, as real ones do; `id=none` forgets, `id=nonsense` invents. Ids are printed as the
 * client's name and a number instead of the random part.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { must } from '../../stdx/index.ts'
import { KafkaError, kafkaErrorName } from '../errors.ts'
import type { GroupCoordinator } from '../group-coordinator.ts'
import {
  decodeGroupRecord,
  decodeOffsetRecord,
  encodeGroupRecord,
  encodeOffsetRecord,
  offsetKey,
  parseKey,
} from './group-record.ts'
import { fuzz, Lab } from './groups.fuzz.ts'

const STORIES = 'src/streams/testdata/groups'
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g

interface Client {
  memberId: string
  generation: number
  instance: string | null
}

class Story {
  #lab: Lab | null = null
  #target: GroupCoordinator | null = null
  readonly #clients = new Map<string, Client>()
  readonly #ids = new Map<string, number>()
  #out: string[] = []
  #eventsShown = 0

  run(lines: readonly string[]): string {
    this.#out = []
    for (const line of lines) {
      const [command, ...words] = line.split(/\s+/)
      const options = new Map(
        words.filter((word) => /^[a-z-]+=/.test(word)).map((word) => word.split(/=(.*)/s) as [string, string]),
      )
      const names = words.filter((word) => !/^[a-z-]+=/.test(word))
      this.#execute(must(command, 'a command'), names, options)
      this.#lab?.turn()
      this.#showEvents()
    }
    return this.#out.join('\n')
  }

  get lab(): Lab {
    return must(this.#lab, 'a world')
  }

  get #coordinator(): GroupCoordinator {
    return this.#target ?? this.lab.leader
  }

  #client(name: string): Client {
    const client = this.#clients.get(name) ?? { memberId: '', generation: -1, instance: null }
    this.#clients.set(name, client)
    return client
  }

  #say(text: string): void {
    const number = (id: string): string => {
      if (!this.#ids.has(id)) this.#ids.set(id, this.#ids.size + 1)
      return `#${this.#ids.get(id)}`
    }
    this.#out.push(text.replace(UUID, number).replace(/-#/g, '#'))
  }

  #showEvents(): void {
    const { events } = this.lab
    for (; this.#eventsShown < events.length; this.#eventsShown++) {
      const event = events[this.#eventsShown]!
      if (event.type === 'group-rebalance-started') this.#say(`  (round: ${event.reason})`)
      else if (event.type === 'group-member-removed') this.#say(`  (removed ${event.member}: ${event.reason})`)
    }
  }

  #execute(command: string, names: string[], options: Map<string, string>): unknown {
    const group = options.get('group') ?? 'g'
    const name = names[0] ?? '-'
    const api = (latest: number): number => Number(options.get('api') ?? latest)
    const context = (latest: number) => ({ clientId: name, clientHost: '/127.0.0.1', apiVersion: api(latest) })
    switch (command) {
      case 'world': {
        const nodes = Number(options.get('nodes') ?? 1)
        this.#lab = new Lab(nodes, 1, {
          groupInitialRebalanceDelayMs: Number(options.get('delay') ?? 300),
          groupMinSessionTimeoutMs: Number(options.get('min-session') ?? 6000),
          groupMaxBytes: Number(options.get('max-bytes') ?? 1_000_000),
          groupMaxSize: Number(options.get('max-size') ?? Number.POSITIVE_INFINITY),
        })
        this.lab.lead(0, 0, true, true)
        return
      }
      case 'join':
      case 'enter':
        return this.#join(command === 'enter', name, group, options, context(9))
      case 'sync': {
        const client = this.#client(name)
        const assignments = (names[1] ?? '').split(',').flatMap((pair) => {
          const [to, assignment] = pair.split('=')
          return assignment === undefined
            ? []
            : [{ memberId: this.#client(to!).memberId, assignment: Buffer.from(assignment) }]
        })
        const request = {
          groupId: group,
          generationId: Number(options.get('generation') ?? client.generation),
          memberId: client.memberId,
          groupInstanceId: client.instance,
          protocolName: options.get('protocol') ?? null,
          assignments,
        }
        return this.#coordinator.sync(request, ({ errorCode, assignment }) => {
          this.#say(`sync ${name}: ${errorName(errorCode)}${errorCode === 0 ? ` "${assignment}"` : ''}`)
        })
      }
      case 'heartbeat': {
        for (const each of names) {
          const client = this.#client(each)
          const request = {
            groupId: group,
            generationId: Number(options.get('generation') ?? client.generation),
            memberId: client.memberId,
            groupInstanceId: options.get('instance') ?? client.instance,
          }
          this.#coordinator.heartbeat(request, ({ errorCode }) =>
            this.#say(`heartbeat ${each}: ${errorName(errorCode)}`),
          )
        }
        return
      }
      case 'leave': {
        const leaving = names.map((each) => ({
          memberId: each === '-' ? '' : this.#client(each).memberId,
          groupInstanceId: options.get('instance') ?? (each === '-' ? null : this.#client(each).instance),
        }))
        const request = { groupId: group, members: leaving, memberId: leaving[0]!.memberId }
        return this.#coordinator.leave(request, context(5), ({ errorCode, members }) => {
          const each = members.map((member, i) => `${names[i]} ${errorName(member.errorCode)}`)
          this.#say(`leave: ${errorName(errorCode)} [${each.join(', ')}]`)
        })
      }
      case 'commit': {
        const client = name === '-' ? { memberId: '', generation: -1, instance: null } : this.#client(name)
        const [, topic, partition, offset] = must(/^(.*)-(\d+)=(\d+)$/.exec(names[1]!), 'topic-partition=offset')
        const metadata = options.get('meta') === 'long' ? 'x'.repeat(4097) : (options.get('meta') ?? null)
        const each = {
          partitionIndex: Number(partition),
          committedOffset: Number(offset),
          committedLeaderEpoch: 3,
          committedMetadata: metadata,
        }
        const request = {
          groupId: group,
          generationIdOrMemberEpoch: Number(options.get('generation') ?? client.generation),
          memberId: client.memberId,
          groupInstanceId: client.instance,
          topics: [{ name: topic!, partitions: [each] }],
        }
        return this.#coordinator.commitOffsets(request, context(8), ({ topics }) => {
          this.#say(`commit ${name}: ${errorName(topics[0]!.partitions[0]!.errorCode)}`)
        })
      }
      case 'fetch': {
        const topics = names[0]?.split(',').map((each) => {
          const [, topic, partition] = must(/^(.*)-(\d+)$/.exec(each), 'topic-partition')
          return { name: topic!, partitionIndexes: [Number(partition)] }
        })
        return this.#coordinator.fetchOffsets({ groupId: group, topics: topics ?? null }, (response) => {
          this.#say(`fetch ${group}: ${errorName(response.errorCode)}`)
          for (const topic of response.topics) {
            for (const each of topic.partitions) {
              const { partitionIndex, committedOffset, committedLeaderEpoch, metadata, errorCode } = each
              this.#say(
                `  ${topic.name}-${partitionIndex} offset=${committedOffset} epoch=${committedLeaderEpoch} metadata="${metadata}" ${errorName(errorCode)}`,
              )
            }
          }
        })
      }
      case 'wait':
        return this.lab.wait(Number(name))
      case 'hold':
        this.lab.commits = false
        return
      case 'release':
        this.lab.commits = true
        return
      case 'failover':
        this.lab.lead(
          Number(name),
          Number(options.get('kept') ?? 0),
          !names.includes('unaware'),
          !names.includes('unsettled'),
        )
        return
      case 'settle':
        return this.lab.settle()
      case 'tell':
        return this.lab.tellEverybody()
      case 'ask':
        this.#target = name === 'leader' ? null : this.lab.coordinator(Number(name))
        return
      case 'status': {
        const [described] = this.#coordinator.describe([group])
        const { groupState, protocolType, protocolData, members } = described!
        this.#say(`${group}: ${groupState} ${protocolType} ${protocolData}`.trimEnd())
        for (const member of members) this.#say(`  ${member.memberId} "${member.memberAssignment}"`)
        return
      }
      case 'describe': {
        for (const { members, ...rest } of this.#coordinator.describe(names)) {
          this.#say(JSON.stringify(rest))
          for (const { memberMetadata, memberAssignment, ...member } of members) {
            this.#say(
              `  ${JSON.stringify({ ...member, memberMetadata: `${memberMetadata}`, memberAssignment: `${memberAssignment}` })}`,
            )
          }
        }
        return
      }
      case 'list': {
        const filter = {
          statesFilter: options.get('states')?.split(','),
          typesFilter: options.get('types')?.split(','),
        }
        const { errorCode, groups } = this.#coordinator.list(filter)
        this.#say(`list: ${errorName(errorCode)}`)
        for (const each of groups)
          this.#say(`  ${each.groupId} ${each.groupState} ${each.groupType} "${each.protocolType}"`)
        return
      }
      case 'delete':
        return this.#coordinator.delete(names, ({ results }) => {
          for (const { groupId, errorCode } of results) this.#say(`delete ${groupId}: ${errorName(errorCode)}`)
        })
      case 'forget-topic':
        return this.#coordinator.forgetTopic(name, (outcome) => this.#say(`forget ${name}: ${outcome ?? 'done'}`))
      case 'timers':
        this.#say(`${this.lab.clock.armed} timers`)
        return
      default:
        throw new Error(`unknown command: ${command}`)
    }
  }

  #join(
    enter: boolean,
    name: string,
    group: string,
    options: Map<string, string>,
    context: { clientId: string; clientHost: string; apiVersion: number },
  ): void {
    const client = this.#client(name)
    const id = options.get('id')
    if (id !== undefined) client.memberId = id === 'none' ? '' : id
    client.instance = options.get('instance') ?? client.instance
    const request = {
      groupId: group,
      sessionTimeoutMs: Number(options.get('session') ?? 10_000),
      rebalanceTimeoutMs: Number(options.get('rebalance') ?? 30_000),
      memberId: client.memberId,
      groupInstanceId: client.instance,
      protocolType: options.get('type') ?? 'consumer',
      protocols: (options.get('protocols') ?? 'range').split(',').map((each) => {
        const [protocol, metadata] = each.split(':')
        return { name: protocol!, metadata: Buffer.from(metadata ?? name) }
      }),
    }
    this.#coordinator.join(request, context, (response) => {
      const { errorCode, memberId } = response
      if (errorCode === KafkaError.MEMBER_ID_REQUIRED) client.memberId = memberId
      if (enter && errorCode === KafkaError.MEMBER_ID_REQUIRED) {
        this.#coordinator.join({ ...request, memberId }, context, (second) => this.#joined(name, client, second))
        return
      }
      this.#joined(name, client, response)
    })
  }

  #joined(name: string, client: Client, response: Parameters<Parameters<GroupCoordinator['join']>[2]>[0]): void {
    const { errorCode, generationId, protocolName, leader, memberId, members, skipAssignment } = response
    if (errorCode !== KafkaError.NONE) {
      this.#say(`join ${name}: ${errorName(errorCode)} ${memberId}`.trimEnd())
      return
    }
    client.memberId = memberId
    client.generation = generationId
    const seats = members.map((each) => `${each.memberId}(${each.metadata})`).join(' ')
    const skip = skipAssignment ? ' skip-assignment' : ''
    this.#say(
      `join ${name}: generation ${generationId} ${protocolName}, ${memberId} of leader ${leader}${seats === '' ? '' : `, members ${seats}`}${skip}`,
    )
  }
}

function errorName(code: number): string {
  return code === 0 ? 'ok' : kafkaErrorName(code)
}

/** Blocks are separated by blank lines: comments and commands, `----`, and what came of them. */
function perform(text: string): string {
  const story = new Story()
  const blocks = text.trimEnd().split(/\n\n+/)
  return `${blocks
    .map((block) => {
      const lines = block.split('\n')
      const commands = lines.slice(0, lines.includes('----') ? lines.indexOf('----') : lines.length)
      const wanted = commands.filter((line) => !line.startsWith('#'))
      if (wanted.length === 0) return commands.join('\n')
      return `${commands.join('\n')}\n----\n${story.run(wanted)}`.trimEnd()
    })
    .join('\n\n')}\n`
}

for (const file of readdirSync(STORIES).sort()) {
  test(`groups: ${file}`, () => {
    const path = `${STORIES}/${file}`
    const told = readFileSync(path, 'utf8')
    const happened = perform(told)
    if (process.env.TIDEMARK_REWRITE === '1') writeFileSync(path, happened)
    else assert.equal(happened, told)
  })
}

test('groups: whatever happens, generations grow, one assignment each, every request is answered once', () => {
  fuzz(1, 150)
})

/** deepEqual tells an object without a prototype from one with. */
function plain<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>
}

test('groups: records read back as they were written', () => {
  const text = fc.string({ maxLength: 40, unit: 'binary' })
  const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value))
  const member = plain({
    id: text,
    instanceId: fc.option(text),
    clientId: text,
    clientHost: text,
    sessionTimeoutMs: fc.nat(),
    rebalanceTimeoutMs: fc.nat(),
    protocols: fc.array(plain({ name: text, metadata: bytes }), { maxLength: 3 }),
    assignment: bytes,
  })
  const group = plain({
    generation: fc.nat(),
    assigned: fc.boolean(),
    changedAt: fc.maxSafeNat(),
    protocolType: fc.option(text),
    protocolName: fc.option(text),
    leader: fc.option(text),
    members: fc.array(member, { maxLength: 4 }),
  })
  const offset = plain({
    offset: fc.maxSafeNat(),
    leaderEpoch: fc.integer({ min: -1, max: 1000 }),
    committedAt: fc.maxSafeNat(),
    metadata: text,
  })
  fc.assert(fc.property(group, (record) => assert.deepEqual(decodeGroupRecord(encodeGroupRecord(record)), record)))
  fc.assert(fc.property(offset, (record) => assert.deepEqual(decodeOffsetRecord(encodeOffsetRecord(record)), record)))
})

test('groups: a key reads back whatever the group is called', () => {
  const topic = fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/)
  fc.assert(
    fc.property(fc.string(), topic, fc.nat(), (groupId, name, partition) => {
      assert.deepEqual(parseKey(offsetKey(groupId, name, partition)), {
        kind: 'offset',
        groupId,
        topic: name,
        partition,
      })
    }),
  )
})
