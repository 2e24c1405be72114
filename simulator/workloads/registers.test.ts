/** The registers' machine over a log that the test controls, and its client's suspicion. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Shard, Standing } from '../../src/replication/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import { type Entry, encodeEntry } from '../../src/storage/index.ts'
import type { ClientEvent } from '../observer.ts'
import { Gate } from '../revocable-platform.ts'
import type { Violation } from '../violation.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { RegisterClient, RegisterSeats } from './register-client.ts'
import { RegisterMachine, type RegisterOutcome } from './register-machine.ts'

const LEADER: Standing = { role: 'leader', term: 3, leader: 1, settled: true }
const FOLLOWER: Standing = { role: 'follower', term: 4, leader: 2, settled: false }

function shard(): Shard {
  return { id: 8, standing: LEADER, hasRoom: true, requestProposal() {} } as unknown as Shard
}

/** What the machine wants logged, as the next entry. */
function drafted(machine: RegisterMachine, index: number, firstOffset: number): Entry {
  const draft = machine.draft({ term: 3, firstOffset, stamp: 1 })
  assert.ok(draft !== null)
  machine.appended()
  const { kind, recordCount, payload } = draft
  return encodeEntry({ kind, shard: 8, term: 3, index, stamp: 1, firstOffset, recordCount, previousCrc: 0, payload })
}

test('registers: operations take effect in the order of the log, each with its place', () => {
  const machine = new RegisterMachine(shard())
  machine.roleChanged(LEADER)
  const outcomes: RegisterOutcome[] = []
  const note = (outcome: RegisterOutcome): void => void outcomes.push(outcome)
  machine.submit('a', { kind: 'read' }, note)
  machine.submit('a', { kind: 'write', value: '1' }, note)
  machine.submit('a', { kind: 'cas', expected: '2', value: '3' }, note)
  machine.submit('a', { kind: 'cas', expected: '1', value: '4' }, note)
  machine.submit('a', { kind: 'read' }, note)
  const entry = drafted(machine, 1, 10)
  assert.deepEqual(outcomes, [])
  machine.apply(entry)
  machine.applied()
  assert.deepEqual(outcomes, [
    { kind: 'read', value: null, index: 10 },
    { kind: 'written', index: 11 },
    { kind: 'unequal', index: 12 },
    { kind: 'written', index: 13 },
    { kind: 'read', value: '4', index: 14 },
  ])
})

test('registers: a follower applies the same, and a snapshot of one is the state of another', () => {
  const leader = new RegisterMachine(shard())
  leader.roleChanged(LEADER)
  leader.submit('b', { kind: 'write', value: '1' }, () => {})
  leader.submit('a', { kind: 'write', value: '2' }, () => {})
  const entry = drafted(leader, 1, 0)
  const follower = new RegisterMachine(shard())
  for (const machine of [leader, follower]) machine.apply(entry)
  assert.deepEqual(follower.snapshot(), leader.snapshot())
  const restored = new RegisterMachine(shard())
  restored.restore(follower.snapshot())
  assert.deepEqual(restored.snapshot(), leader.snapshot())
  assert.equal(restored.cutBySnapshot, true)
})

test('registers: who stops leading does not know what becomes of what it logged, and knows of what it did not', () => {
  const machine = new RegisterMachine(shard())
  const outcomes: string[] = []
  const note = (outcome: RegisterOutcome): void => void outcomes.push(outcome.kind)
  machine.submit('a', { kind: 'read' }, note)
  assert.deepEqual(outcomes, ['refused'])
  machine.roleChanged(LEADER)
  machine.submit('a', { kind: 'write', value: '1' }, note)
  drafted(machine, 1, 0)
  machine.submit('a', { kind: 'write', value: '2' }, note)
  machine.roleChanged(FOLLOWER)
  assert.deepEqual(outcomes, ['refused', 'unknown', 'refused'])
})

/** A client of one machine that answers with `outcome` whatever it is asked. */
function client(outcome: RegisterOutcome) {
  const clock = new VirtualClock()
  const violations: Violation[] = []
  const events: ClientEvent[] = []
  const seats = new RegisterSeats([1], 1)
  const machine = seats.specs(1, new Gate())[0]!.machine(shard()) as RegisterMachine
  machine.submit = (_key, _operation, done) => done(outcome)
  const options = { name: 'c', intervalMs: 10, keys: 1, latencyUs: [100, 200] as const }
  const collaborators = { seats, clock, prng: new Prng('c'), emit: (event: ClientEvent) => events.push(event) }
  const asks = new RegisterClient(options, { ...collaborators, violated: (violation) => violations.push(violation) })
  asks.start()
  return { clock, asks, violations, events }
}

test('registers: an answer to another question is noticed', () => {
  const { clock, violations } = client({ kind: 'written', index: 1 })
  clock.advance(1000)
  assert.equal(violations[0]?.property, 'registers are served')
})

test('registers: silence is an unknown outcome, refusals are none, and the last reads insist', () => {
  const { clock, asks, violations, events } = client({ kind: 'refused' })
  clock.advance(10_000)
  assert.ok(asks.outcomes.refused + asks.outcomes.unknown > 0)
  asks.stop()
  clock.advance(10_000)
  assert.equal(asks.drained, false)
  assert.match(asks.waitingFor, /c: read of r0 of shard 8|c: 1 reads of shard 8/)
  assert.deepEqual(violations, [])
  assert.ok(events.every((event) => event.type === 'register'))
})
