/** AlterConfigs and IncrementalAlterConfigs: any node takes them, the controller decides, the answer follows the commit. */
import type { AlterTopicRequest, SettingChange } from '../../../cluster/index.ts'
import { KafkaError } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { AlterConfigsRequest } from '../messages/alter-configs.ts'
import type { IncrementalAlterConfigsRequest } from '../messages/incremental-alter-configs.ts'
import { errorOfCommand } from './command-errors.ts'
import type { ExchangeOf, HandlerContext } from './context.ts'

const TOPIC_RESOURCE = 2
const OPERATIONS = ['set', 'delete', 'append', 'subtract'] as const

interface Resource {
  readonly resourceType: number
  readonly resourceName: string
  /** Null: an operation that there is not. */
  readonly changes: readonly SettingChange[] | null
}

export function alterConfigs(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.alterConfigs>,
  request: AlterConfigsRequest,
): void {
  const resources = request.resources.map(({ configs, ...resource }) => ({
    ...resource,
    changes: configs.map(({ name, value }) => ({ name, operation: 'set' as const, value })),
  }))
  alter(context, resources, { replace: true, validateOnly: request.validateOnly }, (responses) =>
    exchange.respond({ throttleTimeMs: 0, responses }),
  )
}

export function incrementalAlterConfigs(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.incrementalAlterConfigs>,
  request: IncrementalAlterConfigsRequest,
): void {
  const resources = request.resources.map(({ configs, ...resource }) => {
    const changes: SettingChange[] = []
    for (const { name, configOperation, value } of configs) {
      const operation = OPERATIONS[configOperation]
      if (operation !== undefined) changes.push({ name, operation, value })
    }
    return { ...resource, changes: changes.length === configs.length ? changes : null }
  })
  alter(context, resources, { replace: false, validateOnly: request.validateOnly }, (responses) =>
    exchange.respond({ throttleTimeMs: 0, responses }),
  )
}

interface Altered {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly resourceType: number
  readonly resourceName: string
}

function alter(
  context: HandlerContext,
  resources: readonly Resource[],
  how: { readonly replace: boolean; readonly validateOnly: boolean },
  done: (responses: Altered[]) => void,
): void {
  const wanted: AlterTopicRequest[] = []
  const refused = resources.map(({ resourceType, resourceName: name, changes }, i) => {
    if (resourceType !== TOPIC_RESOURCE)
      return `resource type ${resourceType} has no settings that could be changed here; topics are type ${TOPIC_RESOURCE}`
    if (resources.findIndex((other) => other.resourceType === resourceType && other.resourceName === name) !== i)
      return `topic ${name} is named twice in one request`
    if (changes === null) return `there are the operations 0 to ${OPERATIONS.length - 1}`
    wanted.push({ name, changes, ...how })
    return null
  })
  const answer = (results: readonly { readonly name: string; readonly error: CommandFailure | null }[]): void =>
    done(
      resources.map(({ resourceType, resourceName }, i) => {
        const invalid = refused[i]!
        if (invalid !== null)
          return { errorCode: KafkaError.INVALID_REQUEST, errorMessage: invalid, resourceType, resourceName }
        const error = results.find(({ name }) => name === resourceName)?.error ?? null
        const errorCode = error === null ? KafkaError.NONE : errorOfCommand(error.code)
        return { errorCode, errorMessage: error?.message ?? null, resourceType, resourceName }
      }),
    )
  if (wanted.length === 0) answer([])
  else context.cluster.alterTopics(wanted, answer)
}

type CommandFailure = { readonly code: Parameters<typeof errorOfCommand>[0]; readonly message: string }
