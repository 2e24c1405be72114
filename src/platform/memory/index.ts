/** A disk and a network inside the process. */
export type { DiskCall, DiskCondition, DiskFault, DiskOperation, DiskTrouble } from './condition.ts'
export { MemoryDisk, type MemoryDiskOptions } from './disk.ts'
export { MemoryNetwork, type MemoryNetworkCollaborators, type MemoryNetworkOptions } from './network.ts'
export type { SectorLoss } from './pages.ts'
export { Platter, type PlatterFile } from './platter.ts'
