/** Every option of the command line, in one table: the parser and the help are made of it. */
import { resolve } from 'node:path'
import { ConfigError, messageOf } from '../api/errors.js'
import { parseDelay, parseInteger } from '../api/parse.js'
import { getopt, type OptionShape } from './getopt.js'

/** What the options say. */
export interface Settings {
  readonly task: 'serve' | 'help' | 'version' | 'dump-plugin'
  /** Outermost first. */
  readonly filters: readonly string[]
  readonly exportName: string
  readonly readOnly: boolean
  readonly verbose: boolean
  readonly foreground: boolean
  readonly exitWithParent: boolean
  /** The path of a Unix socket, or `-` for a private one. */
  readonly unix?: string
  readonly port?: number
  readonly address?: string
  readonly stdio: boolean
  readonly run?: string
  readonly pidFile?: string
  readonly printUri: boolean
  readonly oldstyle: boolean
  readonly maskHandshake?: number
  readonly structuredReplies: boolean
  readonly metaContexts: boolean
  /** 0: as many as the server thinks right. */
  readonly threads: number
  readonly handshakeTimeoutMs: number
  readonly graceMs: number
}

const defaults: Settings = {
  task: 'serve',
  filters: [],
  exportName: '',
  readOnly: false,
  verbose: false,
  foreground: false,
  exitWithParent: false,
  stdio: false,
  printUri: false,
  oldstyle: false,
  structuredReplies: true,
  metaContexts: true,
  threads: 0,
  handshakeTimeoutMs: 0,
  graceMs: 30_000,
}

/** A row of the table. */
export interface Option extends OptionShape {
  readonly doc: string
  /** What giving it changes. Its throw is told to the user with the option's name before it. */
  set(value: string, before: Settings): Partial<Settings>
}

/** By name, as in the help. */
export const options: readonly Option[] = [
  {
    names: ['dump-plugin'],
    doc: 'Print what is known of the plugin, as key=value lines.',
    set: () => ({ task: 'dump-plugin' }),
  },
  {
    names: ['exit-with-parent'],
    doc: 'Stop when the process that started this one ends.',
    set: () => ({ exitWithParent: true, foreground: true }),
  },
  {
    names: ['exportname', 'export-name', 'export'],
    short: 'e',
    placeholder: 'NAME',
    doc: 'The export that the URI names. Clients may still ask for another.',
    set: (exportName) => ({ exportName }),
  },
  {
    names: ['filter'],
    placeholder: 'FILTER',
    doc: 'Put a filter before the plugin. Give it again for more: the first is the outermost.',
    set: (filter, before) => ({ filters: [...before.filters, filter] }),
  },
  {
    names: ['foreground', 'no-fork'],
    short: 'f',
    doc: 'Stay in the foreground.',
    set: () => ({ foreground: true }),
  },
  {
    names: ['help'],
    doc: 'Print this, and the parameters of the plugin and filters that are named.',
    set: () => ({ task: 'help' }),
  },
  {
    names: ['ipaddr', 'ip-addr'],
    short: 'i',
    placeholder: 'ADDRESS',
    doc: 'Listen on this address only; on all interfaces unless given.',
    set: (address) => ({ address: notEmpty(address) }),
  },
  {
    names: ['mask-handshake'],
    placeholder: 'MASK',
    doc: 'Handshake flags that may be sent, as bits; all unless given.',
    set: (mask) => ({ maskHandshake: parseInteger(mask, 0, 0xffffffff) }),
  },
  {
    names: ['newstyle', 'new-style'],
    short: 'n',
    doc: 'Speak the newstyle protocol, which is the default.',
    set: () => ({ oldstyle: false }),
  },
  {
    names: ['no-mc', 'no-meta-contexts'],
    doc: 'Do not offer metadata contexts, so no block status.',
    set: () => ({ metaContexts: false }),
  },
  {
    names: ['no-sr', 'no-structured-replies'],
    doc: 'Do not offer structured replies.',
    set: () => ({ structuredReplies: false }),
  },
  {
    names: ['oldstyle', 'old-style'],
    short: 'o',
    doc: 'Speak the oldstyle protocol: one export, nothing negotiated.',
    set: () => ({ oldstyle: true }),
  },
  {
    names: ['pidfile', 'pid-file'],
    short: 'P',
    placeholder: 'FILE',
    doc: 'Write the process id to this file once clients can connect. It is not removed at the end.',
    set: (path) => ({ pidFile: resolve(notEmpty(path)) }),
  },
  {
    names: ['port'],
    short: 'p',
    placeholder: 'PORT',
    doc: 'Listen on this TCP port, 0 for a free one; on 10809 unless given.',
    set: (port) => ({ port: parsePort(port) }),
  },
  {
    names: ['print-uri'],
    doc: 'Print the URI for clients on standard output once they can connect.',
    set: () => ({ printUri: true }),
  },
  {
    names: ['readonly', 'read-only'],
    short: 'r',
    doc: 'Serve read-only.',
    set: () => ({ readOnly: true }),
  },
  {
    names: ['run'],
    placeholder: 'COMMAND',
    doc:
      'Run a shell command with $uri set, serve until it ends, and end with its status. ' +
      'Listens on a private Unix socket unless -i, -p or -U is given.',
    set: (run) => ({ run, foreground: true }),
  },
  {
    names: ['shutdown-timeout'],
    placeholder: 'TIME',
    doc: 'How long a shutdown waits for clients before it drops them; 30 seconds unless given.',
    set: (time) => ({ graceMs: parseDelay(time) }),
  },
  {
    names: ['single', 'stdin'],
    short: 's',
    doc: 'Serve one client on standard input and output.',
    set: () => ({ stdio: true, foreground: true }),
  },
  {
    names: ['threads'],
    short: 't',
    placeholder: 'N',
    doc: 'Requests in flight on each connection, at most; 16 unless given.',
    set: (threads) => ({ threads: parseInteger(threads, 0, 65536) }),
  },
  {
    names: ['timeout'],
    placeholder: 'TIME',
    doc: 'Drop a client that has not reached an export after this time; never unless given.',
    set: (time) => ({ handshakeTimeoutMs: parseDelay(time) }),
  },
  {
    names: ['unix'],
    short: 'U',
    placeholder: 'SOCKET',
    doc: 'Listen on this Unix socket; - makes a private one and removes it at the end.',
    set: (path) => ({ unix: path === '-' ? path : resolve(notEmpty(path)) }),
  },
  { names: ['verbose'], short: 'v', doc: 'Print debug messages.', set: () => ({ verbose: true }) },
  { names: ['version'], short: 'V', doc: 'Print the version.', set: () => ({ task: 'version' }) },
]

function notEmpty(text: string): string {
  if (text === '') throw new Error('it is empty')
  return text
}

function parsePort(text: string): number {
  if (!/^\d+$/.test(text))
    throw new Error(`"${text}" is not a port number, and names of services are not supported`)
  const port = Number(text)
  if (port > 65535) throw new Error(`${text} is out of range: expected a port from 0 to 65535`)
  return port
}

/** Those that ask for different transports: no two of a row go together. */
const exclusive: readonly (readonly [keyof Settings, string][])[] = [
  [
    ['unix', '-U'],
    ['port', '-p'],
    ['stdio', '-s'],
  ],
  [
    ['run', '--run'],
    ['stdio', '-s'],
  ],
  [
    ['printUri', '--print-uri'],
    ['stdio', '-s'],
  ],
]

/** @throws ConfigError for an option that is unknown, has a bad value, or does not go with another. */
export function parseOptions(argv: readonly string[]): { settings: Settings; words: readonly string[] } {
  const { options: given, words } = getopt(argv, options)
  let settings = defaults
  for (const { option, value } of given) {
    try {
      settings = { ...settings, ...option.set(value, settings) }
    } catch (error) {
      throw new ConfigError(`--${option.names[0]}: ${messageOf(error)}`, { cause: error })
    }
  }
  for (const row of exclusive) {
    const [first, second] = row.filter(([key]) => settings[key] !== undefined && settings[key] !== false)
    if (first && second) throw new ConfigError(`${first[1]} and ${second[1]} cannot be used together`)
  }
  return { settings, words }
}
