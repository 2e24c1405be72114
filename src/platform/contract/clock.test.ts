import { nodePlatform } from '../nodejs/index.ts'
import { clockContract } from './clock.ts'
import { realDrive } from './drive.ts'

clockContract('node.js clock', () => {
  const { clock } = nodePlatform()
  return { clock, drive: realDrive(clock) }
})
