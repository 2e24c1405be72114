import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../stdx/index.ts'
import { decodeSnapshot, encodeSnapshotBody, headOf, type Snapshot } from './snapshot.ts'
import { SnapshotReceiving } from './snapshot-receiving.ts'

function snapshot(prng: Prng): Snapshot {
  const epochs = [{ term: 1 + prng.below(3), firstIndex: 1 + prng.below(3), firstOffset: 0 }]
  while (prng.below(3) > 0) {
    const { term, firstIndex, firstOffset } = epochs.at(-1)!
    epochs.push({
      term: term + 1,
      firstIndex: firstIndex + 1 + prng.below(5),
      firstOffset: firstOffset + prng.below(9),
    })
  }
  const { term: entryTerm, firstIndex } = epochs.at(-1)!
  const [index, nextOffset] = [firstIndex + prng.below(100), prng.below(1000)]
  const [configuration, state] = [prng.bytes(prng.below(30)), prng.bytes(prng.below(300))]
  const cleanedFrom = prng.below(2) === 0 || nextOffset === 0 ? null : prng.below(nextOffset)
  const place = { index, entryTerm, crc: prng.uint32(), nextOffset, stamp: prng.below(9999) }
  return { ...place, epochs, configuration, cleanedFrom, state }
}

test('snapshots: what arrives is what was sent, in chunks of any size, duplicates and strays included', () => {
  const prng = new Prng('snapshots')
  for (let round = 0; round < 200; round++) {
    const sent = snapshot(prng)
    const body = encodeSnapshotBody(sent)
    const receiving = new SnapshotReceiving(headOf(sent, body))
    while (!receiving.complete) {
      const at = prng.below(4) === 0 ? prng.below(body.length) : receiving.received
      const lent = Buffer.from(body.subarray(at, at + 1 + prng.below(50)))
      receiving.take(at, lent)
      lent.fill(0xdb)
    }
    assert.deepEqual(receiving.finish(), sent)
  }
})

test('snapshots: a body that was changed, cut short or summed by somebody else is refused', () => {
  const prng = new Prng('damaged snapshots')
  for (let round = 0; round < 500; round++) {
    const sent = snapshot(prng)
    const body = encodeSnapshotBody(sent)
    const head = headOf(sent, body)
    const damaged = Buffer.from(body)
    const at = prng.below(body.length)
    damaged[at] = damaged[at]! ^ (1 << prng.below(8))
    assert.equal(decodeSnapshot(head, damaged), null)
    assert.equal(decodeSnapshot(head, body.subarray(0, at)), null)
    // A right sum over wrong bytes: never a throw, and never epochs that a log could not have.
    const forged = decodeSnapshot(headOf(sent, damaged), damaged)
    if (forged !== null) assert.equal(forged.epochs.at(-1)!.term, sent.entryTerm)
    decodeSnapshot(headOf(sent, body.subarray(0, at)), body.subarray(0, at))
  }
})
