/** Where messages go (`--log`). */
import { openSync } from 'node:fs'
import { fsPath } from '../api/byte-text.js'
import { ConfigError, messageOf } from '../api/errors.js'
import type { Level } from '../lib/message-log.js'
import { printable } from '../lib/printable.js'
import { writeAll } from '../lib/write-all.js'
import { messageLine } from './output.js'
import type { LogTarget } from './settings.js'

/** Writes one message. */
export type Write = (message: string, level: Level) => void

export interface MessageTarget {
  readonly write: Write
  /** For `default`: from now on to the system log, as standard error is about to go. */
  leaveStandardError(): void
}

/**
 * @param inBackground standard error will go away once the server is ready.
 * @throws ConfigError when the file cannot be opened, or the system log cannot be reached.
 */
export async function openMessageTarget(target: LogTarget, inBackground: boolean): Promise<MessageTarget> {
  const standardError: Write = (message) => writeAll(2, messageLine(message))
  if (target !== 'default') return fixed(target === 'stderr' ? standardError : await openOther(target))
  const later = inBackground ? await openLater(standardError) : standardError
  let write = standardError
  return {
    write: (message, level) => write(message, level),
    leaveStandardError() {
      write = later
    },
  }
}

function fixed(write: Write): MessageTarget {
  return { write, leaveStandardError() {} }
}

async function openOther(target: Exclude<LogTarget, 'default' | 'stderr'>): Promise<Write> {
  if (target === 'null') return () => {}
  if (target === 'syslog') return systemLog()
  const fd = openFile(target)
  return (message) => writeAll(fd, messageLine(message))
}

function openFile(path: string): number {
  try {
    return openSync(fsPath(path), 'a')
  } catch (error) {
    throw new ConfigError(`--log: ${messageOf(error)}`, { cause: error })
  }
}

/** Nobody asked for the system log, so a server starts without it all the same. */
async function openLater(standardError: Write): Promise<Write> {
  try {
    return await systemLog()
  } catch (error) {
    standardError(`warning: messages will be discarded: ${messageOf(error)}`, 'error')
    return () => {}
  }
}

/** The priorities and the option of syslog(3) that are used. */
const priorities: Readonly<Record<Level, number>> = { error: 3, debug: 7 }
const LOG_PID = 1

/** @throws ConfigError where the package that reaches the C library is missing. */
async function systemLog(): Promise<Write> {
  const { default: koffi } = await import('koffi').catch((error: unknown) => {
    throw new ConfigError('the system log is reached through the package koffi: "npm install koffi"', {
      cause: error,
    })
  })
  const library = koffi.load(null)
  const openlog = library.func('void openlog(const void *ident, int option, int facility)')
  const syslog = library.func('void syslog(int priority, const char *format, ...)')
  openlog(ident, LOG_PID, 0)
  return (message, level) => syslog(priorities[level], '%s', 'str', printable(message))
}

/** The library keeps a pointer to it: it must stay where it is, so it has memory of its own. */
const ident = new Uint8Array(new ArrayBuffer(64))
new TextEncoder().encodeInto('nbdkit-ts', ident)
