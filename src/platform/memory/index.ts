/** A disk and a network inside the process. */
export { type DiskFault, type DiskOperation, MemoryDisk, type MemoryDiskOptions } from './disk.ts'
export { MemoryNetwork, type MemoryNetworkCollaborators, type MemoryNetworkOptions } from './network.ts'
