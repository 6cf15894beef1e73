/**
 * The system log, as in syslog(3). That function blocks while the log's reader does not read. This does not.
 */
import { closeSync } from 'node:fs'
import { ConfigError } from '../../api/errors.js'
import type { Level } from '../../lib/message-log.js'
import { printable } from '../../lib/printable.js'
import { type Libc, libc, whyNoLibc } from '../../os/libc.js'
import { LineWriter, type Outlet } from '../../os/line-writer.js'
import { droppedLines } from '../../os/standard-streams.js'

const path = '/dev/log'
/** LOG_DAEMON of syslog.h, shifted to its place beside the priority. */
const facility = 3 << 3
const priorities: Readonly<Record<Level, number>> = { error: 3, debug: 7 }

/** @throws ConfigError without the package that reaches the C library. */
export function systemLog(): (message: string, level: Level) => void {
  const library = libc()
  if (library === undefined) throw new ConfigError(`the system log cannot be reached: ${whyNoLibc()}`)
  const writer = new LineWriter(toSystemLog(library), {
    dropped: (lines) => entry(droppedLines(lines), 'error'),
  })
  process.once('exit', () => writer.flush(1000))
  return (message, level) => writer.write(entry(printable(message), level))
}

/** Formats one message, with the local time (RFC 3164). */
function entry(message: string, level: Level): string {
  const [, month, day, time] = /^\w+ (\w+) 0?(\d+) \d+ ([\d:]+)/.exec(new Date().toString()) ?? []
  const date = `${month} ${day?.padStart(2)} ${time}`
  return `<${facility + priorities[level]}>${date} nbdkit-ts[${process.pid}]: ${message}`
}

/** Reconnects to a restarted log. While there is none, messages are lost (syslog(3)). */
function toSystemLog(library: Libc): Outlet {
  let fd: number | undefined
  const disconnect = () => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }
  const send = (bytes: Uint8Array) => {
    fd ??= library.datagramsTo(path)
    return library.sendNoWait(fd, bytes)
  }
  return {
    now(bytes) {
      try {
        return send(bytes)
      } catch {
        disconnect()
        return send(bytes)
      }
    },
    close: disconnect,
  }
}
