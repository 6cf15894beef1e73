/** A configured plugin on top of methods in another program. */
import type { DeviceInit } from '../../api/device.js'
import { logMessageOf } from '../../api/error-text.js'
import { ConfigError } from '../../api/errors.js'
import type { Setting } from '../../api/params.js'
import type { Concurrency, OpenRequest, PluginInstance } from '../../api/plugin.js'
import { readExports, readThreadModel } from './answers.js'
import { openHandle } from './device.js'
import { lineOf, type Methods, type Outcome, textOf } from './methods.js'

/** Calls a method that may be missing. @throws ConfigError with the method's error. */
export async function configureBy(
  methods: Methods,
  method: string,
  words: readonly string[] = [],
): Promise<Outcome> {
  if (methods.known !== undefined && !methods.known.has(method)) return { status: 'missing', output: none }
  try {
    return await methods.call(method, words)
  } catch (error) {
    throw new ConfigError(`${methods.name}: ${method}: ${logMessageOf(error)}`, { cause: error })
  }
}

const none = new Uint8Array(0)

/** The key of a bare word, where there is one. */
export async function magicKeyOf(methods: Methods): Promise<string | undefined> {
  const { status, output } = await configureBy(methods, 'magic_config_key')
  const key = lineOf(output)
  return status === 'ok' && key !== '' ? key : undefined
}

/**
 * Passes each setting to `config`, in order, then calls `config_complete`.
 *
 * @throws ConfigError where the plugin takes no settings, where a bare word has no key, or where the plugin
 * refuses.
 */
export async function giveSettings(
  methods: Methods,
  settings: readonly Setting[],
  magicKey?: () => Promise<string | undefined>,
): Promise<void> {
  for (const [given, value] of settings) {
    const key = given ?? (await magicKey?.())
    if (key === undefined)
      throw new ConfigError(`${methods.name}: "${value}": it takes no bare word, expected key=value`)
    const { status } = await configureBy(methods, 'config', [key, value])
    if (status === 'missing')
      throw new ConfigError(`${methods.name}: unknown parameter "${key}": it has no method "config"`)
  }
  await configureBy(methods, 'config_complete')
}

/**
 * The plugin's thread model. Defaults to `serialize-all-requests`, the safest that is not slow for one
 * client.
 */
export async function threadModelOf(
  methods: Methods,
  otherwise: Concurrency = 'serialize-all-requests',
): Promise<Concurrency> {
  const { status, output } = await configureBy(methods, 'thread_model')
  return (status === 'ok' && readThreadModel(textOf(output))) || otherwise
}

/** The output of `dump_plugin`: further lines for `--dump-plugin`. */
export async function dumpedBy(methods: Methods): Promise<string[]> {
  const { output } = await configureBy(methods, 'dump_plugin')
  const printed = textOf(output).trimEnd()
  return printed === '' ? [] : [printed]
}

/** Opens a handle with the words of `open`. Returns the handle's name and the methods to call it with. */
export type Opener = (
  request: OpenRequest,
  words: readonly string[],
) => Promise<{ readonly methods: Methods; readonly handle: string }>

export interface InstanceOptions {
  readonly methods: Methods
  readonly concurrency: Concurrency
  readonly readOnly: boolean
  /** Further words about the client, for the calls that have them. */
  readonly peer?: (request: Pick<OpenRequest, 'connection'>) => readonly string[]
  /** Defaults to calling `open`. */
  readonly open?: Opener
  /** Called after `unload`. */
  readonly end: () => Promise<void>
}

export function instanceOf(options: InstanceOptions): PluginInstance {
  const { methods, readOnly, peer = () => [] } = options
  const has = (method: string) => methods.known === undefined || methods.known.has(method)
  const about = (request: OpenRequest) => [`${request.readOnly}`, `${request.tls}`, ...peer(request)]

  /** Undefined where there is no such method. */
  const exportsBy = async (method: string, request: OpenRequest) => {
    const { connection } = request
    const { status, output } = await methods.call(method, about(request), { connection })
    return status === 'missing' ? undefined : readExports(textOf(output))
  }
  const defaultExport = async (request: OpenRequest) =>
    (await exportsBy('default_export', request))?.[0]?.name ?? ''

  const openByName: Opener = async (_, words) => {
    const { output } = await methods.call('open', words)
    return { methods, handle: lineOf(output) }
  }
  const open = async (request: OpenRequest): Promise<DeviceInit> => {
    const { connection, readOnly: forReading, exportName, tls } = request
    const words = [`${forReading}`, exportName, `${tls}`, ...peer(request)]
    const opened = await (options.open ?? openByName)(request, words)
    try {
      return await openHandle(opened.methods, opened.handle, forReading, connection)
    } catch (error) {
      await opened.methods.call('close', [opened.handle]).catch(() => {})
      throw error
    }
  }
  const closeAll = async () => {
    // The plugin is gone after this, whatever it answers. nbdkit calls `cleanup` for no script.
    if (methods.known?.has('cleanup')) await methods.call('cleanup', []).catch(() => {})
    if (has('unload')) await methods.call('unload', []).catch(() => {})
    await options.end()
  }

  return {
    concurrency: options.concurrency,
    async ready() {
      await configureBy(methods, 'get_ready')
      await configureBy(methods, 'after_fork')
    },
    ...(has('preconnect')
      ? {
          async accept(connection) {
            await methods.call('preconnect', [`${readOnly}`, ...peer({ connection })], { connection })
          },
        }
      : {}),
    ...(has('list_exports')
      ? {
          async exports(request) {
            const listed = await exportsBy('list_exports', request)
            return listed ?? [{ name: has('default_export') ? await defaultExport(request) : '' }]
          },
        }
      : {}),
    ...(has('default_export') ? { defaultExport } : {}),
    open,
    close: closeAll,
  }
}
