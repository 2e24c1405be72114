import { test } from 'node:test'
import { fuzz } from './log-files.fuzz.ts'

test('log: no command chokes on damaged files, or passes what a node refuses', { timeout: 120_000 }, async () => {
  await fuzz(1, 600)
  await fuzz(Date.now() & 0xffff, 200)
})
