/**
 * The worked examples of docs/formats, decoded by the product: every page has at least one, and a page that drifts from the code
 * fails here.
 */
import { strict as assert } from 'node:assert'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeConfirm, decodeHello, decodeRefusal } from '../src/cluster/handshake.ts'
import { decodeControl } from '../src/cluster/peer-messages.ts'
import { decodeData } from '../src/cluster/peer-messages-data.ts'
import {
  CONTROL_FRAME_BYTES_MAX,
  FrameKind,
  FrameReader,
  HANDSHAKE_VERSION,
  WIRE_VERSION_MAX,
} from '../src/cluster/peer-wire.ts'
import { DECODERS, encoded, type Found, written } from './doc-formats/decoders.ts'
import { type Example, examplesIn } from './doc-formats/examples.ts'

const FOLDER = 'docs/formats'
/** Its examples are frames: what they hold depends on their kind. */
const WIRE = 'peer-wire.md'

const pages = readdirSync(FOLDER).filter((name) => name.endsWith('.md'))
const page = (name: string): string => readFileSync(`${FOLDER}/${name}`, 'utf8')

test('docs: every page of formats has an example that is decoded here', () => {
  for (const name of pages) {
    const decoders = name === WIRE ? 1 : (DECODERS[name]?.length ?? 0)
    assert.ok(decoders > 0, `${name}: no example of it is decoded`)
    assert.ok(examplesIn(page(name)).length >= decoders, `${name}: an example is missing`)
  }
  for (const name of Object.keys(DECODERS)) assert.ok(pages.includes(name), `${name} is gone`)
})

for (const [name, decoders] of Object.entries(DECODERS)) {
  test(`docs: the examples of ${name}`, () => {
    const examples = examplesIn(page(name))
    assert.equal(examples.length, decoders.length, 'each example has its decoder')
    const earlier: Buffer[] = []
    for (const [i, example] of examples.entries()) {
      agree(example, decoders[i]!(example.bytes, earlier), `${name}, example ${i + 1}`)
      earlier.push(example.bytes)
    }
  })
}

/** Field by field: the same names in the same order, and each with the bytes, and the value, that the decoder found. */
function agree(example: Example, found: readonly Found[], where: string): void {
  assert.deepEqual(
    example.fields.map(({ label }) => label),
    found.map(([label]) => label),
    where,
  )
  for (const [i, { label, value, bytes }] of example.fields.entries()) {
    const field = found[i]!
    assert.equal(bytes.toString('hex'), encoded(field, bytes.length).toString('hex'), `${where}: the bytes of ${label}`)
    if (value !== null) assert.equal(value, written(field), `${where}: the value of ${label}`)
  }
}

test(`docs: the frames of ${WIRE}`, () => {
  let beats = 0
  for (const { bytes, fields } of examplesIn(page(WIRE))) {
    const said = (word: string): number | null => {
      const text = fields
        .map(({ label, value }) => `${label} ${value ?? ''}`)
        .find((each) => each.startsWith(`${word} `))
      return text === undefined ? null : Number(/\d+/.exec(text)?.[0])
    }
    let frames = 0
    const reader = new FrameReader({
      frame: (kind, stamp, frame) => {
        frames++
        if (said('stamp') !== null) assert.equal(stamp, said('stamp'))
        if (said('length') !== null) assert.equal(frame.length, said('length'))
        if (kind !== FrameKind.control) return assert.ok(bodyDecodes(kind, frame), `a body of kind ${kind}`)
        const refuse = (): never => assert.fail('an item that is no beat')
        const others = { message: refuse, beatReply: refuse, request: refuse, response: refuse, leading: refuse }
        const beat = (number: number): void => {
          beats++
          assert.equal(number, said('number'))
        }
        assert.equal(decodeControl(frame, { closed: false, ...others, leadsNoLonger: refuse, beat }), null)
      },
    })
    reader.limitBytes = CONTROL_FRAME_BYTES_MAX
    // A reader takes the frames of the handshake, which carry version 0, only until a version was agreed on.
    reader.version = bytes[8] === HANDSHAKE_VERSION ? HANDSHAKE_VERSION : WIRE_VERSION_MAX
    assert.equal(reader.push(bytes), null, 'the frame reader takes it')
    assert.deepEqual([frames, reader.inFrame], [1, false], 'one whole frame')
  }
  assert.ok(beats > 0, 'the page shows a beat')
})

function bodyDecodes(kind: FrameKind, frame: Buffer): boolean {
  if (kind === FrameKind.hello || kind === FrameKind.welcome) return decodeHello(frame) !== null
  if (kind === FrameKind.refusal) return decodeRefusal(frame) !== null
  if (kind === FrameKind.confirm) return decodeConfirm(frame) !== null
  return decodeData(frame, { closed: true } as never) === null
}
