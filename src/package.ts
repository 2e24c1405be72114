/**
 * This package, asked where it stands: its version, its command, the page's files.
 *
 * The same two steps up lead to it from `dist/src`, where the tests run, and from `dist/bundle`, which is what users get.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const isSource = import.meta.url.endsWith('.ts')
const ROOT = new URL(isSource ? '../' : '../../', import.meta.url)

const inPackage = (path: string): string => fileURLToPath(new URL(path, ROOT))

export const VERSION: string = (createRequire(import.meta.url)(inPackage('package.json')) as { version: string })
  .version

/** The file behind `tidemark`: what a new process of it is started with. */
export const COMMAND = inPackage(isSource ? 'src/main.ts' : 'dist/bundle/main.js')

/** The page's folder. */
export const DASHBOARD = inPackage('dashboard')
