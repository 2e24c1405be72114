/**
 * What every client library is put through.
 *
 * Values are compared byte for byte, and per partition in order. What a check produced is known to it alone, so nothing that
 * is read can be taken for something else; and whatever the library says it did is looked up on the wire as well.
 */
import {
  type ClientDriver,
  CODEC_NAMES,
  type CodecName,
  type GroupMember,
  type Incoming,
  type Lacking,
  type Outgoing,
  PARTITIONS,
  pause,
  until,
} from './driver.ts'
import { expect, fromStart, identity, noise, records, sameRecords, textOf } from './records.ts'
import { batchesOf } from './wire.ts'

export interface CheckContext {
  readonly driver: ClientDriver
  readonly brokers: readonly string[]
  /** A name nobody else uses. */
  readonly name: (stem: string) => string
  /** How long the group waits for more members before its first round. */
  readonly rebalanceDelayMs: number
}

export interface Check {
  readonly name: string
  /** What the library must be able to do. */
  readonly needs: readonly Lacking[]
  /** Returns a note for the table. */
  readonly run: (context: CheckContext) => Promise<string>
}

/** From an empty cluster's first join to the first record, on top of the delay that the group itself waits. */
const FIRST_RECORD_MS = 1000

export const CHECKS: readonly Check[] = [
  { name: 'create-topic', needs: ['createTopic'], run: createTopic },
  { name: 'first-record', needs: [], run: firstRecord },
  ...CODEC_NAMES.map((codec) => ({
    name: `produce-${codec}`,
    needs: [codec],
    run: (context: CheckContext) => produce(context, codec),
  })),
  { name: 'idempotent', needs: [], run: idempotent },
  { name: 'large-values', needs: [], run: largeValues },
  { name: 'null-values', needs: ['nullValues'], run: nullValues },
  { name: 'assign', needs: [], run: assign },
  { name: 'group', needs: [], run: group },
  { name: 'commit', needs: ['manualCommit', 'committed'], run: commit },
  { name: 'resume', needs: [], run: resume },
  { name: 'list-groups', needs: ['groups'], run: listGroups },
  { name: 'times', needs: ['offsetsAt'], run: times },
]

async function createTopic({ driver, brokers, name }: CheckContext): Promise<string> {
  const topic = name('created')
  await driver.createTopic(topic, PARTITIONS)
  const batches = await batchesOf(brokers[0]!, topic)
  expect(batches.length === 0, `${topic} holds ${batches.length} batches from its first moment`)
  return `${PARTITIONS} partitions`
}

async function firstRecord({ driver, name, rebalanceDelayMs }: CheckContext): Promise<string> {
  const topic = name('first')
  await driver.createTopic(topic, PARTITIONS)
  await driver.produce(topic, records('first', 1), { codec: 'none', idempotent: false })
  const startedAt = performance.now()
  let firstMs = 0
  const member = await driver.join({
    group: name('first'),
    topic,
    autoCommit: true,
    received: () => {
      firstMs ||= performance.now() - startedAt
    },
  })
  await until(() => firstMs > 0, 'the first record')
  await member.leave()
  const limitMs = rebalanceDelayMs + FIRST_RECORD_MS
  expect(firstMs <= limitMs, `the first record came after ${firstMs.toFixed(0)} ms, allowed are ${limitMs}`)
  return `joined to first record: ${firstMs.toFixed(0)} ms, of which ${rebalanceDelayMs} wait for more members`
}

async function produce({ driver, brokers, name }: CheckContext, codec: CodecName): Promise<string> {
  const topic = name(codec)
  await driver.createTopic(topic, PARTITIONS)
  const sent = records(codec, 240)
  await driver.produce(topic, sent, { codec, idempotent: false })
  sameRecords(await driver.read(topic, fromStart(), sent.length), sent, 'the client read')
  const batches = await batchesOf(brokers.at(-1)!, topic)
  sameRecords(
    batches.flatMap((batch) => batch.records),
    sent,
    'the wire shows',
  )
  const wrong = batches.find((batch) => batch.codec !== codec)
  expect(
    wrong === undefined,
    `a batch of ${wrong?.records.length} records is ${wrong?.codec} on the wire, not ${codec}`,
  )
  const total = batches.reduce((sum, batch) => sum + batch.bytes, 0)
  const plain = sent.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
  expect(
    codec === 'none' || total < plain / 2,
    `${plain} bytes of records are ${total} bytes on the wire: not compressed`,
  )
  return `${batches.length} batches, ${plain} bytes as ${total}`
}

async function idempotent({ driver, brokers, name }: CheckContext): Promise<string> {
  const topic = name('idempotent')
  await driver.createTopic(topic, PARTITIONS)
  const sent = records('idempotent', 120)
  await driver.produce(topic, sent, { codec: 'none', idempotent: true })
  sameRecords(await driver.read(topic, fromStart(), sent.length), sent, 'the client read')
  const batches = await batchesOf(brokers[0]!, topic)
  sameRecords(
    batches.flatMap((batch) => batch.records),
    sent,
    'the wire shows',
  )
  const producers = new Set(batches.map((batch) => batch.producerId))
  expect(!producers.has(-1), 'batches without a producer id are on the wire')
  for (const { partition, baseOffset, baseSequence } of batches) {
    expect(baseOffset === baseSequence, `partition ${partition} has sequence ${baseSequence} at offset ${baseOffset}`)
  }
  return `${batches.length} batches, producer ${[...producers].join(', ')}`
}

/** Just below what a broker takes by default, and incompressible. */
async function largeValues({ driver, name }: CheckContext): Promise<string> {
  const topic = name('large')
  await driver.createTopic(topic, PARTITIONS)
  const sent = [0, 1, 2, 3].map((partition) => ({
    partition,
    key: Buffer.from(`large-${partition}`),
    value: noise(900_000, partition + 1),
  }))
  await driver.produce(topic, sent, { codec: 'none', idempotent: false })
  sameRecords(await driver.read(topic, fromStart(), sent.length), sent, 'the client read')
  return '4 records of 900,000 bytes'
}

async function nullValues({ driver, name }: CheckContext): Promise<string> {
  const topic = name('null')
  await driver.createTopic(topic, PARTITIONS)
  const sent: Outgoing[] = [
    { partition: 0, key: null, value: Buffer.from('no key') },
    { partition: 0, key: Buffer.from('a tombstone'), value: null },
    { partition: 0, key: Buffer.from('ключ'), value: Buffer.from([0, 255, 10, 13, 0]) },
  ]
  await driver.produce(topic, sent, { codec: 'none', idempotent: false })
  sameRecords(await driver.read(topic, new Map([[0, 0]]), sent.length), sent, 'the client read')
  return 'null key, tombstone, binary'
}

/** From the middle of a batch: the broker serves the whole batch, the client drops what lies before. */
async function assign({ driver, name }: CheckContext): Promise<string> {
  const topic = name('assign')
  await driver.createTopic(topic, PARTITIONS)
  const sent = records('assign', 240)
  await driver.produce(topic, sent, { codec: 'none', idempotent: false })
  const from = new Map([0, 1, 2, 3].map((partition) => [partition, 7 + 11 * partition]))
  const expected = sent.filter(({ partition }, i) => Math.floor(i / PARTITIONS) >= from.get(partition)!)
  sameRecords(await driver.read(topic, from, expected.length), expected, 'the client read')
  return `from offsets ${[...from.values()].join(', ')}`
}

/** One member, then two, then one again: nothing is missed, and nobody starts over. */
async function group({ driver, name }: CheckContext): Promise<string> {
  const topic = name('group')
  const groupId = name('group')
  await driver.createTopic(topic, PARTITIONS)
  const all: Outgoing[] = []
  const seen: Incoming[] = []
  const more = async (label: string): Promise<void> => {
    const batch = records(label, 160)
    all.push(...batch)
    await driver.produce(topic, batch, { codec: 'none', idempotent: false })
  }
  const everything = (): boolean => new Set(seen.map(identity)).size === all.length
  const join = () => driver.join({ group: groupId, topic, autoCommit: true, received: (record) => seen.push(record) })
  const members: GroupMember[] = []
  try {
    await more('one')
    members.push(await join())
    await settled(members, everything, () => `one member to see ${all.length} records; ${seen.length} came`)
    await committed(driver, groupId, topic, all.length / PARTITIONS)
    const startedAt = performance.now()
    members.push(await join())
    await settled(
      members,
      () => true,
      () => 'two members to share the partitions',
    )
    const joinedMs = performance.now() - startedAt
    const counts = members.map(({ partitions }) => partitions!.length)
    expect(
      counts.every((count) => count === 2),
      `two members have ${counts.join(' and ')} partitions`,
    )
    await more('two')
    await settled(members, everything, () => `two members to see ${all.length} records; ${seen.length} came`)
    await committed(driver, groupId, topic, all.length / PARTITIONS)
    const leftAt = performance.now()
    await members.pop()!.leave()
    await settled(
      members,
      () => true,
      () => 'the member that stays to have all partitions',
    )
    const leftMs = performance.now() - leftAt
    await more('three')
    await settled(members, everything, () => `the member that stays to see ${all.length} records; ${seen.length} came`)
    const again = seen.length - all.length
    const missing = all.length - new Set(seen.map(textOf)).size
    expect(missing === 0, `${missing} records were never seen`)
    // Everything was committed before each change. Some clients still hand out what a fetch brings that was under way when
    // the partition went to another member, so a few may be seen by both; whoever starts over sees a whole round.
    expect(again < all.length / 3, `${again} of ${all.length} records came again: positions were not resumed`)
    return `second joins in ${joinedMs.toFixed(0)} ms, leaves in ${leftMs.toFixed(0)} ms, ${again} redelivered`
  } finally {
    for (const member of members) await member.leave()
  }
}

/** Waits until the group has committed that offset of every partition, where the client can show it. */
async function committed(driver: ClientDriver, groupId: string, topic: string, offset: number): Promise<void> {
  if (driver.lacks.has('committed')) return
  const everywhere = async () => (await driver.committed(groupId, topic, PARTITIONS)).every((each) => each === offset)
  await until(everywhere, `${groupId} to have committed ${offset} of every partition`)
}

/** Waits until the members hold every partition exactly once, and the condition. */
async function settled(members: readonly GroupMember[], condition: () => boolean, what: () => string): Promise<void> {
  await until(
    () => {
      for (const { failure } of members) if (failure !== null) throw failure
      if (members.some(({ partitions }) => partitions === null)) return false
      const held = members.flatMap(({ partitions }) => partitions!)
      return held.length === PARTITIONS && new Set(held).size === PARTITIONS && condition()
    },
    () => `${what()} (assigned: ${members.map(({ partitions }) => JSON.stringify(partitions)).join(' ')})`,
  )
}

/** Positions that were committed by hand, in the middle of what was read, are where the next member starts. */
async function commit({ driver, name }: CheckContext): Promise<string> {
  const topic = name('commit')
  const groupId = name('commit')
  await driver.createTopic(topic, PARTITIONS)
  const sent = records('commit', 160)
  await driver.produce(topic, sent, { codec: 'none', idempotent: false })
  const first: Incoming[] = []
  const one = await driver.join({ group: groupId, topic, autoCommit: false, received: (record) => first.push(record) })
  await settled(
    [one],
    () => first.length === sent.length,
    () => `${sent.length} records; ${first.length} came`,
  )
  const positions = new Map([0, 1, 2, 3].map((partition) => [partition, 10 * partition]))
  await one.commit(positions)
  await one.leave()
  const committed = await driver.committed(groupId, topic, PARTITIONS)
  expect(
    committed.join() === [...positions.values()].join(),
    `committed are ${committed}, not ${[...positions.values()]}`,
  )
  const expected = sent.filter(({ partition }, i) => Math.floor(i / PARTITIONS) >= positions.get(partition)!)
  const second: Incoming[] = []
  const two = await driver.join({ group: groupId, topic, autoCommit: false, received: (record) => second.push(record) })
  await settled(
    [two],
    () => second.length >= expected.length,
    () => `${expected.length} records; ${second.length} came`,
  )
  await two.leave()
  sameRecords(second, expected, 'the second member read')
  return `resumed at ${[...positions.values()].join(', ')}`
}

/** What a member committed by itself before it left is not shown to the next. */
async function resume({ driver, name }: CheckContext): Promise<string> {
  const topic = name('resume')
  const groupId = name('resume')
  await driver.createTopic(topic, PARTITIONS)
  const [before, after] = [records('before', 80), records('after', 80)]
  let total = 0
  for (const batch of [before, after]) {
    await driver.produce(topic, batch, { codec: 'none', idempotent: false })
    const seen: Incoming[] = []
    const member = await driver.join({
      group: groupId,
      topic,
      autoCommit: true,
      received: (record) => seen.push(record),
    })
    await settled(
      [member],
      () => seen.length >= batch.length,
      () => `${batch.length} records; ${seen.length} came`,
    )
    total += batch.length / PARTITIONS
    await committed(driver, groupId, topic, total)
    await member.leave()
    sameRecords(seen, batch, batch === before ? 'the first member read' : 'the second member read')
  }
  return '80, then 80 others'
}

async function listGroups({ driver, name }: CheckContext): Promise<string> {
  const topic = name('listed')
  const groupId = name('listed')
  await driver.createTopic(topic, PARTITIONS)
  const unknown = await driver.describeGroup(name('nobody'))
  expect(unknown.state === 'Dead', `a group that does not exist is ${unknown.state}, not Dead`)
  const member = await driver.join({ group: groupId, topic, autoCommit: true, received: () => {} })
  try {
    await settled(
      [member],
      () => true,
      () => 'the member to have its partitions',
    )
    expect((await driver.listGroups()).includes(groupId), `${groupId} is not among the groups that are listed`)
    const stable = await driver.describeGroup(groupId)
    expect(
      stable.state === 'Stable' && stable.members === 1,
      `${groupId} is ${stable.state} with ${stable.members} members`,
    )
    expect(stable.protocolType === 'consumer', `its protocol type is ${stable.protocolType}`)
  } finally {
    await member.leave()
  }
  const empty = await driver.describeGroup(groupId)
  expect(empty.members === 0, `${empty.members} members are left after the only one has left`)
  return `Stable with 1 member, then ${empty.state}`
}

async function times({ driver, name }: CheckContext): Promise<string> {
  const topic = name('times')
  await driver.createTopic(topic, PARTITIONS)
  await driver.produce(topic, records('early', 80), { codec: 'none', idempotent: false })
  await pause(20)
  const between = Date.now()
  await pause(20)
  await driver.produce(topic, records('late', 80), { codec: 'none', idempotent: false })
  const found = await driver.offsetsAt(topic, between, PARTITIONS)
  expect(
    found.every((offset) => offset === 20),
    `the offsets at the time between two batches are ${found}, not all 20`,
  )
  const first = await driver.offsetsAt(topic, 0, PARTITIONS)
  expect(
    first.every((offset) => offset === 0),
    `the offsets at the beginning of time are ${first}, not all 0`,
  )
  return 'between two batches: 20 each'
}
