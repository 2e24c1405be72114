import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abandoned, mountsBelow } from './leftovers.ts'

test('only directories of ours are abandoned, and only when their process is no more', () => {
  const names = [
    'tidemark-powerloss-12-abc',
    'tidemark-powerloss-34-def',
    'tidemark-soak-12',
    'powerloss-12-x',
    'sem.x',
  ]
  assert.deepEqual(
    abandoned(names, (pid) => pid === 34),
    ['tidemark-powerloss-12-abc'],
  )
})

test('mounts below the directory, the last first; none beside it', () => {
  const mounts = `tmpfs /dev/shm tmpfs rw 0 0
/dev/loop0 /dev/shm/run-1/disk-1 ext4 rw 0 0
/dev/loop1 /dev/shm/run-1/disk-2 xfs rw 0 0
/dev/loop2 /dev/shm/run-12/disk-1 ext4 rw 0 0
`
  assert.deepEqual(mountsBelow(mounts, '/dev/shm/run-1'), ['/dev/shm/run-1/disk-2', '/dev/shm/run-1/disk-1'])
})
