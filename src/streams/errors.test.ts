import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as platformatic from 'plt-kafka-2.12'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from './errors.ts'

test('codes, names and what clients retry are those of the clients', () => {
  const theirs = new Map(Object.values(platformatic.protocolErrors).map((one) => [one.code, one]))
  for (const { code, name, retriable } of KAFKA_ERRORS.values()) {
    assert.equal(theirs.get(code)?.id, name)
    if (code !== 0) assert.equal(theirs.get(code)?.canRetry, retriable, name)
    assert.equal(KafkaError[name], code)
    assert.equal(kafkaErrorName(code), name)
  }
})

test('every code has words', () => {
  for (const { code, message } of KAFKA_ERRORS.values()) assert.equal(message === '', code === 0)
  assert.equal(kafkaErrorName(999), 'error 999')
})
