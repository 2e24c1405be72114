#!/usr/bin/env node
/** The command line. What each command needs is loaded when it is run: `start` should not pay for a Kafka client. */
import { run } from './cli/index.ts'

void run(process.argv).then((code) => {
  process.exitCode = code
})
