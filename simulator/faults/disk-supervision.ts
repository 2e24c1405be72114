/**
 * Who looks after machines whose node has given up because of its disk: what a service manager does, and an operator.
 *
 * A node that stopped for something that passes (a full disk, an error of the device) is started again, and again, until it stays
 * up. One whose disk has lost what nobody gives back is left alone once it has said so: starting it again would say the same, and a
 * machine that comes and goes is no longer needed by anybody. It counts as impaired until the end.
 */
import type { Injection } from './injection.ts'

const RESTART_AFTER_MS = 500

export function superviseDisks(at: Injection): void {
  for (const machine of at.world.machines) {
    const { id, troubles } = machine
    troubles.onStopped = ({ afterStop }) => {
      if (machine.state === 'down') return
      at.budget.impair(id)
      at.world.crash(id, { power: afterStop?.power ?? false })
      if (troubles.isLost) {
        at.world.note(id, 'is left alone: its disk is damaged')
        return
      }
      at.backAfter(id, afterStop?.downMs ?? RESTART_AFTER_MS)
    }
  }
}
