/** The values messages are made of, on the wire and in memory: one door for the two halves. */
export * from './codec-errors.ts'
export * from './reader.ts'
export * from './writer.ts'
