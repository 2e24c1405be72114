/** A process that runs the seeds it is given, one at a time, until whoever started it is gone. See pool.ts. */
import { type Job, runJob } from './job.ts'

process.on('message', (job: Job) => {
  runJob(job).then(
    (outcome) => process.send!(outcome),
    (error: Error) => {
      process.stderr.write(`${error.stack ?? error.message}\n`)
      process.exit(1)
    },
  )
})
process.on('disconnect', () => process.exit(0))
