/** Every kind of fault there is, by its name. A new kind joins a family; nothing else knows kinds by heart. */
import type { Fault } from '../scenario/scenario.ts'
import { clockFaults } from './clocks.ts'
import { directedFaults } from './directed.ts'
import { diskFaults } from './disk.ts'
import type { Draws, Injection } from './injection.ts'
import { networkFaults } from './network.ts'
import { processFaults } from './process.ts'
import { streamFaults } from './streams.ts'

/** The tables are exact by kind; whoever goes through all of them needs one signature. */
interface AnyFault {
  draw(draws: Draws): Fault
  inject(fault: Fault, at: Injection): boolean
}

export const FAULTS = {
  ...processFaults,
  ...networkFaults,
  ...streamFaults,
  ...diskFaults,
  ...clockFaults,
  ...directedFaults,
} as unknown as Readonly<Record<Fault['kind'], AnyFault>>
