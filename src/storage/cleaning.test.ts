import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { fuzz } from './cleaning.fuzz.ts'

test('compaction: whatever the history, a reader finds what the twin says (100 histories, crashes included)', () => {
  const counts = fuzz(1, 100)
  assert.ok(counts.cleanings > 250 && counts.crashes > 30 && counts.dropped > 1000, JSON.stringify(counts))
})
