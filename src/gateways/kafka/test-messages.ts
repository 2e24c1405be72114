/**
 * Our codec against the codecs of others, for the tests.
 *
 * Requests: what they write for a message must be, byte for byte, what we write for it, and we must read it back. Responses:
 * what we write they must read, and every value must come out of their reader; each value occurs once in the message, so
 * that none can take another's place.
 */
import { deepStrictEqual } from 'node:assert'
import type { AnyApi } from './api-table.ts'
import type { Codec } from './codec.ts'
import {
  defaultOf,
  type Field,
  includesVersion,
  type MessageDefinition,
  type ScalarType,
  type StructDefinition,
} from './message-definition.ts'

/** A message of any kind: tests of all messages at once cannot name their fields' types. */
export type Tree = { [name: string]: unknown }
export type Overrides = Tree

export function list(value: unknown): Tree[] {
  return value as Tree[]
}

/** A message in which every value is different; `overrides` fixes fields that the other side cannot choose. */
export function sample(definition: MessageDefinition, version: number, overrides: Overrides = {}): Tree {
  let next = 1000
  let small = 60
  let error = 1
  const scalar = (type: ScalarType): unknown => {
    next += 7
    switch (type) {
      case 'bool':
        return true
      case 'int8':
        return small++
      case 'string':
        return `s${next}`
      case 'uuid':
        return String(next).padStart(32, '0123456789abcdef')
      case 'bytes':
      case 'records':
        return Buffer.from(`b${next}`)
      default:
        return next
    }
  }
  const struct = (fields: StructDefinition): object => {
    return Object.fromEntries(
      Object.entries(fields).map(([name, field]) => {
        if (!includesVersion(field.versions, version)) return [name, absent(field)]
        if (name in overrides) return [name, overrides[name] === 'default' ? absent(field) : overrides[name]]
        if (field.type === 'struct') return [name, struct(field.of)]
        // Both sides look codes up, so they must exist; 35 would be taken for an answer to another version.
        if (/errorCode$/i.test(name)) return [name, error++]
        if (field.type !== 'array') return [name, scalar(field.type)]
        const { of } = field
        return [name, [1, 2].map(() => (typeof of === 'string' ? scalar(of) : struct(of)))]
      }),
    )
  }
  return struct(definition.fields) as Tree
}

/** What a field holds in a version that lacks it. */
function absent(field: Field): unknown {
  if (field.type === 'struct') {
    return Object.fromEntries(Object.entries(field.of).map(([name, each]) => [name, absent(each)]))
  }
  return defaultOf(field) ?? (field.default === null ? null : field.type === 'array' ? [] : Buffer.alloc(0))
}

/** The values of a tree, in text, without what both sides may have many of: booleans and nulls. */
function leaves(value: unknown): string[] {
  if (value === null || value === undefined || typeof value === 'boolean') return []
  if (typeof value === 'string') return [/^[0-9a-f-]{36}$/.test(value) ? value.replaceAll('-', '') : value]
  if (typeof value === 'number' || typeof value === 'bigint') return [String(value)]
  if (value instanceof Uint8Array) return [Buffer.from(value).toString()]
  if (value instanceof Map) return [...value].flatMap(leaves)
  return Object.values(value as object).flatMap(leaves)
}

/** Everything that is on the wire: not the fields that the version lacks, nor tagged ones at their default. */
function sentLeaves(fields: StructDefinition, version: number, value: Tree): string[] {
  return Object.entries(fields).flatMap(([name, field]) => {
    if (!includesVersion(field.versions, version)) return []
    const held = value[name]
    if (field.tag !== undefined && JSON.stringify(held) === JSON.stringify(absent(field))) return []
    if (field.type === 'struct') return sentLeaves(field.of, version, held as Tree)
    if (field.type !== 'array' || typeof field.of === 'string' || held === null) return leaves(held)
    const { of } = field
    return (held as Tree[]).flatMap((each) => sentLeaves(of, version, each))
  })
}

export function everyValueArrived(
  codec: Codec<MessageDefinition>,
  version: number,
  message: Tree,
  theirs: unknown,
): void {
  const arrived = new Set(leaves(theirs))
  const missing = sentLeaves(codec.definition.fields, version, message).filter((leaf) => !arrived.has(leaf))
  deepStrictEqual(missing, [], `${codec.definition.name} v${version}: values that did not arrive`)
}

export function sameBytes(codec: Codec<MessageDefinition>, version: number, message: Tree, theirs: Buffer): void {
  const name = `${codec.definition.name} v${version}`
  deepStrictEqual(codec.encodeToBuffer(message as never, version), theirs, name)
  deepStrictEqual(codec.decodeFrom(theirs, version) as unknown, message, name)
}

export function requestOf(api: AnyApi): Codec<MessageDefinition> {
  return api.request as unknown as Codec<MessageDefinition>
}

export function responseOf(api: AnyApi): Codec<MessageDefinition> {
  return api.response as unknown as Codec<MessageDefinition>
}
