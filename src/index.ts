/** The public API, and nothing else. */
export { around, type Command, type Wrap } from './api/around.js'
export type {
  Connection,
  ConnectionInfo,
  ConnectionState,
  DisconnectOptions,
  Peer,
} from './api/connection.js'
export {
  type Alloc,
  type BlockSize,
  type Capabilities,
  type Data,
  type Device,
  type DeviceInit,
  dataLength,
  type Extent,
  type Extents,
  HOLE,
  type Support,
  type WriteFlags,
  ZERO,
  type ZeroFlags,
} from './api/device.js'
export { ConfigError, NbdError, type NbdErrorCode, ProtocolError } from './api/errors.js'
export { type DebugTopic, type Log, silentLog } from './api/log.js'
export { andThen, isPromise, type MaybePromise } from './api/maybe.js'
export { type Inputs, type Param, type Params, param, type Values } from './api/params.js'
export {
  type Concurrency,
  defineFilter,
  definePlugin,
  type Export,
  type Factory,
  type FilterDefinition,
  type FilterInstance,
  type Layer,
  type OpenRequest,
  type PluginDefinition,
  type PluginInstance,
  type ReadyContext,
  type ServerContext,
} from './api/plugin.js'
export {
  type ListenTarget,
  type Server,
  type ServerOptions,
  type ServerState,
  StuckError,
} from './api/server.js'
export { inPieces, inTurns } from './api/turns.js'
export { zeroes } from './api/zeroes.js'
export { type ConsoleLogOptions, consoleLog } from './lib/console-log.js'
export { type Range, slice } from './lib/slice.js'
export { createServer } from './server/server.js'
