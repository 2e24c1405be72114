/** Good histories of registers, made wrong: by values, and by indexes. */
import { isOf, type Operation, type OperationOf, type Output } from './history.ts'
import { answering, changed, isKnown, type Mutation, pair, surelyBefore } from './mutations-harness.test.ts'

type Read = OperationOf<'read'>
type Write = OperationOf<'write'>
type Cas = OperationOf<'cas'>

const reads = (history: readonly Operation[]): Read[] => history.filter((each) => isOf(each, 'read')).filter(isKnown)
const writes = (history: readonly Operation[]): Write[] => history.filter((each) => isOf(each, 'write')).filter(isKnown)
const applied = (history: readonly Operation[]): Cas[] =>
  history.filter((each) => isOf(each, 'cas')).filter(({ output }) => output?.applied === true)
const keyOf = ({ input }: Operation): string =>
  input.f === 'read' || input.f === 'write' || input.f === 'cas' ? input.key : ''
const sameKey = (a: Operation, b: Operation): boolean => keyOf(a) === keyOf(b)
const seen = (read: Read): string | null => read.output!.value
const reading = (read: Read, value: string | null): Operation => answering(read, { ...read.output!, value })

/** One more operation on the key of two reads, after the first and before the last: what both saw was there. */
function between(first: Read, last: Read, output: Output & { readonly f: 'read' | 'cas' }): Operation {
  const call = first.return + 1
  const key = keyOf(first)
  const input =
    output.f === 'read'
      ? ({ f: 'read', key } as const)
      : ({ f: 'cas', key, expected: seen(first), value: 'never' } as const)
  return { id: 1_000_000, process: 'between', call, return: Math.min(call + 1, last.call - 0.5), input, output }
}

/** Wrong for anybody who looks at calls, returns and values. */
export const REGISTER_MUTATIONS: Readonly<Record<string, Mutation>> = {
  'stale read': (history, prng) => {
    const found = pair(
      prng,
      writes(history),
      writes(history),
      (old, young) => sameKey(old, young) && surelyBefore(old, young),
    )
    if (found === null) return null
    const read = reads(history).find((each) => sameKey(each, found[1]) && surelyBefore(found[1], each))
    return read === undefined ? null : changed(history, reading(read, found[0].input.value))
  },
  'read of a value that nobody wrote': (history, prng) => {
    const all = reads(history)
    return all.length === 0 ? null : changed(history, reading(all[prng.below(all.length)]!, 'nobody'))
  },
  'read before the write': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      writes(history),
      (read, write) => sameKey(read, write) && surelyBefore(read, write),
    )
    return found === null ? null : changed(history, reading(found[0], found[1].input.value))
  },
  'read of nothing after a write': (history, prng) => {
    const found = pair(
      prng,
      writes(history),
      reads(history),
      (write, read) => sameKey(read, write) && surelyBefore(write, read),
    )
    return found === null ? null : changed(history, reading(found[1], null))
  },
  'read of a refused write': (history, prng) => {
    const refused = history
      .filter((each) => isOf(each, 'write'))
      .filter((each) => !isKnown(each) && Number.isFinite(each.return))
    const found = pair(prng, refused, reads(history), sameKey)
    return found === null ? null : changed(history, reading(found[1], found[0].input.value))
  },
  'read of another key': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      reads(history),
      (a, b) => !sameKey(a, b) && seen(a) !== null && seen(a) !== seen(b),
    )
    return found === null ? null : changed(history, reading(found[1], seen(found[0])))
  },
  'two reads swapped': (history, prng) => {
    const written = new Map(writes(history).map((write) => [write.input.value, write]))
    const found = pair(prng, reads(history), reads(history), (a, b) => {
      const [old, young] = [written.get(seen(a) ?? ''), written.get(seen(b) ?? '')]
      return sameKey(a, b) && surelyBefore(a, b) && old !== undefined && young !== undefined && surelyBefore(old, young)
    })
    return found === null
      ? null
      : changed(history, reading(found[0], seen(found[1])), reading(found[1], seen(found[0])))
  },
  'new, then old': (history, prng) => {
    // Between two reads of one value nothing else can have been there.
    const found = pair(
      prng,
      reads(history),
      reads(history),
      (a, b) => sameKey(a, b) && a.return + 2 < b.call && seen(a) === seen(b) && seen(a) !== null,
    )
    if (found === null) return null
    const [first, last] = found
    const other = writes(history).find((each) => sameKey(each, first) && each.input.value !== seen(first))
    return other === undefined
      ? null
      : [...history, between(first, last, { f: 'read', value: other.input.value, index: first.output!.index! })]
  },
  'a write is forgotten': (history, prng) => {
    const found = pair(
      prng,
      writes(history),
      reads(history),
      (write, read) => sameKey(write, read) && seen(read) === write.input.value,
    )
    return found === null ? null : history.filter(({ id }) => id !== found[0].id)
  },
  'a write that was read is refused': (history, prng) => {
    const found = pair(
      prng,
      writes(history),
      reads(history),
      (write, read) => sameKey(write, read) && seen(read) === write.input.value,
    )
    return found === null ? null : changed(history, { ...found[0], output: null })
  },
  'a write begins after it was read': (history, prng) => {
    const found = pair(
      prng,
      writes(history),
      reads(history),
      (write, read) => sameKey(write, read) && seen(read) === write.input.value,
    )
    if (found === null) return null
    const [write, read] = found
    return changed(history, { ...write, call: read.return + 1, return: read.return + 2 })
  },
  'a lost write takes effect twice': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      writes(history),
      (read, write) => sameKey(read, write) && seen(read) !== null && surelyBefore(read, write),
    )
    if (found === null) return null
    const [first, between] = found
    const again = reads(history).find((each) => sameKey(each, first) && surelyBefore(between, each))
    return again === undefined ? null : changed(history, reading(again, seen(first)))
  },
  'cas from a wrong value': (history, prng) => {
    const all = applied(history)
    if (all.length === 0) return null
    const cas = all[prng.below(all.length)]!
    return changed(history, { ...cas, input: { ...cas.input, expected: 'nobody' } })
  },
  'two cas from one value': (history, prng) => {
    const found = pair(prng, applied(history), applied(history), (a, b) => sameKey(a, b) && a.input.expected !== null)
    if (found === null) return null
    const [a, b] = found
    return changed(history, { ...b, input: { ...b.input, expected: a.input.expected } })
  },
  'cas denied, the value being there': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      reads(history),
      (a, b) => sameKey(a, b) && a.return + 2 < b.call && seen(a) === seen(b) && seen(a) !== null,
    )
    if (found === null) return null
    const [first, last] = found
    return [...history, between(first, last, { f: 'cas', applied: false, index: first.output!.index! })]
  },
  'a cas that applied is undone': (history, prng) => {
    const found = pair(
      prng,
      applied(history),
      reads(history),
      (cas, read) => sameKey(cas, read) && cas.input.expected !== null && surelyBefore(cas, read),
    )
    return found === null ? null : changed(history, reading(found[1], found[0].input.expected))
  },
  'a cas that was denied took effect': (history, prng) => {
    const denied = history.filter((each) => isOf(each, 'cas')).filter(({ output }) => output?.applied === false)
    const found = pair(prng, denied, reads(history), sameKey)
    return found === null ? null : changed(history, reading(found[1], found[0].input.value))
  },
}

type Indexed = Read | Write | Cas
const indexed = (history: readonly Operation[]): Indexed[] =>
  history.filter(
    (each): each is Indexed => (isOf(each, 'read') || isOf(each, 'write') || isOf(each, 'cas')) && isKnown(each),
  )
const isWrite = (operation: Indexed): boolean =>
  operation.input.f === 'write' || (operation.output?.f === 'cas' && operation.output.applied)
const indexOf = (operation: Indexed): number => operation.output!.index!
const at = (operation: Indexed, index: number): Operation => answering(operation, { ...operation.output!, index })

/** Wrong for those who look at indexes; by values alone some of them could be explained. */
export const INDEX_MUTATIONS: Readonly<Record<string, Mutation>> = {
  'one index for two writes': (history, prng) => {
    const all = indexed(history).filter(isWrite)
    const found = pair(prng, all, all, () => true)
    return found === null ? null : changed(history, at(found[1], indexOf(found[0])))
  },
  'an index below what was known': (history, prng) => {
    const all = indexed(history)
    const found = pair(prng, all, all, (a, b) => surelyBefore(a, b) && indexOf(a) > 1)
    return found === null ? null : changed(history, at(found[1], indexOf(found[0]) - 1))
  },
  'a write at an index that was read': (history, prng) => {
    const found = pair(
      prng,
      indexed(history),
      indexed(history).filter(isWrite),
      (a, b) => surelyBefore(a, b) && indexOf(a) > 0,
    )
    return found === null ? null : changed(history, at(found[1], indexOf(found[0])))
  },
  'another value at the index': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      writes(history),
      (read, write) => sameKey(read, write) && indexOf(write) > indexOf(read),
    )
    return found === null ? null : changed(history, reading(found[0], found[1].input.value))
  },
  'a read that stands beyond a later write': (history, prng) => {
    const found = pair(
      prng,
      reads(history),
      writes(history),
      (read, write) => sameKey(read, write) && seen(read) !== write.input.value && indexOf(write) > indexOf(read),
    )
    return found === null ? null : changed(history, at(found[0], indexOf(found[1])))
  },
  'two writes change places': (history, prng) => {
    const all = indexed(history).filter(isWrite)
    const found = pair(prng, all, all, surelyBefore)
    return found === null ? null : changed(history, at(found[0], indexOf(found[1])), at(found[1], indexOf(found[0])))
  },
  'an answer without an index': (history, prng) => {
    const all = indexed(history)
    const one = all[prng.below(all.length)]!
    const { index: _, ...output } = one.output!
    return changed(history, answering(one, output as Output))
  },
}
