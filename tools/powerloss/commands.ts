/** The operating system's commands, whose refusals are told in their own words. */
import { execFile, spawnSync } from 'node:child_process'

export function command(name: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(name, args, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${name} ${args.at(-1)}: ${stderr.trim().split('\n').at(-1) || error.message}`))
    })
  })
}

/** For clean-up, also on the way out of the process. */
export function succeeds(name: string, ...args: string[]): boolean {
  return spawnSync(name, args, { stdio: 'ignore' }).status === 0
}

export function isInstalled(name: string): boolean {
  return succeeds('sh', '-c', `command -v ${name}`)
}
