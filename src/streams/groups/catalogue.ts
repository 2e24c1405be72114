/** Groups as an operator sees them: DescribeGroups and ListGroups. */
import { KafkaError } from '../errors.ts'
import type { ClassicGroup } from './classic-group.ts'
import type { DescribedGroup, ListGroupsFilter, ListGroupsResponse } from './messages.ts'

const GROUP_TYPE = 'classic'
/** "Not asked for", in every response that could carry them. */
const NO_AUTHORIZED_OPERATIONS = -2147483648

/** What never was and what was deleted look alike: a dead group, and no error. */
export function describeGroup(groupId: string, refusal: number, group: ClassicGroup | undefined): DescribedGroup {
  const known = refusal === KafkaError.NONE ? group : undefined
  return {
    errorCode: refusal,
    errorMessage: null,
    groupId,
    groupState: known?.state ?? (refusal === KafkaError.NONE ? 'Dead' : ''),
    protocolType: known?.protocolType ?? '',
    ...(known?.describe() ?? { protocolData: '', members: [] }),
    authorizedOperations: NO_AUTHORIZED_OPERATIONS,
  }
}

/** Filters name states and types in any case; an empty filter lets all pass. */
export function listGroups(
  groups: Iterable<{ readonly group: ClassicGroup }>,
  filter: ListGroupsFilter,
): ListGroupsResponse['groups'] {
  const states = new Set(filter.statesFilter?.map((state) => state.toLowerCase()))
  const types = new Set(filter.typesFilter?.map((type) => type.toLowerCase()))
  if (types.size > 0 && !types.has(GROUP_TYPE)) return []
  const listed: ListGroupsResponse['groups'] = []
  for (const { group } of groups) {
    if (states.size > 0 && !states.has(group.state.toLowerCase())) continue
    const { id: groupId, protocolType, state: groupState } = group
    listed.push({ groupId, protocolType, groupState, groupType: GROUP_TYPE })
  }
  return listed
}
