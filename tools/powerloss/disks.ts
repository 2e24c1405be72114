/**
 * A disk per node: an image behind a loop device with a file system of its own, so that one node's power can be taken while the
 * others keep theirs. The images may lie in memory, because the power loss is the file system's and not the image's.
 *
 * The data directory is a folder inside the mount and not the mount itself: its own name is then one more thing that a node
 * must have made durable.
 */
import fs from 'node:fs'
import path from 'node:path'
import { command } from './commands.ts'
import type { PowerSwitch } from './power-switch.ts'

export type FileSystem = 'ext4' | 'xfs'

const IMAGE_BYTES = 1 << 30

interface Disk {
  readonly id: number
  readonly fileSystem: FileSystem
  readonly mount: string
  readonly device: string
}

export class Disks {
  readonly #disks: readonly Disk[]
  readonly #powerSwitch: PowerSwitch

  private constructor(disks: readonly Disk[], powerSwitch: PowerSwitch) {
    this.#disks = disks
    this.#powerSwitch = powerSwitch
  }

  /** Disks 1, 2, … with these file systems, mounted. */
  static async make(
    directory: string,
    fileSystems: readonly FileSystem[],
    powerSwitch: PowerSwitch,
    imageBytes = IMAGE_BYTES,
  ): Promise<Disks> {
    const disks: Disk[] = []
    for (const [i, fileSystem] of fileSystems.entries()) {
      const image = path.join(directory, `disk-${i + 1}.${fileSystem}`)
      fs.closeSync(fs.openSync(image, 'w'))
      fs.truncateSync(image, imageBytes)
      const device = (await command('losetup', '-f', '--show', image)).trim()
      await command(`mkfs.${fileSystem}`, '-q', device)
      const mount = path.join(directory, `disk-${i + 1}`)
      fs.mkdirSync(mount)
      await command('mount', device, mount)
      disks.push({ id: i + 1, fileSystem, mount, device })
    }
    return new Disks(disks, powerSwitch)
  }

  mountOf(id: number): string {
    return this.#disk(id).mount
  }

  fileSystemOf(id: number): FileSystem {
    return this.#disk(id).fileSystem
  }

  /** What is not on the disks now is gone, and they take nothing more. */
  async cut(ids: readonly number[]): Promise<void> {
    await this.#powerSwitch.off(ids.map((id) => this.mountOf(id)))
  }

  /** Nobody uses them any more. */
  async remount(ids: readonly number[]): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        const { device, mount } = this.#disk(id)
        await command('umount', mount)
        await command('mount', device, mount)
      }),
    )
  }

  #disk(id: number): Disk {
    const disk = this.#disks[id - 1]
    if (disk === undefined) throw new Error(`no disk ${id}`)
    return disk
  }
}
