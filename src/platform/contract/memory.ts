/** The in-memory disk and network, prepared to suffer everything that the suites can provoke. */
import type { Clock } from '../clock.ts'
import type { Disk } from '../disk.ts'
import { MemoryDisk, MemoryNetwork, type MemoryNetworkOptions } from '../memory/index.ts'
import type { Random } from '../random.ts'
import type { DiskUnderTest } from './disk.ts'
import { answer, type Drive } from './drive.ts'
import type { NetworkUnderTest } from './network.ts'

export interface World {
  readonly clock: Clock
  readonly drive: Drive
  readonly random: Random
}

export async function memoryDiskUnderTest({ clock, drive, random }: World): Promise<DiskUnderTest> {
  const disk = new MemoryDisk({ capacityBytes: 16 * 1024 * 1024 }, { clock })
  const directory = 'machine/data'
  await answer(drive, (done) => disk.makeDirectory(directory, done))
  for (const parent of ['', 'machine']) await answer(drive, (done) => disk.syncDirectory(parent, done))
  return {
    disk,
    drive,
    directory,
    powerLoss: (current: Disk) => (current as MemoryDisk).powerLoss(random),
    limit: (bytes) => {
      disk.capacityBytes = disk.usedBytes + bytes
    },
    failNextSync: (current: Disk) => {
      const failing = current as MemoryDisk
      failing.fault = (operation) => {
        if (operation !== 'datasync') return null
        failing.fault = null
        return 'EIO'
      }
    },
  }
}

export async function memoryNetworkUnderTest(
  { clock, drive, random }: World,
  options: MemoryNetworkOptions = {},
): Promise<NetworkUnderTest> {
  const highWaterBytes = 1024 * 1024
  const network = new MemoryNetwork({ scribble: true, highWaterBytes, ...options }, { clock, random })
  return {
    drive,
    client: network.host('client'),
    server: network.host('server'),
    serverHost: 'server',
    highWaterBytes,
    cut: () => {
      network.cut('client', 'server')
      network.cut('server', 'client')
    },
    heal: () => network.heal(),
    reset: () => network.reset('client', 'server'),
  }
}
