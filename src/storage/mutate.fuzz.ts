/** Damage as disks and networks do it: flipped bits, overwritten ranges, moved and cut pieces, boundary values in length fields. */
import { Prng } from '../stdx/index.ts'

const BOUNDARIES = [0, 1, 0x7f, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 64, 4096, 1 << 27]

export function mutate(bytes: Buffer, prng: Prng): Buffer {
  let out = Buffer.from(bytes)
  for (let times = 1 + prng.below(3); times > 0 && out.length > 0; times--) {
    const at = prng.below(out.length)
    switch (prng.below(6)) {
      case 0:
        out[at]! ^= 1 << prng.below(8)
        break
      case 1:
        out.set(prng.bytes(Math.min(1 + prng.below(64), out.length - at)), at)
        break
      case 2:
        out = out.subarray(0, at)
        break
      case 3:
        if (out.length - at >= 4) out.writeUInt32LE(BOUNDARIES[prng.below(BOUNDARIES.length)]!, at)
        break
      case 4:
        out.copy(out, at, prng.below(out.length), out.length)
        break
      default:
        out = Buffer.concat([out.subarray(0, at), prng.bytes(prng.below(40)), out.subarray(at)])
    }
  }
  return out
}

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  for (let round = 0; round < rounds; round++) mutate(prng.bytes(prng.below(200)), prng)
}
