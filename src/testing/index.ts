/** Tools for the tests of plugins and filters, and of servers. */
export { readBytes } from '../lib/read-bytes.js'
export { bytesOf, deviceContract } from './device-contract.js'
export { everySplit } from './every-split.js'
export { openDevice } from './open-device.js'
export { pair } from './pair.js'
export { type Random, seeded } from './random.js'
export {
  encodeRequest,
  infoData,
  metaContextData,
  RawClient,
  type RawRequest,
  type ReplyPart,
} from './raw-client.js'
