/**
 * The index beside a segment that was left, held against the segment. It says nothing that the segment does not say, so damage
 * here loses nothing: whoever opens the segment builds the index again. It is damage all the same.
 */
import type { DiskFile } from '../../platform/index.ts'
import type { Procedure } from '../procedure.ts'
import { decodeSegmentIndex, type SegmentSummary } from '../segment-format.ts'
import { glimpse, hex32, type Output } from './items.ts'
import { isTrouble, Source } from './source.ts'

/** More than any segment needs: a point is 32 bytes and stands for 64 KiB. */
const INDEX_BYTES_MAX = 64 << 20
const AFTER = 'nothing is lost: it is built again from its segment'
const ONE_OF_TWO = 'one of the two files is damaged: the segment says which'

/** `segment`: the file that it is the index of, and its length; null if that is not there. */
export function* readShardIndex(
  source: Source,
  segment: { file: DiskFile; bytes: number } | null,
  out: Output,
): Procedure<void> {
  const { size } = source
  const bytes = size > INDEX_BYTES_MAX ? yield* source.view(0, 72) : yield* source.view(0, size)
  const decoded = size > INDEX_BYTES_MAX ? 'range' : decodeSegmentIndex(bytes)
  if (typeof decoded === 'string') {
    const found =
      decoded === 'magic'
        ? glimpse(bytes)
        : decoded === 'short'
          ? `${size} bytes`
          : decoded === 'newer'
            ? `format ${bytes.readUInt16LE(14)}, which is newer than this program`
            : decoded === 'crc'
              ? `sum ${hex32(yield* source.sum(12, size))}`
              : `${size} bytes whose fields cannot be`
    const expected = decoded === 'crc' ? `bytes with the sum ${hex32(bytes.readUInt32LE(8))}` : 'the index of a segment'
    out.damage(0, size, { expected, found, after: AFTER })
    return out.end(0, 'damaged', AFTER, { bytes: size, is: 'unread' })
  }
  const { summary, index } = decoded
  const { segmentCrc, lastCrc, ...numbers } = summary
  out.header({ ...numbers, segmentCrc: hex32(segmentCrc), lastCrc: hex32(lastCrc) })
  const { points } = index
  for (let i = 0; i < points.length && !out.stopped; i += 4) {
    const [at, firstOffset, position, maxTimestampBefore] = points.slice(i, i + 4) as [number, number, number, number]
    out.emit({ type: 'point', index: at, firstOffset, position, maxTimestampBefore })
  }
  if (segment === null) out.note('its segment is not beside it')
  else {
    try {
      yield* compare(new Source(segment.file, segment.bytes), summary, points, out)
    } catch (error) {
      if (!isTrouble(error)) throw error
      // The damage is the segment's, and shown with it.
      out.note(`it was not held against its segment: ${error.message}`)
    }
  }
  out.end(size, 'end of the file', `${points.length / 4} points`, { bytes: 0, is: 'none' })
}

function* compare(segment: Source, summary: SegmentSummary, points: readonly number[], out: Output): Procedure<void> {
  const whole = { from: 0, to: 72 }
  if (segment.size !== summary.segmentBytes) {
    return out.damage(whole.from, whole.to, {
      expected: `a segment of ${summary.segmentBytes} bytes`,
      found: `${segment.size} bytes`,
      after: ONE_OF_TWO,
    })
  }
  const sum = yield* segment.sum(0, segment.size)
  if (sum !== summary.segmentCrc) {
    out.damage(whole.from, whole.to, {
      expected: `a segment with the sum ${hex32(summary.segmentCrc)}`,
      found: `sum ${hex32(sum)}`,
      after: ONE_OF_TWO,
    })
  }
  for (let i = 0; i < points.length && !out.stopped; i += 4) {
    const [index, offset, position] = points.slice(i, i + 3) as [number, number, number]
    const entry = yield* segment.entry(position, segment.size)
    if (typeof entry === 'object' && entry.index === index && entry.firstOffset === offset) continue
    const found = typeof entry === 'string' ? 'no whole entry' : `entry ${entry.index} at offset ${entry.firstOffset}`
    const from = 72 + i * 8
    out.damage(from, from + 32, {
      expected: `entry ${index}, offset ${offset} at byte ${position} of the segment`,
      found,
      after: AFTER,
    })
  }
}
