/**
 * What a device can do wrong with one call, as data. A disk that is told to misbehave asks its `DiskCondition` before each call
 * takes effect; the answer is one of the ways in which real ones fail:
 *
 *     fail       the call does nothing and says so                                  (EIO, ENOSPC)
 *     short      a write takes the first bytes and fails                            (ENOSPC in the middle, EIO in the middle)
 *     hold       nothing is heard of it, nor of later calls for the same path, until `MemoryDisk.release`
 *     lie        a sync says yes and makes nothing durable                          (volatile write cache, lying virtual disk)
 *     lose       a write says yes and changes nothing                               (stale sector)
 *     misdirect  a write says yes and lands at another place of the file
 *     flip       a read brings one bit wrong; what lies on the disk is right        (controller, cable, memory)
 *
 * (Bairavasundaram et al., FAST '08, measured most of these in the field; Alagappan et al., OSDI '16, what replicated stores make
 * of them.) A verdict that does not fit the operation changes nothing.
 */

export type DiskOperation =
  | 'makeDirectory'
  | 'list'
  | 'open'
  | 'rename'
  | 'remove'
  | 'removeDirectory'
  | 'syncDirectory'
  | 'space'
  | 'claim'
  | 'write'
  | 'read'
  | 'datasync'
  | 'truncate'
  | 'size'
  | 'close'

/** Answers an errno (`EIO`, `ENOSPC`, …) to make this operation fail, or null. */
export type DiskFault = (operation: DiskOperation, path: string) => string | null

export interface DiskCall {
  readonly operation: DiskOperation
  readonly path: string
  /** Of reads and writes; otherwise 0. */
  readonly position: number
  readonly bytes: number
}

export type DiskTrouble =
  | { readonly kind: 'fail'; readonly errno: string }
  | { readonly kind: 'short'; readonly bytes: number; readonly errno: string }
  | { readonly kind: 'hold' }
  | { readonly kind: 'lie' }
  | { readonly kind: 'lose' }
  | { readonly kind: 'misdirect'; readonly position: number }
  /** `at`: which byte of those that were read. */
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }

export interface DiskCondition {
  troubleWith(call: DiskCall): DiskTrouble | null
}
