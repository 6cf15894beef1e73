/** Checks the arguments of an embedding program, because JavaScript does not. */
import { ConfigError } from '../api/errors.js'
import { namesOf, unknownMember } from '../api/members.js'
import type { ServerOptions } from '../api/server.js'

const optionNames = namesOf<ServerOptions>({
  ...{
    plugin: true,
    filters: true,
    readOnly: true,
    exportName: true,
    threads: true,
    log: true,
    shared: true,
  },
  ...{ handshakeTimeoutMs: true, oldstyle: true, maskHandshake: true, structuredReplies: true },
  ...{ metaContexts: true, keepAlive: true, busyPollUs: true, graceMs: true, stdioSafe: true },
  debugFlags: true,
})

/** @throws ConfigError that says what to write. */
export function checkOptions(options: unknown): asserts options is ServerOptions {
  const wrong = (what: string) => new ConfigError(`createServer: ${what}`)
  if (!isObject(options)) throw wrong(`it was given ${show(options)}: write createServer({ plugin })`)
  if ('kind' in options) throw wrong(`it was given a ${options.kind}: write createServer({ plugin: … })`)
  const unknown = unknownMember(options, optionNames)
  if (unknown) throw wrong(`the option ${unknown}`)
  const { plugin, filters = [] } = options
  if (plugin === undefined) throw wrong('there is no plugin: write createServer({ plugin: memory({ … }) })')
  const notPlugin = whyNot('plugin', plugin)
  if (notPlugin) throw wrong(`plugin: ${notPlugin}`)
  if (!Array.isArray(filters))
    throw wrong(`filters: ${show(filters)} is no array: write filters: [offset({ … })]`)
  for (const [index, filter] of filters.entries()) {
    const notFilter = whyNot('filter', filter)
    if (notFilter) throw wrong(`filters[${index}]: ${notFilter}`)
  }
}

/** The members that an address to listen on may have. */
const targets = [['port', 'host', 'ipv6Only', 'name'], ['path'], ['fd']] as const

/** @throws ConfigError that says what to write. */
export function checkTarget(target: unknown): void {
  const expected = 'write listen({ port: 10809 }), listen({ path: "/run/nbd.sock" }) or listen({ fd: 3 })'
  if (!isObject(target)) throw new ConfigError(`listen: it was given ${show(target)}: ${expected}`)
  const keys = targets.find(([main]) => target[main] !== undefined)
  if (keys === undefined) throw new ConfigError(`listen: there is no port, path or fd: ${expected}`)
  const unknown = unknownMember(target, new Set(keys))
  if (unknown) throw new ConfigError(`listen: beside ${keys[0]}, ${unknown}`)
  const type = keys[0] === 'path' ? 'string' : 'number'
  const value: unknown = target[keys[0]]
  if (typeof value !== type) throw new ConfigError(`listen: ${keys[0]} is ${show(value)}: expected a ${type}`)
  if (keys[0] === 'port' && !(Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65535))
    throw new ConfigError(`listen: ${value} is no port: expected 0 to 65535`)
}

function whyNot(kind: 'plugin' | 'filter', layer: unknown): string | undefined {
  const found: unknown =
    isObject(layer) || typeof layer === 'function' ? Reflect.get(layer, 'kind') : undefined
  const name = kind === 'plugin' ? 'memory' : 'offset'
  if (found === undefined) return `${show(layer)} is no ${kind}: write ${name}({ … })`
  if (found !== kind)
    return found === 'filter'
      ? 'this is a filter: filters are given as filters: [ … ]'
      : `this is a ${found}: the plugin is given as plugin`
  if (typeof layer === 'function') return `this ${kind} has no values yet: call it, as in ${name}({ … })`
  return undefined
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function show(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object'
    ? 'an object'
    : typeof value === 'string'
      ? `"${value}"`
      : `a ${typeof value}`
}
