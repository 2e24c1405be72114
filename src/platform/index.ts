/**
 * The outside world as small interfaces: clock, disk, network, random. `nodejs/` is the real one and the only folder that
 * touches Node.js' own files, sockets, timers, clocks and randomness; `memory/` is a disk and a network inside the process,
 * for embedded clusters, tests and the simulator. `contract/` holds the suites that every implementation passes.
 */
export type * from './clock.ts'
export type * from './disk.ts'
export * from './errors.ts'
export type * from './network.ts'
export * from './pass-through.ts'
export type * from './platform.ts'
export type * from './random.ts'
