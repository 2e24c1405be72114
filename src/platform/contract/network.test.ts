import { nodePlatform } from '../nodejs/index.ts'
import { realDrive } from './drive.ts'
import { memoryNetworkUnderTest } from './memory.ts'
import { networkContract } from './network.ts'

networkContract('node.js network', async () => {
  const highWaterBytes = 1024 * 1024
  const { clock, network } = nodePlatform({ network: { highWaterBytes } })
  return { drive: realDrive(clock), client: network, server: network, serverHost: '127.0.0.1', highWaterBytes }
})

networkContract('memory network', async () => {
  const { clock, random } = nodePlatform()
  return memoryNetworkUnderTest({ clock, drive: realDrive(clock), random })
})
