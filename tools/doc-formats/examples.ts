/**
 * The worked examples in docs/formats: a fenced block whose lines are bytes and what they mean.
 *
 *     0008: ea 7a d2 48   | crc = 48d27aea
 *     0009: 03            | kind = 3 (data)
 *     0058: 00 00         |                        more of the field above
 *
 * The offset may be left out, and two spaces stand for the bar. `= value` is optional; what is in brackets is for the reader.
 */
export interface Field {
  readonly at: number
  readonly label: string
  /** Null where the page says nothing. */
  readonly value: string | null
  readonly bytes: Buffer
}

export interface Example {
  readonly fields: readonly Field[]
  readonly bytes: Buffer
}

const LINE = /^\s*(?:([0-9a-f]{4}):\s+)?([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:\s*\|\s*|\s{2,}|$)(.*)$/

/** Blocks of a page all of whose lines are bytes. */
export function examplesIn(page: string): Example[] {
  const blocks = [...page.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map(([, text]) => text!.trimEnd().split('\n'))
  return blocks.filter((lines) => lines.every((line) => LINE.test(line))).map(exampleOf)
}

function exampleOf(lines: readonly string[]): Example {
  const fields: { at: number; label: string; value: string | null; bytes: Buffer }[] = []
  let at = 0
  for (const line of lines) {
    const [, offset, hex, text] = LINE.exec(line)!
    const bytes = Buffer.from(hex!.replaceAll(' ', ''), 'hex')
    if (offset !== undefined && Number.parseInt(offset, 16) !== at)
      throw new Error(`${line}: this is byte ${at.toString(16)}`)
    if (text === '') {
      const last = fields.at(-1)!
      last.bytes = Buffer.concat([last.bytes, bytes])
    } else {
      const [label, ...value] = text!.replace(/\s*\(.*\)$/, '').split(' = ')
      fields.push({ at, label: label!, value: value.length === 0 ? null : value.join(' = '), bytes })
    }
    at += bytes.length
  }
  return { fields, bytes: Buffer.concat(fields.map(({ bytes }) => bytes)) }
}
