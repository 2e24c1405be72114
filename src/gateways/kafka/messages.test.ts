/** Our tables against Apache Kafka's own definitions (testdata/), field by field. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { apis, OWN_API_KEYS_FROM } from './api-table.ts'
import { allCodecs } from './codec.fuzz.ts'
import {
  type Field,
  parseVersions,
  type StructDefinition,
  type VersionRange,
  type Versions,
} from './message-definition.ts'

interface KafkaField {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly nullableVersions?: string
  readonly taggedVersions?: string
  readonly tag?: number
  readonly default?: string | number | boolean
  readonly flexibleVersions?: string
  readonly fields?: readonly KafkaField[]
}

interface KafkaMessage {
  readonly apiKey: number
  readonly name: string
  readonly validVersions: string
  readonly flexibleVersions: string
  readonly fields: readonly KafkaField[]
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly KafkaField[] }[]
}

/** Versions that Kafka 4.0 dropped (KIP-896) and 3.9 still had: old clients look for them. */
const DROPPED: Record<string, string> = {
  Produce: '0-2',
  ListOffsets: '0',
  CreateTopics: '0-1',
  DeleteTopics: '0',
  DescribeConfigs: '0',
}

/** The fields that only dropped versions had, as Kafka 3.9 defines them. */
const DROPPED_FIELDS: Record<string, { after: string; field: KafkaField }> = {
  ListOffsetsPartition: {
    after: 'Timestamp',
    field: { name: 'MaxNumOffsets', type: 'int32', versions: '0', default: '1' },
  },
  ListOffsetsPartitionResponse: {
    after: 'ErrorCode',
    field: { name: 'OldStyleOffsets', type: '[]int64', versions: '0' },
  },
  DescribeConfigsResourceResult: { after: 'ReadOnly', field: { name: 'IsDefault', type: 'bool', versions: '0' } },
}

function load(name: string): KafkaMessage {
  return JSON.parse(readFileSync(`src/gateways/kafka/testdata/messages/${name}.json`, 'utf8')) as KafkaMessage
}

function versionsIn(range: VersionRange, text: string | undefined, otherwise: 'all' | 'none'): number[] {
  const all = Array.from({ length: range.last - range.first + 1 }, (_, i) => range.first + i)
  if (text === undefined) return otherwise === 'all' ? all : []
  if (text === 'none') return []
  const { first, last } = parseVersions(text as Versions)
  return all.filter((version) => version >= first && version <= last)
}

/** Kafka writes defaults as text. */
function kafkaDefault(field: KafkaField): unknown {
  const text = field.default
  if (text === undefined) return undefined
  if (text === 'null') return null
  if (field.type === 'string') return text
  if (field.type === 'bool') return text === 'true' || text === true
  return Number(text)
}

/** Both sides as plain rows, so that a difference shows as one. Nested versions only count where the parent lives. */
function ourRows(struct: StructDefinition, range: VersionRange, path = ''): object[] {
  return Object.entries(struct).flatMap(([name, field]: [string, Field]) => {
    const element = field.type === 'array' || field.type === 'struct' ? field.of : null
    const versions = versionsIn(range, field.versions, 'all')
    const type = `${field.type === 'array' ? '[]' : ''}${element === null ? field.type : typeof element === 'string' ? element : 'struct'}`
    const nullable =
      'nullable' in field ? versionsIn(range, field.nullable, 'none').filter((v) => versions.includes(v)) : []
    const tagged = field.tag === undefined ? [] : versions
    const row = {
      path: path + name,
      type,
      versions,
      nullable,
      tagged,
      tag: field.tag,
      default: 'default' in field ? field.default : undefined,
    }
    const inner =
      element === null || typeof element === 'string' ? [] : ourRows(element, edges(versions), `${path}${name}.`)
    return [row, ...inner]
  })
}

function kafkaRows(
  message: KafkaMessage,
  structName: string,
  fields: readonly KafkaField[],
  range: VersionRange,
  path = '',
): object[] {
  const dropped = DROPPED_FIELDS[structName]
  const all = fields.flatMap((field) => (dropped?.after === field.name ? [field, dropped.field] : [field]))
  return all.flatMap((field) => {
    const versions = versionsIn(range, field.versions, 'all')
    if (versions.length === 0) return []
    strictEqual(field.flexibleVersions, undefined)
    const array = field.type.startsWith('[]')
    const base = array ? field.type.slice(2) : field.type
    const isStruct = /^[A-Z]/.test(base)
    const row = {
      path: path + camel(field.name),
      type: `${array ? '[]' : ''}${isStruct ? 'struct' : base}`,
      versions,
      nullable: versionsIn(range, field.nullableVersions, 'none').filter((version) => versions.includes(version)),
      tagged: versionsIn(range, field.taggedVersions, 'none'),
      tag: field.tag,
      default: kafkaDefault(field),
    }
    if (!isStruct) return [row]
    const inner = field.fields ?? message.commonStructs?.find((struct) => struct.name === base)?.fields ?? []
    return [row, ...kafkaRows(message, base, inner, edges(versions), `${path}${camel(field.name)}.`)]
  })
}

function edges(versions: readonly number[]): VersionRange {
  return { first: versions[0]!, last: versions.at(-1)! }
}

function camel(name: string): string {
  return name[0]!.toLowerCase() + name.slice(1)
}

describe('message tables', () => {
  for (const { definition } of allCodecs().filter((codec) => codec.definition.apiKey < OWN_API_KEYS_FROM)) {
    test(`${definition.name} is what Apache Kafka says it is`, () => {
      const kafka = load(definition.name)
      const range = parseVersions(definition.versions)
      strictEqual(kafka.name, definition.name)
      strictEqual(kafka.apiKey, definition.apiKey)
      strictEqual(kafka.flexibleVersions, definition.flexible)
      const known = versionsIn(range, kafka.validVersions, 'none')
      const dropped = versionsIn(range, DROPPED[definition.name.replace(/Re(quest|sponse)$/, '')], 'none')
      deepStrictEqual([...dropped, ...known], versionsIn(range, undefined, 'all'), 'versions that Kafka never had')
      deepStrictEqual(ourRows(definition.fields, range), kafkaRows(kafka, '', kafka.fields, range))
    })
  }

  test('every dropped version is offered: the list above has no idle line', () => {
    for (const [name, versions] of Object.entries(DROPPED)) {
      const api = Object.values(apis).find((each) => each.name === name)
      strictEqual(api?.minVersion, parseVersions(versions as Versions).first)
    }
  })

  test('the headers are what request-header.ts takes them for', () => {
    const shape = (name: string) => load(name).fields.map(({ name, type, versions }) => `${name} ${type} ${versions}`)
    deepStrictEqual(shape('RequestHeader'), [
      'RequestApiKey int16 0+',
      'RequestApiVersion int16 0+',
      'CorrelationId int32 0+',
      'ClientId string 1+',
    ])
    deepStrictEqual(shape('ResponseHeader'), ['CorrelationId int32 0+'])
    const clientId = load('RequestHeader').fields.at(-1)
    ok(clientId?.flexibleVersions === 'none' && clientId.nullableVersions === '1+')
  })
})
