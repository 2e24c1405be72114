#!/usr/bin/env node
/** The command line. What each command needs is loaded when it is run: `start` should not pay for a Kafka client. */
import { run } from './cli/index.ts'
import { tell } from './cli/output.ts'

void run(process.argv).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    // What an operator can mend has been said by a command; this has to be mended in the code, and the trace shows where.
    const trace = error instanceof Error ? error.stack : String(error)
    tell(`tidemark: this is a defect of Tidemark; please report it with these lines: ${trace}\n`)
    process.exitCode = 1
  },
)
