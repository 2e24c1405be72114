/**
 * How a Kafka message is described: as data, with the versions on the fields.
 *
 * Kafka's protocol grew by adding fields to numbered versions of each message, so the natural wish (one file per version)
 * ends with eleven files that differ by a line, and a defect that is mended five times. Instead there is one table per
 * message; a field says in which versions it lives, and everything else follows from that: the codec compiles the table
 * once per version (`codec.ts`), and TypeScript derives the message's type from the same table, so there is nothing to
 * generate and nothing to keep in step.
 *
 *     export const heartbeatRequest = {
 *       name: 'HeartbeatRequest', apiKey: 12, versions: '0-4', flexible: '4+',
 *       fields: {
 *         groupId: { type: 'string' },
 *         generationId: { type: 'int32' },
 *         memberId: { type: 'string' },
 *         groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
 *       },
 *     } as const satisfies MessageDefinition
 *
 * A table yields two types. `MessageOf` is what a decoder returns: every field is there in every version, those that the
 * version does not have with their default, so that all versions have one shape and a handler asks for values, not for
 * versions. `DraftOf` is what an encoder takes: a field that some version lacks, or that has a default, may be left out, and
 * a field that the version lacks is not written.
 *
 * From some version on a message is *flexible* (KIP-482): lengths are varints and every struct ends with a section of
 * tagged fields, which are optional on the wire and skipped by whoever does not know them.
 */
import { assert } from '../../stdx/index.ts'

/** `3`, `3+` or `3-11`. */
export type Versions = `${number}` | `${number}+` | `${number}-${number}`

/**
 * int64 is a safe integer (beyond 2^53 the decoder refuses), uuid 32 hexadecimal digits. `bytes` is copied by the decoder,
 * for it is small and often kept; `records` is a slice of the frame, valid as long as the frame is.
 */
export type ScalarType = 'bool' | 'int8' | 'int16' | 'int32' | 'int64' | 'string' | 'uuid' | 'bytes' | 'records'

interface FieldCommon {
  /** The versions that have the field; without it, all. */
  readonly versions?: Versions
  /** Present only in the tagged section, under this number, and written only when it differs from the default. */
  readonly tag?: number
}

export interface ScalarField extends FieldCommon {
  readonly type: ScalarType
  /** The versions in which null may stand on the wire. */
  readonly nullable?: Versions
  /** Where a version lacks the field; without it the type's own: 0, false, '', no bytes. */
  readonly default?: number | string | boolean | null
}

export interface ArrayField extends FieldCommon {
  readonly type: 'array'
  readonly of: ScalarType | StructDefinition
  readonly nullable?: Versions
  readonly default?: null
}

export interface StructField extends FieldCommon {
  readonly type: 'struct'
  readonly of: StructDefinition
}

export type Field = ScalarField | ArrayField | StructField

/** Fields in wire order, which is the order of the keys. */
export interface StructDefinition {
  readonly [name: string]: Field
}

export interface MessageDefinition {
  readonly name: string
  readonly apiKey: number
  readonly versions: Versions
  readonly flexible: Versions
  readonly fields: StructDefinition
}

interface ScalarValues {
  bool: boolean
  int8: number
  int16: number
  int32: number
  int64: number
  string: string
  uuid: string
  bytes: Buffer
  records: Buffer
}

interface ScalarDrafts extends Omit<ScalarValues, 'records'> {
  /** A list is written one after the other; large pieces are sent from where they are (see `Writer.records`). */
  records: Buffer | readonly Buffer[]
}

type OrNull<F, T> = F extends { nullable: Versions } ? T | null : T

type ValueOf<F> = F extends { type: 'array'; of: infer E }
  ? OrNull<F, ElementOf<E>[]>
  : F extends { type: 'struct'; of: infer S }
    ? StructOf<S>
    : F extends { type: infer T extends ScalarType }
      ? OrNull<F, ScalarValues[T]>
      : never
type ElementOf<E> = E extends ScalarType ? ScalarValues[E] : StructOf<E>

type DraftValueOf<F> = F extends { type: 'array'; of: infer E }
  ? OrNull<F, readonly DraftElementOf<E>[]>
  : F extends { type: 'struct'; of: infer S }
    ? StructDraftOf<S>
    : F extends { type: infer T extends ScalarType }
      ? OrNull<F, ScalarDrafts[T]>
      : never
type DraftElementOf<E> = E extends ScalarType ? ScalarDrafts[E] : StructDraftOf<E>

type Omissible<S> = {
  [K in keyof S]: S[K] extends { versions: Versions } | { default: unknown } | { tag: number } ? K : never
}[keyof S]

/** A struct as the decoder returns it. */
export type StructOf<S> = { -readonly [K in keyof S]: ValueOf<S[K]> }
/** A struct as the encoder takes it. */
export type StructDraftOf<S> = { readonly [K in Exclude<keyof S, Omissible<S>>]: DraftValueOf<S[K]> } & {
  readonly [K in Omissible<S>]?: DraftValueOf<S[K]> | undefined
}
/** A message as the decoder returns it. */
export type MessageOf<D extends MessageDefinition> = StructOf<D['fields']>
/** A message as the encoder takes it. */
export type DraftOf<D extends MessageDefinition> = StructDraftOf<D['fields']>

/** What a uuid field holds where there is none. */
export const ZERO_UUID = '00000000000000000000000000000000'

export interface VersionRange {
  readonly first: number
  readonly last: number
}

/** An open range ends at infinity. */
export function parseVersions(text: Versions): VersionRange {
  const match = /^(\d+)(\+|-(\d+))?$/.exec(text)
  assert(match !== null, () => `versions must look like 3, 3+ or 3-11: ${text}`)
  const first = Number(match[1])
  const last = match[2] === undefined ? first : match[2] === '+' ? Number.POSITIVE_INFINITY : Number(match[3])
  return { first, last }
}

export function includesVersion(versions: Versions | undefined, version: number): boolean {
  if (versions === undefined) return true
  const { first, last } = parseVersions(versions)
  return version >= first && version <= last
}

/** The declared default, or what Kafka takes without one; undefined stands for an empty list or no bytes. */
export function defaultOf(field: ScalarField | ArrayField): number | string | boolean | null | undefined {
  if (field.default !== undefined) return field.default
  switch (field.type) {
    case 'bool':
      return false
    case 'string':
      return ''
    case 'uuid':
      return ZERO_UUID
    case 'array':
    case 'bytes':
    case 'records':
      return undefined
    default:
      return 0
  }
}
