/** ListOffsets: what one request may cost. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type Asker, KafkaError, type OffsetDone } from '../../../streams/index.ts'
import type { HandlerContext } from './context.ts'
import { listOffsets } from './offsets.ts'

interface Answered {
  readonly topics: readonly { name: string; partitions: readonly { timestamp: number }[] }[]
}

test('what a request asks of a partition several times is looked up once, and told as often as it was asked', () => {
  const asked: [string, number, number][] = []
  const answers: (() => void)[] = []
  const partition = (name: string) => ({
    restoring: false,
    listOffset: (timestamp: number, leaderEpoch: number, done: OffsetDone, asker: Asker) => {
      asked.push([name, timestamp, leaderEpoch])
      assert.equal(asker, exchange, 'who asks is not known')
      answers.push(() => done(KafkaError.NONE, asked.length, timestamp, 1))
    },
  })
  const all = { tides: partition('tides'), waves: partition('waves') }
  const exchange = {
    apiVersion: 6,
    isOpen: true,
    answer: null as Answered | null,
    respond: (answer: Answered): void => {
      exchange.answer = answer
    },
  }
  const context = {
    streams: { find: (name: keyof typeof all) => all[name] },
    cluster: { topic: () => ({ partitions: [{}] }) },
  }
  const of = (timestamp: number, currentLeaderEpoch = -1) => ({ partitionIndex: 0, timestamp, currentLeaderEpoch })
  const topics = [
    { name: 'tides', partitions: [of(7), of(7), of(8), of(7, 3)] },
    { name: 'tides', partitions: [of(7)] },
    { name: 'waves', partitions: [of(7)] },
  ]
  listOffsets(context as unknown as HandlerContext, exchange as never, { topics } as never)
  assert.deepEqual(asked, [
    ['tides', 7, -1],
    ['tides', 8, -1],
    ['tides', 7, 3],
    ['waves', 7, -1],
  ])
  assert.equal(exchange.answer, null)
  for (const answer of answers) answer()
  assert.deepEqual(
    exchange.answer!.topics.map(({ name, partitions }) => [name, partitions.map(({ timestamp }) => timestamp)]),
    [
      ['tides', [7, 7, 8, 7]],
      ['tides', [7]],
      ['waves', [7]],
    ],
  )
})
