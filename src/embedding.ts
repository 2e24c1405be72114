/** What every way of running a node has in common: the real platform, the page's files, this package's version. */
import type { NodeCollaborators } from './node.ts'
import { DASHBOARD, VERSION } from './package.ts'
import type { Platform } from './platform/index.ts'

export function surroundings(
  platform: Platform,
): Pick<NodeCollaborators, 'platform' | 'dashboardDirectory' | 'version' | 'memoryBytes'> {
  return {
    platform,
    dashboardDirectory: DASHBOARD,
    version: VERSION,
    memoryBytes: () => process.memoryUsage.rss(),
  }
}
