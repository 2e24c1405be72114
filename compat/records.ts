/** What the checks send, and the comparison with what came back: byte for byte, per partition in order. */
import { type Incoming, type Outgoing, PARTITIONS } from './driver.ts'

export function fromStart(): Map<number, number> {
  return new Map([0, 1, 2, 3].map((partition) => [partition, 0]))
}

/** Keyed, spread over the partitions, compressible, and with every kind of byte in it. */
export function records(label: string, count: number): Outgoing[] {
  return Array.from({ length: count }, (_, i) => ({
    partition: i % PARTITIONS,
    key: Buffer.from(`${label}-key-${i}`),
    value: Buffer.concat([
      Buffer.from(`${label} ${i} `),
      Buffer.from([0, 10, 13, 0xff, 0x80]),
      Buffer.alloc(120, label),
    ]),
  }))
}

/** Bytes that no codec shortens, and the same each time. */
export function noise(bytes: number, seed: number): Buffer {
  const result = Buffer.allocUnsafe(bytes)
  let state = seed
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    // A mark between records of kcat's input must not come about by chance.
    result[i] = (state >>> 24) & 0x7f || 1
  }
  return result
}

export function identity({ partition, offset }: Incoming): string {
  return `${partition}/${offset}`
}

export function textOf({ value }: Outgoing): string {
  return value?.toString('latin1') ?? '(null)'
}

/** Per partition the same records in the same order. */
export function sameRecords(found: readonly Incoming[], expected: readonly Outgoing[], who: string): void {
  for (const partition of new Set([...found, ...expected].map((record) => record.partition))) {
    const [got, wanted] = [found, expected].map((list) =>
      list.filter((record) => record.partition === partition),
    ) as unknown as [readonly Incoming[], readonly Outgoing[]]
    for (let i = 0; i < Math.max(got.length, wanted.length); i++) {
      const [a, b] = [got[i], wanted[i]]
      if (a !== undefined && b !== undefined && sameBytes(a.key, b.key) && sameBytes(a.value, b.value)) continue
      const counts = `${got.length} records, ${wanted.length} were expected`
      throw new Error(`partition ${partition}: ${who} ${counts}; number ${i} is ${shown(a)}, not ${shown(b)}`)
    }
  }
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b)
}

function shown(record: Outgoing | undefined): string {
  if (record === undefined) return 'missing'
  const short = (bytes: Buffer | null) => (bytes === null ? 'null' : JSON.stringify(bytes.toString('latin1', 0, 40)))
  return `${short(record.key)} = ${short(record.value)} (${record.value?.length ?? 0} bytes)`
}

export function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise)
}
