/**
 * All options of the command line in one table. The parser, the help, the manual page and the completions are
 * made from it. Arguments are checked in option-values.ts, combinations in parse-options.ts.
 */
import { parseDelay, parseInteger } from '../../api/parse.js'
import { busyPollUsMax } from '../../net/busy-poll.js'
import type { OptionShape } from './getopt.js'
import { notEmpty, parseDebugFlag, parseLogTarget, parseName, parsePath, parsePort } from './option-values.js'
import type { Settings, Task } from './settings.js'

/** A row of the table. */
export interface Option extends OptionShape {
  readonly doc: string
  /** Giving the option again adds a value. Otherwise the last value holds. */
  readonly repeats?: true
  /** The argument need not be UTF-8 (api/byte-text.ts). */
  readonly bytes?: true
  /** Returns the changed settings. Its error is shown to the user after the option's name. */
  set(value: string, before: Settings): Partial<Settings>
}

/** Tasks that print text replace serving. Of several, the one later in this list is done. */
const tasks: readonly Task[] = ['serve', 'dump-plugin', 'version', 'help']

function instead(task: Task) {
  const rank = (of: Task) => (tasks.includes(of) ? tasks.indexOf(of) : tasks.length)
  return (_: string, before: Settings) => (rank(task) > rank(before.task) ? { task } : {})
}

/** Sorted by name, as in the help. */
export const options: readonly Option[] = [
  {
    names: ['busy-poll'],
    placeholder: 'US',
    doc: 'Stay awake for so many microseconds after an answer, in case the next request comes at once; 50 unless given, 0 never.',
    set: (us) => ({ busyPollUs: parseInteger(us, 0, busyPollUsMax) }),
  },
  {
    names: ['debug'],
    short: 'D',
    placeholder: 'NAME.FLAG=N',
    repeats: true,
    doc: 'Set a debug flag of a plugin, a filter or the server. With -v, nbdkit.backend.controlpath=0 and nbdkit.backend.datapath=0 leave out what is said of layers and of requests, nbdkit.environ=1 prints the environment. Plugins that were compiled for nbdkit have some; for others it warns, and goes on.',
    set: (flag, before) => ({ debugFlags: [...before.debugFlags, parseDebugFlag(flag)] }),
  },
  {
    names: ['dump-config'],
    doc: 'Print what is known of the program, as key=value lines.',
    set: instead('dump-config'),
  },
  {
    names: ['dump-plugin'],
    doc: 'Print what is known of the plugin, as key=value lines.',
    set: instead('dump-plugin'),
  },
  {
    names: ['exit-with-parent'],
    doc: 'Stop when the process that started this one ends (Linux, with the package koffi). Implies -f.',
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
    repeats: true,
    doc: 'Put a filter before the plugin. Give it again for more: the first is the outermost.',
    set: (filter, before) => ({ filters: [...before.filters, filter] }),
  },
  {
    names: ['foreground', 'no-fork'],
    short: 'f',
    doc: 'Stay in the foreground. Else it goes into the background once clients can connect.',
    set: () => ({ foreground: true }),
  },
  {
    names: ['help'],
    short: 'h',
    doc: 'Print this, after the parameters of the plugin and filters that are named.',
    set: instead('help'),
  },
  {
    names: ['ipaddr', 'ip-addr'],
    short: 'i',
    placeholder: 'ADDRESS',
    repeats: true,
    doc: 'Listen on this address only, or on all addresses of this name. Give it again for more. On all interfaces unless given.',
    set: (address, before) => ({ addresses: [...before.addresses, notEmpty(address)] }),
  },
  {
    names: ['ipv4-only'],
    short: '4',
    doc: 'Listen on IPv4 only, and take IPv4 addresses only for the name of -i.',
    set: () => ({ family: 4 }),
  },
  {
    names: ['ipv6-only'],
    short: '6',
    doc: 'The same for IPv6. Of -4 and -6 the last holds.',
    set: () => ({ family: 6 }),
  },
  {
    names: ['keepalive', 'keep-alive'],
    doc: 'Have the system probe idle TCP clients, so that those that are gone are dropped.',
    set: () => ({ keepAlive: true }),
  },
  {
    names: ['log'],
    placeholder: 'default|stderr|syslog|null|/PATH',
    bytes: true,
    doc: 'Where messages go: standard error, the system log (with the package koffi), nowhere, or to the end of a file. By default standard error, and the system log once in the background.',
    set: (target) => ({ log: parseLogTarget(target) }),
  },
  {
    names: ['long-options'],
    doc: 'Print the long names of all options, one a line.',
    set: instead('long-options'),
  },
  {
    names: ['mask-handshake'],
    placeholder: 'MASK',
    doc: 'Handshake flags that may be sent, as bits; all unless given.',
    set: (mask) => ({ maskHandshake: parseInteger(mask, 0, 0xffffffff) }),
  },
  {
    names: ['name'],
    placeholder: 'NAME',
    doc: 'Tell this server from others: messages begin with nbdkit-ts[NAME], and --run has it in $name.',
    set: (name) => ({ name: parseName(name) }),
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
    doc: 'Do not offer structured replies and extended headers.',
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
    bytes: true,
    doc: 'Write the process id to this file once clients can connect. It is not removed at the end.',
    set: (path) => ({ pidFile: parsePath(path) }),
  },
  {
    names: ['port'],
    short: 'p',
    placeholder: 'PORT',
    doc: 'Listen on this TCP port, 0 for a free one; on 10809 unless given.',
    set: (port) => ({ port: parsePort(port) }),
  },
  {
    names: ['print-uri', 'print-url', 'show-uri', 'show-url'],
    doc: 'Print the URI for clients on standard output once they can connect, alone on the first line; then quoted for a shell, and a command to try.',
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
    bytes: true,
    doc: 'Run a shell command with $uri set, serve until it ends, and end with its status. Listens on a private Unix socket unless -4, -6, -i, -p or -U is given. Implies -f.',
    set: (run) => ({ run, foreground: true }),
  },
  {
    names: ['short-options'],
    doc: 'Print the letters of all options that have one, one a line.',
    set: instead('short-options'),
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
    doc: 'Serve one client on standard input and output. Implies -f.',
    set: () => ({ stdio: true, foreground: true }),
  },
  {
    names: ['threads'],
    short: 't',
    placeholder: 'N',
    doc: 'Requests in flight on each connection, at most; 64 unless given.',
    set: (threads) => ({ threads: parseInteger(threads, 0, 65536) }),
  },
  {
    names: ['timeout', 'time-out'],
    placeholder: 'TIME',
    doc: 'Drop a client that has not reached an export after this time; never unless given.',
    set: (time) => ({ handshakeTimeoutMs: parseDelay(time) }),
  },
  {
    names: ['unix'],
    short: 'U',
    placeholder: 'SOCKET',
    bytes: true,
    doc: 'Listen on this Unix socket; - makes a private one and removes it at the end.',
    set: (path) => ({ unix: path === '-' ? path : parsePath(path) }),
  },
  {
    names: ['verbose'],
    short: 'v',
    doc: 'Print debug messages.',
    set: () => ({ verbose: true }),
  },
  {
    names: ['version'],
    short: 'V',
    doc: 'Print the version of the program, and of the plugin and filters that are named.',
    set: instead('version'),
  },
  {
    names: ['workers'],
    placeholder: 'N',
    doc: 'Serve clients in so many threads; auto is one for each processor, where plugin and filters allow it. 1 unless given.',
    set: (workers) => ({ workers: workers === 'auto' ? workers : parseInteger(workers, 1, 256) }),
  },
]
