/** The destination of messages (`--log`). */
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Level } from '../../lib/message-log.js'
import { LineWriter } from '../../os/line-writer.js'
import { openOutlet } from '../../os/outlet.js'
import { droppedLines, writeStandard } from '../../os/standard-streams.js'
import type { LogTarget } from '../options/settings.js'
import { messageLine } from './output.js'
import { systemLog } from './system-log.js'

/** Writes one message. */
export type Write = (message: string, level: Level) => void

export interface MessageTarget {
  readonly write: Write
  /** For `default`: switches to the system log, because standard error is about to be closed. */
  leaveStandardError(): void
}

/**
 * @param inBackground standard error is closed once the server is ready.
 * @throws ConfigError when the file cannot be opened, or the system log cannot be reached.
 */
export async function openMessageTarget(target: LogTarget, inBackground: boolean): Promise<MessageTarget> {
  const standardError: Write = (message) => writeStandard(2, messageLine(message))
  if (target !== 'default') return fixed(target === 'stderr' ? standardError : await openOther(target))
  const later = inBackground ? openLater(standardError) : standardError
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
  const outlet = await openOutlet(fsPath(target), false).catch((error: unknown) => {
    throw new ConfigError(`--log: ${messageOf(error)}`, { cause: error })
  })
  const writer = new LineWriter(outlet, { dropped: (lines) => messageLine(droppedLines(lines)) })
  process.once('exit', () => writer.flush(1000))
  return (message) => writer.write(messageLine(message))
}

/** The user did not ask for the system log, so a server also starts without it. */
function openLater(standardError: Write): Write {
  try {
    return systemLog()
  } catch (error) {
    standardError(`warning: messages will be discarded: ${messageOf(error)}`, 'error')
    return () => {}
  }
}
