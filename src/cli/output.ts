/**
 * Standard output, where answers go, and standard error, where everything else does.
 *
 * What was handed to Node.js is not written yet, and often never will be: `console.log` keeps the system's refusal to itself, a file on a
 * full disk takes half of what it is given, and `| head` leaves. So an answer counts when `taken` says so, and a command whose answer
 * was not taken has failed, unless nobody wants it any more. A log is another thing: whoever serves goes on when nobody reads it.
 */
import fs from 'node:fs'
import tty from 'node:tty'
import { CliError } from './errors.ts'

const DESCRIPTOR = 1

class StandardOutput {
  #opened: 'file' | 'stream' | null = null
  /** The first thing that went wrong; nothing is written after it. */
  #failure: NodeJS.ErrnoException | null = null
  #lastTaken: Promise<void> = Promise.resolve()

  /** False: nothing is taken any more, and `taken` says why. */
  write(text: string): boolean {
    if (this.#failure !== null) return false
    if (text === '') return true
    if (this.#kind() === 'file') this.#writeFile(Buffer.from(text))
    else
      this.#lastTaken = new Promise((resolve) => {
        process.stdout.write(text, (error) => {
          if (error) this.#failure ??= error
          resolve()
        })
      })
    return this.#failure === null
  }

  line(text: string): boolean {
    return this.write(`${text}\n`)
  }

  /** Resolves when the system has all that was written; to false where nobody reads (`| head` has seen enough). Throws what else went wrong. */
  async taken(consequence = 'make room, or send the output elsewhere'): Promise<boolean> {
    await this.#lastTaken
    if (this.#failure === null) return true
    const errno = this.#failure.code ?? this.#failure.message
    if (errno === 'EPIPE') return false
    const message = `standard output takes no more (${errno}); ${consequence}`
    throw new CliError({ code: 'OUTPUT', errno }, message, { cause: this.#failure })
  }

  /** Of a file Node.js would not tell that only half was written, and of a full one, up to version 20, in an exception. */
  #kind(): 'file' | 'stream' {
    if (this.#opened === null) {
      const stats = fs.fstatSync(DESCRIPTOR)
      this.#opened = stats.isFile() || (stats.isCharacterDevice() && !tty.isatty(DESCRIPTOR)) ? 'file' : 'stream'
      // Each write hears of its own failure; without this one the process would end of it.
      if (this.#opened === 'stream') process.stdout.on('error', () => {})
    }
    return this.#opened
  }

  #writeFile(bytes: Buffer): void {
    try {
      for (let written = 0; written < bytes.length; ) written += fs.writeSync(DESCRIPTOR, bytes, written)
    } catch (error) {
      this.#failure = error as NodeJS.ErrnoException
    }
  }
}

export const output = new StandardOutput()

/** To standard error. That it is full or that nobody reads it is no reason to stop: there is no place left to say so. */
export function tell(text: string): void {
  if (process.stderr.listenerCount('error') === 0) process.stderr.on('error', () => {})
  try {
    process.stderr.write(text)
  } catch {
    // A file on a full disk, up to Node.js 20. The next line may find room.
  }
}
