/** This package's version, asked where it stands. */
import { createRequire } from 'node:module'

/** Of the package: the nearest package.json above, whether run from the sources or from the compiled files. */
export const VERSION: string = (() => {
  const require = createRequire(import.meta.url)
  const file = import.meta.url.endsWith('.ts') ? '../package.json' : '../../package.json'
  return (require(file) as { version: string }).version
})()
