/** What every way of running a node has in common: the real platform, the page's files, this package's version. */
import { fileURLToPath } from 'node:url'
import type { NodeCollaborators } from './node.ts'
import type { Platform } from './platform/index.ts'
import { VERSION } from './version.ts'

/** The page's folder: beside the sources, and one step further up from the compiled files. */
const DASHBOARD = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../dashboard' : '../../dashboard', import.meta.url),
)

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
