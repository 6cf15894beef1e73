import type { Connection } from './connection.js'
import type { Device, DeviceInit } from './device.js'
import { ConfigError } from './errors.js'
import type { Log } from './log.js'
import type { MaybePromise } from './maybe.js'
import { type Excess, namesOf, unknownMember } from './members.js'
import type { Inputs, Params, Values } from './params.js'

/**
 * How many requests a layer takes at once (nbdkit-plugin(3), "Threads"). The strictest layer of a chain wins.
 * JavaScript runs one at a time anyway: this limits how many requests may wait for something.
 */
export type Concurrency =
  | 'serialize-connections'
  | 'serialize-all-requests'
  | 'serialize-requests'
  | 'parallel'

/** An export that a client may ask for by name. */
export interface Export {
  readonly name: string
  readonly description?: string
}

export interface OpenRequest {
  readonly exportName: string
  readonly readOnly: boolean
  readonly tls: boolean
  readonly connection: Connection
}

/** The server as a layer sees it. */
export interface ServerContext {
  readonly log: Log
  /** True with `-r`: every export is served read-only. */
  readonly readOnly: boolean
  /** Asks the server to stop, and returns at once (nbdkit_shutdown(3)). Further callbacks may follow. */
  shutdown(): void
  /** Fires when a shutdown begins, whoever started it, so that sleeping callbacks can wake up. */
  readonly stopping: AbortSignal
  /** The result of the definition's `threads.share`, for a layer that is set up in several threads. */
  readonly shared?: unknown
}

/** The description of a layer that depends on its values: for a user's file in another language. */
export interface Description {
  readonly name?: string
  /** For `--help`: the layer's parameters, in its own words. */
  readonly help?: string
  readonly concurrency?: Concurrency
  readonly magicKey?: string
  /**
   * For `--dump-plugin`: further lines, `key=value`. They replace lines with the same key that are printed
   * for all plugins.
   */
  readonly lines: readonly string[]
}

/** A plugin that was set up for one server. */
export interface PluginInstance {
  /** Defaults to `parallel`. */
  readonly concurrency?: Concurrency
  /** Called once before the server listens. To refuse to start, throw ConfigError here at the latest. */
  ready?(): MaybePromise<void>
  /** Called for each client before the handshake. Throw to refuse the client. */
  accept?(connection: Connection): MaybePromise<void>
  /** The exports in the list for a client. Defaults to the default export only. */
  exports?(request: OpenRequest): MaybePromise<Iterable<Export>>
  /** The name of the default export, which replaces an empty export name. */
  defaultExport?(request: OpenRequest): MaybePromise<string>
  /**
   * Called once for each connection that reaches an export. Throw to refuse: the client gets the message of
   * an `NbdError` or `ConfigError`, the log gets the message of any error.
   */
  open(request: OpenRequest): MaybePromise<DeviceInit>
  /** Called once at the very end. */
  close?(): MaybePromise<void>
}

/** Gives a filter's `ready` access to the layer below when there is no client. */
export interface ReadyContext {
  /** The strictest of all layers. */
  readonly concurrency: Concurrency
  /** Opens the layer below. The caller has to close the device. */
  open(request?: Partial<Pick<OpenRequest, 'exportName' | 'readOnly' | 'tls'>>): Promise<Device>
}

/** Like {@link PluginInstance}, but with access to the next layer. */
export interface FilterInstance {
  readonly concurrency?: Concurrency
  ready?(below: ReadyContext): MaybePromise<void>
  accept?(connection: Connection): MaybePromise<void>
  /** `defaultExport` returns the name of the default export, as a client sees that name. */
  exports?(
    request: OpenRequest,
    next: (request: OpenRequest) => MaybePromise<Iterable<Export>>,
    defaultExport: () => Promise<string>,
  ): MaybePromise<Iterable<Export>>
  defaultExport?(
    request: OpenRequest,
    next: (request: OpenRequest) => MaybePromise<string>,
  ): MaybePromise<string>
  /** Wraps the next device: `{ ...(await next(request)), … }`. Defaults to the next device itself. */
  open?(request: OpenRequest, next: (request: OpenRequest) => Promise<Device>): MaybePromise<DeviceInit>
  close?(): MaybePromise<void>
}

/** State that the threads of a layer share. */
export interface Sharing<P extends Params = Params> {
  /**
   * Called once, before the threads start. Each thread gets a copy (structured clone), so return a seed, a
   * descriptor or shared memory. Throw ConfigError where the values do not work with several threads.
   */
  share(values: Values<P>): MaybePromise<unknown>
}

/** A layer on the command line (nbdkit-probing(1)). */
export interface CommandLine<P extends Params = Params> {
  /**
   * For `--dump-plugin`, which opens nothing: the callbacks besides `open`, `size` and `read`, under nbdkit's
   * names (`pwrite`, `can_multi_conn`).
   */
  readonly has?: readonly string[]
  /** Further lines for `--dump-plugin`, `key=value`. */
  readonly lines?: readonly string[]
  /** The layer handles the flags of `-D`, and refuses unknown ones. */
  readonly takesDebugFlags?: boolean
  /**
   * For `--help` and `--dump-plugin`, where values are given. Must leave nothing behind. Throw ConfigError as
   * in `setup`.
   */
  describe?(values: Values<P>, server: ServerContext): MaybePromise<Description>
}

interface Definition<P extends Params, Instance> {
  /** The name on the command line: lower case, words joined by `-`. */
  readonly name: string
  /** One line, without a full stop. */
  readonly description: string
  readonly params: P
  /**
   * Defaults to `parallel`. The result of `setup` may be stricter, where concurrency depends on the values.
   */
  readonly concurrency?: Concurrency
  /**
   * Lets several threads each set up the layer and serve some of the clients (`--workers`). `isolated`: the
   * threads have nothing to share. An object: its `share` returns the value for `shared` of each thread's
   * server. Without this, one thread serves.
   */
  readonly threads?: 'isolated' | Sharing<P>
  /** The program's output about the layer, and the program's options that the layer takes. */
  readonly commandLine?: CommandLine<P>
  /** Called once for each server. Throw ConfigError where the values do not fit together. */
  setup(values: Values<P>, server: ServerContext): MaybePromise<Instance>
}
export type PluginDefinition<P extends Params = Params> = Definition<P, PluginInstance>
export type FilterDefinition<P extends Params = Params> = Definition<P, FilterInstance>

/** A plugin or a filter with its values, for use in a server. */
export interface Layer<Kind extends 'plugin' | 'filter' = 'plugin' | 'filter'> {
  readonly kind: Kind
  readonly definition: Kind extends 'plugin' ? PluginDefinition : FilterDefinition
  /** A value, or the text of one, by parameter name. */
  readonly inputs: Readonly<Record<string, unknown>>
}

/** `memory({ size: '1G' })` in code, `memory 1G` on the command line. */
export interface Factory<Kind extends 'plugin' | 'filter', P extends Params> {
  (
    ...inputs: Record<string, never> extends Inputs<P> ? [inputs?: Inputs<P>] : [inputs: Inputs<P>]
  ): Layer<Kind>
  readonly kind: Kind
  readonly definition: Kind extends 'plugin' ? PluginDefinition<P> : FilterDefinition<P>
}

/** A definition whose `setup` returns an `Instance` without unknown members, also in its devices. */
type Exactly<Definition extends { setup(...args: never[]): unknown }, Instance, Known> = Omit<
  Definition,
  'setup'
> & { setup(...args: Parameters<Definition['setup']>): MaybePromise<Instance> } & Refused<
    Excess<Instance, Known> | Excess<Opened<Instance>, DeviceInit>
  >

/** A type that no function has. It names the unknown member in the compiler's message. */
type Refused<Unknown> = [Unknown] extends [never]
  ? unknown
  : { readonly setup: `unknown member: ${Unknown & string}` }

type Opened<Instance> = Instance extends { open(...args: never[]): infer Opened } ? Awaited<Opened> : never

/**
 * Makes a plugin. The values are parsed and checked when a server is set up, not here.
 *
 * @throws ConfigError where a member of the definition is missing, unknown or of the wrong type.
 */
export function definePlugin<const P extends Params, Instance extends PluginInstance>(
  definition: Exactly<PluginDefinition<P>, Instance, PluginInstance>,
): Factory<'plugin', P> {
  return factory<'plugin', P>('plugin', definition)
}

/** Makes a filter. See {@link definePlugin}. */
export function defineFilter<const P extends Params, Instance extends FilterInstance>(
  definition: Exactly<FilterDefinition<P>, Instance, FilterInstance>,
): Factory<'filter', P> {
  return factory<'filter', P>('filter', definition)
}

function factory<Kind extends 'plugin' | 'filter', P extends Params>(
  kind: Kind,
  definition: PluginDefinition<P> | FilterDefinition<P>,
): Factory<Kind, P> {
  checkDefinition(kind, definition)
  const make = (inputs: Inputs<P> = {} as Inputs<P>) => ({ kind, definition, inputs })
  return Object.assign(make, { kind, definition }) as unknown as Factory<Kind, P>
}

const definitionMembers = namesOf<PluginDefinition>({
  ...{ name: true, description: true, params: true, concurrency: true, threads: true, commandLine: true },
  setup: true,
})

/** Checks at run time, because JavaScript authors have no compiler that reports mistakes. */
function checkDefinition(kind: string, definition: unknown): void {
  const define = kind === 'plugin' ? 'definePlugin' : 'defineFilter'
  if (typeof definition !== 'object' || definition === null)
    throw new ConfigError(
      `${define} was given ${typeText(definition)}: give it { name, description, params, setup }`,
    )
  const { name, description, params, setup } = definition as Readonly<Record<string, unknown>>
  if (typeof name !== 'string' || name === '')
    throw new ConfigError(`${define}: the ${kind} has no name: add name: 'my-${kind}'`)
  if (typeof description !== 'string')
    throw new ConfigError(`${name}: it has no description: add description: '…', in one line`)
  if (typeof params !== 'object' || params === null)
    throw new ConfigError(`${name}: it has no params: add params: {}, where it takes none`)
  if (typeof setup !== 'function')
    throw new ConfigError(
      `${name}: it has no setup: add setup(values, server) { return { open(request) { … } } }`,
    )
  const unknown = unknownMember(definition, definitionMembers)
  if (unknown) throw new ConfigError(`${name}: ${define}: ${unknown}`)
}

function typeText(value: unknown): string {
  return value === null ? 'null' : value === undefined ? 'nothing' : `a ${typeof value}`
}
