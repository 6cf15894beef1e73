/** One process that serves all clients: the host of a plugin in another language (docs/coprocess.md). */
import type { Connection } from '../../api/connection.js'
import { ConfigError, messageOf, NbdError } from '../../api/errors.js'
import { whyNotInherited } from '../../api/inherited.js'
import type { Setting } from '../../api/params.js'
import type { Concurrency, Description, PluginInstance, ServerContext } from '../../api/plugin.js'
import { processOf } from '../../api/process-context.js'
import { readThreadModel } from '../methods/answers.js'
import {
  configureBy,
  dumpedBy,
  giveSettings,
  instanceOf,
  type Opener,
  threadModelOf,
} from '../methods/instance.js'
import { type CallOptions, lineOf, type Methods, type Outcome, textOf } from '../methods/methods.js'
import { decodeWord } from './channel.js'
import { Coprocess } from './process.js'

/** How to start a host, and what it loads. */
export interface HostOptions {
  /** The plugin's name, for messages. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** The file that the host loads, as an absolute path. */
  readonly file: string
  readonly settings: readonly Setting[]
  /** Debug flags that the plugin may know: `NAME.FLAG=VALUE`. */
  readonly debugFlags: readonly string[]
  readonly server: ServerContext
  /** Start the host again for new clients when it has died. */
  readonly restart: boolean
  /** Advice to the user where the process ends while it loads the file. */
  readonly endsEarly: string
}

/** One process from start to end. A restart makes another. */
class Host implements Methods {
  readonly name: string
  known: ReadonlySet<string> = new Set()
  /** The host's facts about itself, by key. */
  facts: ReadonlyMap<string, string> = new Map()
  readonly #coprocess: Coprocess
  readonly #options: HostOptions
  /** Clients by their open handles. */
  readonly #clients = new Map<string, Connection>()

  constructor(options: HostOptions) {
    const { name, command, args, server, settings } = options
    const { stdioSafe, busyPollUs } = processOf(server)
    this.#options = options
    this.name = name
    this.#coprocess = new Coprocess({
      file: command,
      args,
      env: { ...process.env, NBDKIT_TS_PID: String(process.pid) },
      speaks: 'descriptor',
      stdioSafe,
      descriptors: passwordDescriptors(settings),
      name,
      log: server.log,
      busyPollUs,
      events: {
        shutdown: () => server.shutdown(),
        disconnect: (handle, force) => this.#clients.get(handle)?.disconnect(force),
      },
    })
    const stopping = () => this.#coprocess.channel.note('stopping')
    server.stopping.addEventListener('abort', stopping, { once: true })
    void this.#coprocess.ended.then(() => server.stopping.removeEventListener('abort', stopping))
  }

  get dead(): boolean {
    return this.#coprocess.hasEnded
  }

  call(
    method: string,
    words: readonly (string | number)[],
    { connection, ...options }: CallOptions = {},
  ): Promise<Outcome> {
    const { channel } = this.#coprocess
    return connection && connecting.has(method)
      ? channel.callFor(connection.signal, method, words)
      : channel.call(method, words, options)
  }

  /** @throws ConfigError where the plugin cannot be loaded. */
  async load(): Promise<void> {
    const { file, server, debugFlags: flags, endsEarly } = this.#options
    const { stdioSafe } = processOf(server)
    const words = [file, server.log.debugging, server.readOnly, stdioSafe, ...flags].map(String)
    let output: Outcome['output']
    try {
      ;({ output } = await this.call('load', words))
    } catch (error) {
      const why = messageOf(error)
      // Most messages already begin with the name.
      const named = why.startsWith(`${this.name}: `) || why.startsWith(`${file}: `)
      const hint = this.#coprocess.hasStarted && this.dead ? `: ${endsEarly}` : ''
      throw new ConfigError(`${named ? '' : `${this.name}: `}${why}${hint}`, { cause: error })
    }
    const lines = textOf(output)
      .split('\n')
      .filter((line) => line.includes('='))
    const pairs = lines.map((line) => {
      const at = line.indexOf('=')
      return [line.slice(0, at), decodeWord(line.slice(at + 1))] as const
    })
    this.facts = new Map(pairs)
    this.known = new Set((this.facts.get('methods') ?? '').split(','))
    const own = `${this.facts.get('name')}.`
    for (const flag of flags)
      if (!flag.startsWith(own)) server.log.error(`warning: debug flag -D ${nameOf(flag)} was not used`)
  }

  async configure(): Promise<void> {
    const { settings } = this.#options
    // By default, a first word without a key is the script (nbdkit(1), "Magic parameters"), since plugins for
    // languages are called so. A plugin may name another key.
    const byDefault = settings[0]?.[0] === undefined ? 'script' : undefined
    const magicKey = async () => this.facts.get('magic_config_key') ?? byDefault
    await giveSettings(this, settings, magicKey)
  }

  /** Opens a handle, and returns its methods until it is closed. */
  open: Opener = async ({ connection }, words) => {
    const handle = lineOf((await this.call('open', words, { connection })).output)
    this.#clients.set(handle, connection)
    const dropped = () => this.#coprocess.channel.note(`dropped ${handle}`)
    // The client may have left while the plugin opened the handle.
    if (connection.signal.aborted) dropped()
    connection.signal.addEventListener('abort', dropped, { once: true })
    const methods: Methods = {
      name: this.name,
      known: this.known,
      call: (method, more, options) => {
        if (method === 'close') {
          this.#clients.delete(handle)
          connection.signal.removeEventListener('abort', dropped)
        }
        return this.#coprocess.channel.call(method, more, options)
      },
    }
    return { methods, handle }
  }

  /** Marks the end of set-up. */
  begun(): void {
    this.#coprocess.begun()
  }

  end(): Promise<void> {
    return this.#coprocess.end()
  }
}

/** Calls for a client that has no handle yet. */
const connecting: ReadonlySet<string> = new Set(['preconnect', 'list_exports', 'default_export', 'open'])

function nameOf(flag: string): string {
  return flag.replace(/=.*/, '')
}

/**
 * Finds the inherited descriptors from which passwords may be read (nbdkit_read_password(3)): `password=-5`.
 * A value that looks like one but was not inherited counts as a number: the host refuses to read from it.
 */
function passwordDescriptors(settings: readonly Setting[]): number[] {
  const numbers = settings.flatMap(([, value]) => (/^-\d{1,4}$/.test(value) ? [-Number(value)] : []))
  return numbers.filter((fd) => fd > 2 && whyNotInherited(fd) === undefined)
}

/** Encodes a peer: `unix:PID:UID:GID`, `tcp:PORT:ADDRESS` or `stream`. */
export function peerOf({ peer }: Pick<Connection, 'peer'>): string {
  const { family, pid, uid, gid, port, address } = peer
  if (family === 'unix') return `unix:${pid ?? ''}:${uid ?? ''}:${gid ?? ''}`
  if (family === 'tcp') return `tcp:${port ?? ''}:${address ?? ''}`
  return 'stream'
}

/** Starts the host, sets up the plugin, and returns the instance that serves its clients. */
export async function hosted(options: HostOptions): Promise<PluginInstance> {
  const { server, restart } = options
  const start = async () => {
    const host = new Host(options)
    try {
      await host.load()
      await host.configure()
      host.begun()
      return { host, concurrency: await threadModelOf(host, staticModel(host)) }
    } catch (error) {
      await host.end()
      throw error
    }
  }
  const first = await start()
  let { host } = first

  /** Returns the running process. A dead one is replaced, once for all callers that wait meanwhile. */
  let restarting: Promise<Host> | undefined
  const running = async (): Promise<Host> => {
    if (!host.dead) return host
    if (!restart) throw new NbdError('EIO', `${options.name}: its process has died`)
    restarting ??= (async () => {
      server.log.error(`${options.name}: its process is started again`)
      const next = (await start()).host
      await configureBy(next, 'get_ready')
      await configureBy(next, 'after_fork')
      return next
    })()
    try {
      host = await restarting
    } finally {
      restarting = undefined
    }
    return host
  }
  const methods: Methods = {
    name: options.name,
    known: host.known,
    // Does not restart the host only to shut it down.
    call: async (method, words, more) =>
      (endings.has(method) ? host : await running()).call(method, words, more),
  }
  const instance = instanceOf({
    methods,
    concurrency: serverModel(first.concurrency),
    readOnly: server.readOnly,
    peer: ({ connection }) => [peerOf(connection)],
    open: async (request, words) => (await running()).open(request, words),
    end: () => host.end(),
  })
  return {
    ...instance,
    /** Opens for a client. If the process dies meanwhile, nothing is lost: the next process opens instead. */
    async open(request) {
      const asked = await running()
      try {
        return await instance.open(request)
      } catch (error) {
        if (!restart || !asked.dead) throw error
        return instance.open(request)
      }
    },
  }
}

const endings: ReadonlySet<string> = new Set(['cleanup', 'unload'])

/**
 * The concurrency for the server. A host itself runs a plugin of `serialize_all_requests` one call at a time.
 * The server can thus send the next request while the host works.
 */
function serverModel(asked: Concurrency): Concurrency {
  return asked === 'serialize-all-requests' ? 'parallel' : asked
}

function staticModel(host: Host): Concurrency {
  return readThreadModel(host.facts.get('thread_model') ?? '') ?? 'serialize-all-requests'
}

/** Describes the plugin for `--help` and `--dump-plugin`. */
export async function describeHosted(options: HostOptions): Promise<Description> {
  const host = new Host(options)
  try {
    await host.load()
    const concurrency = await threadModelOf(host, staticModel(host))
    const [name, magicKey] = [host.facts.get('name'), host.facts.get('magic_config_key')]
    const help = [host.facts.get('description'), host.facts.get('config_help')]
    const threadModel = `thread_model=${concurrency.replaceAll('-', '_')}`
    const apart = [
      'methods',
      'name',
      'magic_config_key',
      'config_help',
      'thread_model',
      'longname',
      'description',
    ]
    const facts = [...host.facts].filter(([key]) => !apart.includes(key))
    return {
      concurrency,
      ...(name === undefined ? {} : { name }),
      ...(magicKey === undefined ? {} : { magicKey }),
      help: help.filter((text) => text !== undefined && text.trim() !== '').join('\n'),
      lines: [threadModel, ...facts.map(([key, value]) => `${key}=${value}`), ...(await dumpedBy(host))],
    }
  } finally {
    await host.end()
  }
}
