import assert from 'node:assert/strict'
import test from 'node:test'
import { jsonLine } from './print.ts'

test('print: a line of JSON holds nothing that a terminal obeys, and means what it was made of', () => {
  const everything = String.fromCharCode(...Array.from({ length: 0xd800 }, (_, code) => code))
  const line = jsonLine({ [everything]: everything })
  assert.doesNotMatch(line, /[\p{Cc}\u2028\u2029]/u)
  assert.deepEqual(JSON.parse(line), { [everything]: everything })
})
