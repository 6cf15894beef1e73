/** Debug flags of the server itself (`-D nbdkit.…`, nbdkit(1)). */
import type { DebugTopic, Log } from '../../api/log.js'
import { parseInteger } from '../../api/parse.js'
import { environmentVariable } from '../../os/environment.js'
import { complain } from '../output/output.js'

const topics: Readonly<Record<string, DebugTopic>> = {
  'nbdkit.backend.controlpath': 'controlpath',
  'nbdkit.backend.datapath': 'datapath',
}
const environment = 'nbdkit.environ'
/** The TLS flags are accepted although there is no TLS. */
const known = [...Object.keys(topics), environment, 'nbdkit.tls.log', 'nbdkit.tls.session']

function isOurs(name: string): boolean {
  return name.startsWith('nbdkit.')
}

/** The value of each flag. A later value replaces an earlier one. */
function valuesOf(flags: readonly string[]): ReadonlyMap<string, number> {
  return new Map(
    flags.map((flag) => {
      const equals = flag.indexOf('=')
      const value = parseInteger(flag.slice(equals + 1), -(2 ** 31), 2 ** 31 - 1)
      const name = flag.slice(0, equals)
      // In nbdkit's flags, a dot and an underscore are the same.
      return [isOurs(name) ? name.replaceAll('_', '.') : name, value]
    }),
  )
}

/** @param onlyOurs ignore other flags: a layer reports its own unknown flags. */
export function warnOfUnusedFlags(flags: readonly string[], onlyOurs: boolean): void {
  for (const name of valuesOf(flags).keys())
    if (!known.includes(name) && (isOurs(name) || !onlyOurs))
      complain(`warning: debug flag -D ${name} was not used`)
}

/** The same log without the topics that flags turn off. */
export function logByFlags(log: Log, flags: readonly string[]): Log {
  const off = [...valuesOf(flags)].flatMap(([name, value]) => (value === 0 ? (topics[name] ?? []) : []))
  return off.length === 0 ? log : without(log, off)
}

function without(log: Log, off: readonly DebugTopic[]): Log {
  return {
    debugging: log.debugging,
    debug(message, topic) {
      if (topic === undefined || !off.includes(topic)) log.debug(message)
    },
    error: (message) => log.error(message),
    child: (name) => without(log.child(name), off),
  }
}

/** Logs the environment that the process was started with, where a flag asks for it. */
export function logEnvironment(log: Log, flags: readonly string[]): void {
  if (!log.debugging || (valuesOf(flags).get(environment) ?? 0) === 0) return
  for (const name of Object.keys(process.env)) log.debug(`environ: ${name}=${environmentVariable(name)}`)
}
