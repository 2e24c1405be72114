/** Small, domain-free pieces. */
export * from './assert.ts'
export * from './crc32c.ts'
export * from './prng.ts'
export * from './typed-error.ts'
