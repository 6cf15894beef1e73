/** The bytes of NBD, for programs that speak the protocol themselves. */
export * from './byte-queue.js'
export * from './bytes.js'
export * from './constants.js'
export * from './errno.js'
export * from './handshake.js'
export * from './limits.js'
export * from './reply.js'
export * from './request.js'
