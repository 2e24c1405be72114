/**
 * A message's codec: bytes to objects and back, in every version of its table.
 *
 * The table is compiled once per (version, direction), on first use, into a function of plain JavaScript
 * (`codec-source.ts` says why and how). The compiled functions are a memo of the immutable table: a codec has no other
 * state, so one instance serves every connection, every node and every client in the process.
 */
import { assert } from '../../stdx/index.ts'
import { codecSource } from './codec-source.ts'
import {
  type DraftOf,
  includesVersion,
  type MessageDefinition,
  type MessageOf,
  parseVersions,
} from './message-definition.ts'
import { DecodeError, EncodeError, Reader, Writer } from './primitives.ts'

type Decoder<D extends MessageDefinition> = (reader: Reader) => MessageOf<D>
type Encoder<D extends MessageDefinition> = (writer: Writer, message: DraftOf<D>) => void

const EMPTY = Buffer.alloc(0)

export class Codec<D extends MessageDefinition> {
  readonly definition: D
  readonly firstVersion: number
  readonly lastVersion: number
  readonly #decoders: (Decoder<D> | undefined)[]
  readonly #encoders: (Encoder<D> | undefined)[]

  constructor(definition: D) {
    const { first, last } = parseVersions(definition.versions)
    assert(Number.isFinite(last), () => `${definition.name}: the versions need an end`)
    this.definition = definition
    this.firstVersion = first
    this.lastVersion = last
    this.#decoders = new Array(last + 1).fill(undefined)
    this.#encoders = new Array(last + 1).fill(undefined)
  }

  has(version: number): boolean {
    return version >= this.firstVersion && version <= this.lastVersion
  }

  isFlexible(version: number): boolean {
    return includesVersion(this.definition.flexible, version)
  }

  /** Reads one message; what follows it in the frame is left unread, as Kafka does. Throws `DecodeError` only. */
  decode(reader: Reader, version: number): MessageOf<D> {
    const decoder = this.#decoders[version] ?? this.#compileDecoder(version)
    try {
      return decoder(reader)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      throw new DecodeError(error.details, `${this.definition.name} v${version}: ${error.message}`, { cause: error })
    }
  }

  /** Writes one message. Throws `EncodeError` for what this version cannot say; the writer's frame is then unfinished. */
  encode(writer: Writer, message: DraftOf<D>, version: number): void {
    const encoder = this.#encoders[version] ?? this.#compileEncoder(version)
    encoder(writer, message)
  }

  /** For clients, tools and tests: the message alone, without frame and header. */
  decodeFrom(bytes: Buffer, version: number): MessageOf<D> {
    return this.decode(new Reader(bytes), version)
  }

  encodeToBuffer(message: DraftOf<D>, version: number): Buffer {
    const writer = new Writer(1024)
    this.encode(writer, message, version)
    return writer.takeBuffer()
  }

  /** The program that does it, for whoever wants to read it. */
  source(direction: 'decode' | 'encode', version: number): string {
    return codecSource(direction, this.definition.fields, version, this.isFlexible(version))
  }

  #compileDecoder(version: number): Decoder<D> {
    const { name } = this.definition
    if (!this.has(version)) {
      throw new DecodeError(
        { code: 'UNSUPPORTED_VERSION', message: name, version },
        `${name} has no version ${version}`,
      )
    }
    const make = new Function('EMPTY', this.source('decode', version)) as (empty: Buffer) => Decoder<D>
    const decoder = make(EMPTY)
    this.#decoders[version] = decoder
    return decoder
  }

  #compileEncoder(version: number): Encoder<D> {
    const { name } = this.definition
    if (!this.has(version)) {
      throw new EncodeError(
        { code: 'UNSUPPORTED_VERSION', message: name, version },
        `${name} has no version ${version}`,
      )
    }
    const nullNotAllowed = (field: string): never => {
      const what = `${name} v${version}: ${field} cannot be null in this version`
      throw new EncodeError({ code: 'NULL_NOT_ALLOWED', message: name, version, field }, what)
    }
    const make = new Function('EMPTY', 'nullNotAllowed', this.source('encode', version)) as (
      empty: Buffer,
      fail: (field: string) => never,
    ) => Encoder<D>
    const encoder = make(EMPTY, nullNotAllowed)
    this.#encoders[version] = encoder
    return encoder
  }
}
