/** What every way of running a node has in common: the real platform, the page's files, this package's version. */
import { fileURLToPath } from 'node:url'
import { VERSION } from './cli/version.ts'
import type { NodeCollaborators } from './node.ts'
import { TraceFile } from './observability/index.ts'
import type { Platform } from './platform/index.ts'

/** The page's folder: beside the sources, and one step further up from the compiled files. */
const DASHBOARD = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../dashboard' : '../../dashboard', import.meta.url))

export function surroundings(platform: Platform): Pick<NodeCollaborators, 'platform' | 'dashboardDirectory' | 'version' | 'memoryBytes'> {
  return {
    platform,
    dashboardDirectory: DASHBOARD,
    version: VERSION,
    memoryBytes: () => process.memoryUsage.rss(),
  }
}

/** A trace of this node in `directory`; a restarted node starts another file. */
export function openTraceFile(platform: Platform, directory: string, node: number, failed: (reason: string) => void): Promise<TraceFile> {
  const file = `${directory}/node-${node}-${process.pid}.jsonl`
  return new Promise((resolve, reject) => {
    platform.disk.makeDirectory(directory, (error) => {
      if (error !== null) return reject(error)
      platform.disk.open(file, 'create', (openError, opened) => {
        if (openError !== null || opened === undefined) return reject(openError)
        resolve(new TraceFile({ node, position: 0 }, { clock: platform.clock, file: opened, failed }))
      })
    })
  })
}
