/**
 * The real input: every line of the text files of this repository and of its installed dependencies, or of a file, or of
 * standard input. A line's key is the file it stands in, so order per key means: a file's lines come out in their order.
 */
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'

export interface Corpus {
  readonly name: string
  readonly keys: readonly string[]
  /** Line i belongs to `keys[keyOf[i]]`; the lines of a key are in their order. */
  readonly keyOf: Uint32Array
  readonly lines: readonly string[]
  readonly bytes: number
}

const TEXT = new Set([
  '.ts',
  '.mts',
  '.cts',
  '.js',
  '.mjs',
  '.cjs',
  '.json',
  '.md',
  '.txt',
  '.css',
  '.html',
  '.yml',
  '.yaml',
])
const LINE_BYTES_MAX = 512 << 10

export async function readCorpus(input: string | null): Promise<Corpus> {
  if (input === null) return fromFiles(process.cwd())
  const stream = input === '-' ? process.stdin : fs.createReadStream(input)
  const lines: string[] = []
  for await (const line of readline.createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }))
    lines.push(line)
  // A single stream has no files; sixteen keys keep the order checkable and the partitions busy.
  const keys = Array.from({ length: 16 }, (_, i) => `${input === '-' ? 'stdin' : path.basename(input)}#${i}`)
  return build(input === '-' ? 'standard input' : input, keys, lines, (i) => i % keys.length)
}

function fromFiles(root: string): Corpus {
  const keys: string[] = []
  const lines: string[] = []
  const keyOf: number[] = []
  for (const file of textFiles(root)) {
    const text = fs.readFileSync(path.join(root, file), 'utf8')
    if (text.length === 0) continue
    const key = keys.push(file) - 1
    for (const line of text.split('\n')) {
      lines.push(line)
      keyOf.push(key)
    }
  }
  return build(root, keys, lines, (i) => keyOf[i]!)
}

function* textFiles(root: string): Generator<string> {
  const pending = ['']
  while (pending.length > 0) {
    const folder = pending.pop()!
    const names = fs
      .readdirSync(path.join(root, folder), { withFileTypes: true })
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const name of names) {
      const relative = path.join(folder, name.name)
      if (name.isDirectory()) {
        if (!name.name.startsWith('.') && name.name !== 'dist' && name.name !== 'tidemark-data') pending.push(relative)
      } else if (name.isFile() && TEXT.has(path.extname(name.name))) yield relative
    }
  }
}

function build(name: string, keys: readonly string[], lines: string[], key: (i: number) => number): Corpus {
  const keyOf = new Uint32Array(lines.length)
  let bytes = 0
  for (let i = 0; i < lines.length; i++) {
    keyOf[i] = key(i)
    bytes += lines[i]!.length
    if (lines[i]!.length > LINE_BYTES_MAX)
      throw new Error(
        `line ${i + 1} of ${keys[keyOf[i]!]} has ${lines[i]!.length} characters; the limit here is ${LINE_BYTES_MAX}`,
      )
  }
  return { name, keys, keyOf, lines, bytes }
}
