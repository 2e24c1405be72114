import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodePlatform } from '../nodejs/index.ts'
import { diskContract } from './disk.ts'
import { realDrive } from './drive.ts'
import { memoryDiskUnderTest } from './memory.ts'

diskContract('node.js disk', async () => {
  const { disk, clock } = nodePlatform()
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-disk-'))
  const close = (): Promise<void> => rm(directory, { recursive: true, force: true })
  return { disk, drive: realDrive(clock), directory, close }
})

diskContract('memory disk', async () => {
  const { clock, random } = nodePlatform()
  return memoryDiskUnderTest({ clock, drive: realDrive(clock), random })
})
