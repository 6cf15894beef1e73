/** Tools for the tests of plugins and filters. */
export { bytesOf, deviceContract, readBytes } from './device-contract.js'
export { openDevice } from './open-device.js'
export { type Random, seeded } from './random.js'
