import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Background } from './background.ts'

test('background: reads before writes, two at a time, and what can wait only when there is nothing else', () => {
  const background = new Background()
  const begun: string[] = []
  const over = new Map<string, () => void>()
  const operation =
    (name: string) =>
    (finished: () => void): void => {
      begun.push(name)
      over.set(name, finished)
    }
  background.whenIdle(operation('scrub 1'))
  background.whenIdle(operation('scrub 2'))
  assert.deepEqual(begun, ['scrub 1'], 'one at a time')
  background.write(operation('write 1'))
  background.write(operation('write 2'))
  background.read(operation('read'))
  assert.deepEqual(begun, ['scrub 1', 'write 1'])
  over.get('scrub 1')!()
  over.get('write 1')!()
  assert.deepEqual(begun.slice(2), ['read', 'write 2'])
  over.get('read')!()
  assert.equal(begun.length, 4, 'something else is in flight')
  over.get('write 2')!()
  assert.deepEqual(begun.slice(4), ['scrub 2'])
  over.get('scrub 2')!()
  assert.deepEqual([background.inFlight, background.queued], [0, 0])
})

test('background: readers that always want more leave writes a place, and writes leave them one', () => {
  const background = new Background()
  const done = { read: 0, write: 0 }
  const inFlight: (() => void)[] = []
  const again = (kind: 'read' | 'write'): void =>
    background[kind]((finished) =>
      inFlight.push(() => {
        done[kind]++
        again(kind)
        finished()
      }),
    )
  for (let i = 0; i < 10; i++) again('read')
  for (let i = 0; i < 10; i++) again('write')
  for (let i = 0; i < 1000; i++) inFlight.shift()!()
  assert.ok(Math.min(done.read, done.write) > 400, JSON.stringify(done))
})

test('background: what is urgent goes before all other writes, and leaves reads their place', () => {
  const background = new Background(() => true)
  const begun: string[] = []
  const inFlight: (() => void)[] = []
  const operation =
    (name: string) =>
    (finished: () => void): void => {
      begun.push(name)
      inFlight.push(finished)
    }
  for (const name of ['write 1', 'write 2', 'write 3', 'write 4']) background.write(operation(name))
  background.write(operation('urgent 1'), true)
  background.write(operation('urgent 2'), true)
  background.read(operation('read 1'))
  background.read(operation('read 2'))
  assert.equal(background.queued, 6)
  while (inFlight.length > 0) inFlight.shift()!()
  assert.deepEqual(begun.slice(2, 6), ['read 1', 'urgent 1', 'read 2', 'urgent 2'])
  assert.deepEqual(begun.slice(6).sort(), ['write 3', 'write 4'])
})
