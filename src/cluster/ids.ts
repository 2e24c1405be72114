/** Identities that are drawn once and kept for ever. Kafka's tools print them as base64url of 16 bytes. */
import type { Random } from '../platform/index.ts'

/** 22 characters. */
export function mintClusterId(random: Random): string {
  return draw(random).toString('base64url')
}

/** 32 hexadecimal digits. */
export function mintTopicId(random: Random): string {
  return draw(random).toString('hex')
}

/** 32 hexadecimal digits. */
export function mintRequestId(random: Random): string {
  return draw(random).toString('hex')
}

/**
 * A random UUID (RFC 9562, version 4), so never one of the reserved ones; bent where its printed form would begin with
 * '-' and look like a flag on a command line.
 */
function draw(random: Random): Buffer {
  const bytes = Buffer.from(random.bytes(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  // The first of the 22 characters is the upper six bits of the first byte, and '-' is 62.
  if (bytes[0]! >>> 2 === 62) bytes[0] = bytes[0]! & 0x7f
  return bytes
}
