/** What a group's coordinator refuses, in each of its states. */
import { apis } from '../src/gateways/kafka/index.ts'
import { check, E, type RawCheck, same, withCoordinator, withTopic } from './raw-tools.ts'

export const GROUP_CHECKS: readonly RawCheck[] = [
  { name: 'group-refusals', run: groupRefusals },
  { name: 'offsets', run: offsets },
  { name: 'unknown-groups', run: unknownGroups },
]

async function groupRefusals(brokers: readonly string[]): Promise<string> {
  return await withCoordinator(brokers, 'raw.group', async (client) => {
    const protocols = [{ name: 'range', metadata: Buffer.from([0, 0]) }]
    const base = {
      groupId: 'raw.group',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: '',
      protocolType: 'consumer',
      protocols,
    }
    const join = (more: object) => client.request(apis.joinGroup, 5, { ...base, ...more })
    same((await join({ groupId: '' })).errorCode, E.INVALID_GROUP_ID, 'an empty group id')
    same((await join({ sessionTimeoutMs: 10 })).errorCode, E.INVALID_SESSION_TIMEOUT, 'a session of 10 ms')
    same((await join({ sessionTimeoutMs: 9_999_999 })).errorCode, E.INVALID_SESSION_TIMEOUT, 'a session of hours')
    same((await join({ memberId: 'nobody' })).errorCode, E.UNKNOWN_MEMBER_ID, 'a member that is unknown')
    same((await join({ protocols: [] })).errorCode, E.INCONSISTENT_GROUP_PROTOCOL, 'no protocols')
    const asked = await join({})
    same(asked.errorCode, E.MEMBER_ID_REQUIRED, 'the first join')
    check(asked.memberId.startsWith('raw-'), `the member id ${asked.memberId} does not begin with the client id`)
    const { memberId } = asked
    const joined = await join({ memberId })
    same(
      `${joined.errorCode}/${joined.generationId}/${joined.leader === memberId}`,
      '0/1/true',
      'error, generation, leadership',
    )
    same(joined.members.length, 1, 'members that the leader is told of')
    const at = { groupId: 'raw.group', generationId: 1, memberId }
    const beat = (more: object) =>
      client.request(apis.heartbeat, 3, { ...at, ...more }).then(({ errorCode }) => errorCode)
    const assignments = [{ memberId, assignment: Buffer.from('mine') }]
    const wrongGeneration = await client.request(apis.syncGroup, 3, { ...at, generationId: 7, assignments })
    same(wrongGeneration.errorCode, E.ILLEGAL_GENERATION, 'SyncGroup of another generation')
    const synced = await client.request(apis.syncGroup, 3, { ...at, assignments })
    same((synced.assignment as Buffer).toString(), 'mine', 'assignment')
    same(await beat({}), E.NONE, 'Heartbeat')
    same(await beat({ generationId: 9 }), E.ILLEGAL_GENERATION, 'Heartbeat of another generation')
    same(await beat({ memberId: 'nobody' }), E.UNKNOWN_MEMBER_ID, 'Heartbeat of a stranger')
    const mixed = await join({ protocolType: 'connect' })
    same(mixed.errorCode, E.INCONSISTENT_GROUP_PROTOCOL, 'another protocol type')
    const occupied = await client.request(apis.deleteGroups, 1, { groupsNames: ['raw.group'] })
    same(occupied.results[0]?.errorCode, E.NON_EMPTY_GROUP, 'deleting a group with members')
    const left = await client.request(apis.leaveGroup, 3, {
      groupId: 'raw.group',
      members: [{ memberId: 'nobody' }, { memberId }],
    })
    same(left.members.map(({ errorCode }) => errorCode).join(), `${E.UNKNOWN_MEMBER_ID},${E.NONE}`, 'leaving')
    const gone = await client.request(apis.deleteGroups, 1, { groupsNames: ['raw.group'] })
    same(gone.results[0]?.errorCode, E.NONE, 'deleting the empty group')
    return 'join, sync, heartbeat, leave, delete'
  })
}

async function offsets(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'offsets', async (_, topic) => {
    return await withCoordinator(brokers, 'raw.offsets', async (client) => {
      const groupId = 'raw.offsets'
      const commit = async (more: object, partition: object = {}) => {
        const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: 'mark', ...partition }]
        const { topics } = await client.request(apis.offsetCommit, 6, {
          groupId,
          memberId: '',
          topics: [{ name: topic, partitions }],
          ...more,
        })
        return topics[0]!.partitions[0]!.errorCode
      }
      same(await commit({}), E.NONE, 'a commit without a group')
      same(
        await commit({ generationIdOrMemberEpoch: 5, memberId: 'nobody' }),
        E.UNKNOWN_MEMBER_ID,
        'a commit of a stranger',
      )
      const stray = { groupId: 'raw.nobody', generationIdOrMemberEpoch: 5, memberId: 'nobody' }
      await withCoordinator(brokers, 'raw.nobody', async (its) => {
        const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: '' }]
        const { topics } = await its.request(apis.offsetCommit, 6, { ...stray, topics: [{ name: topic, partitions }] })
        same(topics[0]!.partitions[0]!.errorCode, E.ILLEGAL_GENERATION, 'a commit to an unknown group')
      })
      same(
        await commit({}, { committedMetadata: 'x'.repeat(5000) }),
        E.OFFSET_METADATA_TOO_LARGE,
        'metadata of 5000 bytes',
      )
      same(await commit({}, { partitionIndex: 99 }), E.UNKNOWN_TOPIC_OR_PARTITION, 'a partition that does not exist')
      const ask = [{ name: topic, partitionIndexes: [0, 1] }]
      const { topics } = await client.request(apis.offsetFetch, 5, { groupId, topics: ask })
      const found = topics[0]!.partitions.map(
        ({ committedOffset, metadata, errorCode }) => `${committedOffset}/${metadata}/${errorCode}`,
      )
      same(found.join(), '5/mark/0,-1//0', 'what is committed')
      const all = await client.request(apis.offsetFetch, 5, { groupId, topics: null })
      same(all.topics.map(({ partitions }) => partitions.length).join(), '1', 'all that is committed')
      return 'commit and fetch; metadata kept'
    })
  })
}

async function unknownGroups(brokers: readonly string[]): Promise<string> {
  const groupId = 'raw.unheard-of'
  return await withCoordinator(brokers, groupId, async (client) => {
    const described = (await client.request(apis.describeGroups, 4, { groups: [groupId] })).groups[0]!
    same(`${described.errorCode}/${described.groupState}/${described.members.length}`, '0/Dead/0', 'DescribeGroups')
    const at = { groupId, generationId: 1, memberId: 'nobody' }
    same((await client.request(apis.heartbeat, 3, at)).errorCode, E.UNKNOWN_MEMBER_ID, 'Heartbeat')
    same(
      (await client.request(apis.syncGroup, 3, { ...at, assignments: [] })).errorCode,
      E.UNKNOWN_MEMBER_ID,
      'SyncGroup',
    )
    const left = await client.request(apis.leaveGroup, 3, { groupId, members: [{ memberId: 'nobody' }] })
    same(left.errorCode || left.members[0]?.errorCode, E.UNKNOWN_MEMBER_ID, 'LeaveGroup')
    const deleted = await client.request(apis.deleteGroups, 1, { groupsNames: [groupId] })
    same(deleted.results[0]?.errorCode, E.GROUP_ID_NOT_FOUND, 'DeleteGroups')
    const fetched = await client.request(apis.offsetFetch, 7, { groupId, topics: null })
    same(`${fetched.errorCode}/${fetched.topics.length}`, '0/0', 'OffsetFetch')
    return 'Dead, 25, 69'
  })
}
