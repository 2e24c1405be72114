/**
 * The codec against its dumb twin: an interpreter of the same tables that shares no line with it (Buffer's own methods,
 * recursion, one question after the other), so slow and plain that one can see that it is right.
 *
 * Each round takes a message and a version, makes up a value from the table, and holds the two to the same bytes and the
 * same value. Then it does what networks and strangers do: adds tagged fields from the future, cuts, flips, writes extreme
 * lengths over random places. Damaged bytes must be read alike by both or refused by both, and refused means `DecodeError`.
 */
import { deepStrictEqual } from 'node:assert'
import { assert, Prng } from '../../stdx/index.ts'
import { apis } from './api-table.ts'
import type { Codec } from './codec.ts'
import {
  type DraftOf,
  defaultOf,
  type Field,
  includesVersion,
  type MessageDefinition,
  type MessageOf,
  parseVersions,
  type ScalarType,
  type StructDefinition,
} from './message-definition.ts'
import { DecodeError, EncodeError } from './primitives.ts'

type Value = number | string | boolean | null | Buffer | Buffer[] | Value[] | { [name: string]: Value }
type Struct = { [name: string]: Value }

/** Every message we have, requests and responses. */
export function allCodecs(): Codec<MessageDefinition>[] {
  return Object.values(apis).flatMap((api) => [
    api.request as unknown as Codec<MessageDefinition>,
    api.response as unknown as Codec<MessageDefinition>,
  ])
}

export function versionsOf(codec: Codec<MessageDefinition>): number[] {
  return Array.from({ length: codec.lastVersion - codec.firstVersion + 1 }, (_, i) => codec.firstVersion + i)
}

// -------------------------------------------------------------------------------------------------- the twin

class Twin {
  readonly version: number
  readonly flexible: boolean
  /** Where given, sections of tagged fields get strangers in them. */
  readonly strangers: Prng | null

  constructor(definition: MessageDefinition, version: number, strangers: Prng | null = null) {
    this.version = version
    this.flexible = includesVersion(definition.flexible, version)
    this.strangers = strangers
  }

  encode(struct: StructDefinition, value: Struct): Buffer {
    const parts: Buffer[] = []
    const tags: [number, Buffer][] = []
    for (const [name, field] of Object.entries(struct)) {
      if (!includesVersion(field.versions, this.version)) continue
      if (field.tag === undefined) parts.push(this.#encodeField(field, value[name]!))
      else if (JSON.stringify(value[name]) !== JSON.stringify(this.default(field))) {
        tags.push([field.tag, this.#encodeField(field, value[name]!)])
      }
    }
    if (this.flexible) {
      for (let i = this.strangers?.below(3) ?? 0; i > 0; i--)
        tags.push([100 + i, this.strangers!.bytes(this.strangers!.below(200))])
      parts.push(uvarint(tags.length))
      for (const [tag, bytes] of tags.sort((a, b) => a[0] - b[0]))
        parts.push(uvarint(tag), uvarint(bytes.length), bytes)
    }
    return Buffer.concat(parts)
  }

  #encodeField(field: Field, value: Value): Buffer {
    if (field.type === 'struct') return this.encode(field.of, value as Struct)
    if (field.type !== 'array') return this.#encodeScalar(field.type, value)
    if (value === null) return this.#length(-1, 4)
    const { of } = field
    const elements = (value as Value[]).map((each) => {
      return typeof of === 'string' ? this.#encodeScalar(of, each) : this.encode(of, each as Struct)
    })
    return Buffer.concat([this.#length(elements.length, 4), ...elements])
  }

  #length(length: number, classicBytes: 2 | 4): Buffer {
    if (this.flexible) return uvarint(length + 1)
    const bytes = Buffer.alloc(classicBytes)
    bytes.writeIntBE(length, 0, classicBytes)
    return bytes
  }

  #encodeScalar(type: ScalarType, value: Value): Buffer {
    switch (type) {
      case 'bool':
        return Buffer.from([value ? 1 : 0])
      case 'int8':
      case 'int16':
      case 'int32': {
        const bytes = Buffer.alloc(Number(type.slice(3)) / 8)
        bytes.writeIntBE(value as number, 0, bytes.length)
        return bytes
      }
      case 'int64': {
        const bytes = Buffer.alloc(8)
        bytes.writeBigInt64BE(BigInt(value as number))
        return bytes
      }
      case 'uuid':
        return Buffer.from(value as string, 'hex')
      default: {
        const classicBytes = type === 'string' ? 2 : 4
        if (value === null) return this.#length(-1, classicBytes)
        const bytes = Array.isArray(value) ? Buffer.concat(value as Buffer[]) : Buffer.from(value as string)
        return Buffer.concat([this.#length(bytes.length, classicBytes), bytes])
      }
    }
  }

  /** Throws anything at all when the bytes are not a message. */
  decode(struct: StructDefinition, from: Cursor): Struct {
    const value: Struct = {}
    for (const [name, field] of Object.entries(struct)) {
      const here = includesVersion(field.versions, this.version) && field.tag === undefined
      value[name] = here ? this.#decodeField(field, from) : this.default(field)
    }
    if (!this.flexible) return value
    for (let count = from.uvarint(); count > 0; count--) {
      const tag = from.uvarint()
      const content = from.uvarint()
      const end = from.at + content
      if (end > from.bytes.length) throw new Error('tag too long')
      const known = Object.entries(struct).find(
        ([, field]) => field.tag === tag && includesVersion(field.versions, this.version),
      )
      if (known !== undefined) {
        value[known[0]] = this.#decodeField(known[1], from)
        if (from.at !== end) throw new Error('tag of another length')
      }
      from.at = end
    }
    return value
  }

  #decodeField(field: Field, from: Cursor): Value {
    if (field.type === 'struct') return this.decode(field.of, from)
    const nullable = field.nullable !== undefined && includesVersion(field.nullable, this.version)
    if (field.type !== 'array') return this.#decodeScalar(field.type, nullable, from)
    const count = this.#readLength(4, nullable, from)
    if (count === -1) return null
    if (count > from.bytes.length) throw new Error('too many')
    const list: Value[] = []
    const { of } = field
    for (let i = 0; i < count; i++) {
      list.push(typeof of === 'string' ? this.#decodeScalar(of, false, from) : this.decode(of, from))
    }
    return list
  }

  #readLength(classicBytes: 2 | 4, nullable: boolean, from: Cursor): number {
    const length = this.flexible ? from.uvarint() - 1 : from.take(classicBytes).readIntBE(0, classicBytes)
    if (length < -1 || (length === -1 && !nullable)) throw new Error('length')
    return length
  }

  #decodeScalar(type: ScalarType, nullable: boolean, from: Cursor): Value {
    switch (type) {
      case 'bool':
        return from.take(1)[0] !== 0
      case 'int8':
        return from.take(1).readInt8()
      case 'int16':
        return from.take(2).readInt16BE()
      case 'int32':
        return from.take(4).readInt32BE()
      case 'int64': {
        const value = Number(from.take(8).readBigInt64BE())
        if (!Number.isSafeInteger(value)) throw new Error('unsafe')
        return value
      }
      case 'uuid':
        return from.take(16).toString('hex')
      default: {
        const length = this.#readLength(type === 'string' ? 2 : 4, nullable, from)
        if (length === -1) return null
        const bytes = from.take(length)
        return type === 'string' ? bytes.toString() : bytes
      }
    }
  }

  default(field: Field): Value {
    if (field.type === 'struct') {
      return Object.fromEntries(Object.entries(field.of).map(([name, each]) => [name, this.default(each)]))
    }
    return defaultOf(field) ?? (field.default === null ? null : field.type === 'array' ? [] : Buffer.alloc(0))
  }
}

class Cursor {
  at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new Error('short')
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  uvarint(): number {
    let value = 0n
    for (let shift = 0n; shift < 35n; shift += 7n) {
      const byte = this.take(1)[0]!
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) {
        if (value > 0xffff_ffffn) break
        return Number(value)
      }
    }
    throw new Error('varint')
  }
}

function uvarint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.from([...bytes, rest])
}

export function encodeByTable(
  definition: MessageDefinition,
  version: number,
  message: object,
  strangers?: Prng,
): Buffer {
  return new Twin(definition, version, strangers ?? null).encode(definition.fields, message as Struct)
}

export function decodeByTable(definition: MessageDefinition, version: number, bytes: Buffer): object {
  return new Twin(definition, version).decode(definition.fields, new Cursor(bytes))
}

// -------------------------------------------------------------------------------------------------- made-up messages

const INTEGERS = { int8: 8, int16: 16, int32: 32, int64: 54 } as const
const TEXTS = ['', 'a', 'orders', 'naïve-ключ-鍵-🔑', 'x'.repeat(41), 'é'.repeat(40), 'z'.repeat(300), '鍵'.repeat(90)]

/** What a decoder would return for this version: fields that it lacks have their defaults. */
export function randomMessage<D extends MessageDefinition>(prng: Prng, definition: D, version: number): MessageOf<D> {
  const twin = new Twin(definition, version)
  const scalar = (type: ScalarType): Value => {
    switch (type) {
      case 'bool':
        return prng.below(2) === 1
      case 'string':
        return TEXTS[prng.below(TEXTS.length)]!
      case 'uuid':
        return prng.bytes(16).toString('hex')
      case 'bytes':
        return prng.bytes(prng.below(4) === 0 ? 0 : prng.below(200))
      case 'records':
        return prng.bytes(prng.below(8) === 0 ? 4096 + prng.below(9000) : prng.below(300))
      default: {
        const limit = 2 ** (INTEGERS[type] - 1)
        const edges = [0, -1, 1, limit - 1, 1 - limit, limit > 2 ** 52 ? 1 - limit : -limit]
        return prng.below(2) === 0 ? edges[prng.below(edges.length)]! : (prng.uint32() % limit) - 0
      }
    }
  }
  const struct = (fields: StructDefinition): Struct => {
    const value: Struct = {}
    for (const [name, field] of Object.entries(fields)) value[name] = one(field)
    return value
  }
  const one = (field: Field): Value => {
    if (!includesVersion(field.versions, version)) return twin.default(field)
    if (field.tag !== undefined && prng.below(2) === 0) return twin.default(field)
    if (field.type === 'struct') return struct(field.of)
    if (field.nullable !== undefined && includesVersion(field.nullable, version) && prng.below(4) === 0) return null
    if (field.type !== 'array') return scalar(field.type)
    const { of } = field
    return Array.from({ length: prng.below(4) }, () => (typeof of === 'string' ? scalar(of) : struct(of)))
  }
  return struct(definition.fields) as MessageOf<D>
}

/** The same message with its records in pieces, as a log hands them out. */
function withSlicedRecords(prng: Prng, struct: StructDefinition, value: Struct): Struct {
  const copy: Struct = { ...value }
  for (const [name, field] of Object.entries(struct)) {
    const held = value[name]
    if (field.type === 'records' && Buffer.isBuffer(held)) {
      const cut = prng.below(held.length + 1)
      copy[name] = [held.subarray(0, cut), held.subarray(cut)]
    } else if (field.type === 'array' && typeof field.of !== 'string' && Array.isArray(held)) {
      const { of } = field
      copy[name] = held.map((each) => withSlicedRecords(prng, of, each as Struct))
    }
  }
  return copy
}

// -------------------------------------------------------------------------------------------------- rounds

/** Throws when the codec and its twin disagree, or when damaged bytes do anything but decode or be refused. */
export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(`codec/${seed}`)
  const codecs = allCodecs()
  for (let round = 0; round < rounds; round++) {
    const codec = codecs[prng.below(codecs.length)]!
    const { definition } = codec
    const { first, last } = parseVersions(definition.versions)
    const version = first + prng.below(last - first + 1)
    const what = `${definition.name} v${version} (seed ${seed}, round ${round})`
    const message = randomMessage(prng, definition, version)
    const bytes = codec.encodeToBuffer(
      withSlicedRecords(prng, definition.fields, message as Struct) as DraftOf<MessageDefinition>,
      version,
    )
    deepStrictEqual(bytes, encodeByTable(definition, version, message), `${what}: encoded otherwise than by the twin`)
    deepStrictEqual(codec.decodeFrom(bytes, version), message, `${what}: another message came back`)
    const future = encodeByTable(definition, version, message, prng)
    deepStrictEqual(codec.decodeFrom(future, version), message, `${what}: unknown tags were not skipped`)
    for (let i = 0; i < 8; i++) compareDamaged(codec, version, damage(prng, future), `${what}, damage ${i}`)
  }
}

function damage(prng: Prng, bytes: Buffer): Buffer {
  const damaged = Buffer.from(bytes)
  if (damaged.length === 0) return prng.bytes(3)
  const at = prng.below(damaged.length)
  switch (prng.below(5)) {
    case 0:
      return damaged.subarray(0, at)
    case 1:
      damaged[at] = prng.below(256)
      return damaged
    case 2: {
      const extremes = [
        '7fffffff',
        'ffffffff',
        '80000000',
        'fffffffe',
        'ffffffff0f',
        'ffffffffff',
        '8080808000',
        '00',
        '7fff',
        '000fffff',
      ]
      Buffer.from(extremes[prng.below(extremes.length)]!, 'hex').copy(damaged, at)
      return damaged
    }
    case 3:
      return Buffer.concat([damaged.subarray(0, at), prng.bytes(1 + prng.below(5)), damaged.subarray(at)])
    default:
      return Buffer.concat([
        damaged.subarray(0, at),
        damaged.subarray(Math.min(damaged.length, at + 1 + prng.below(4))),
      ])
  }
}

function compareDamaged(codec: Codec<MessageDefinition>, version: number, bytes: Buffer, what: string): void {
  let expected: object | null = null
  try {
    expected = decodeByTable(codec.definition, version, bytes)
  } catch {
    // Refused by the twin.
  }
  let actual: object | null = null
  try {
    actual = codec.decodeFrom(bytes, version)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw new Error(`${what}: ${String(error)}`, { cause: error })
  }
  deepStrictEqual(actual, expected, `${what}: ${bytes.toString('hex')}`)
  if (actual === null) return
  try {
    deepStrictEqual(
      codec.decodeFrom(codec.encodeToBuffer(actual as DraftOf<MessageDefinition>, version), version),
      actual,
      what,
    )
  } catch (error) {
    // A string of invalid UTF-8 grows when it is read, each bad byte becoming three.
    assert(error instanceof EncodeError && error.code === 'STRING_TOO_LONG', () => `${what}: ${String(error)}`)
  }
}
