import { constants, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { around, type Command } from '../../api/around.js'
import { type Device, type DeviceInit, type Extent, HOLE, type Support, ZERO } from '../../api/device.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { isPromise, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { type Concurrency, defineFilter, type OpenRequest } from '../../api/plugin.js'
import { shellQuoteLine } from '../../lib/shell-quote.js'

/** Writes each request and what became of it to a file (nbdkit-log-filter(1)). */
export default defineFilter({
  name: 'log',
  description: 'logs every request to a file',
  params: {
    file: param.path({ keys: ['logfile'], doc: 'Where the log is written; without it nothing is logged.' }),
    append: param.boolean({
      default: false,
      keys: ['logappend'],
      doc: 'Whether a file that exists is kept and added to.',
    }),
  },
  setup({ file: path, append }, server) {
    if (path === undefined) return {}
    let file: LogFile | undefined
    let lists = 0
    let devices = 0
    const write: Write = (line) => file?.write(line)
    return {
      // Not in setup: a log is not emptied for a server that another layer then refuses to set up.
      async ready({ concurrency }) {
        file = await openLog(path, append, server.log)
        write(`Ready thread_model=${threadModels.indexOf(concurrency)}`)
      },
      accept: ({ id }) => write(`Preconnect id=${id} readonly=${bit(server.readOnly)}`),
      exports: (request, next) =>
        loggedList(
          write,
          `ListExports id=${++lists}`,
          ` readonly=${bit(request.readOnly)} tls=${bit(request.tls)}`,
          () => next(request),
          (exports) => `exports=(${exports.map(({ name }) => shellQuoteLine(name)).join(' ')})`,
        ),
      async open(request, next) {
        const device = await next(request)
        const prefix = `connection=${++devices} `
        return loggedDevice(device, request, (line) => write(prefix + line))
      },
      close: () => file?.close(),
    }
  },
})

type Write = (line: string) => void

function loggedDevice(device: Device, request: OpenRequest, write: Write): DeviceInit {
  const { can } = device
  let transactions = 0
  write(connectLine(device, request))
  return {
    ...around(device, (command, proceed) =>
      logged(write, `${actions[command.type]} id=${++transactions}`, fields(command), proceed),
    ),
    extents: (offset, length) =>
      loggedList(
        write,
        `Extents id=${++transactions}`,
        range(offset, length),
        () => device.extents(offset, length),
        (runs) => `extents=(${runList(offset, runs)})`,
      ),
    // FUA that is emulated below is shown as the client asked it, not as the flush that it becomes.
    can: { ...can, fua: can.fua === 'emulate' ? 'native' : can.fua },
    close: () => write(`Disconnect transactions=${transactions}`),
  }
}

/** Writes a line before and a line after. Over a synchronous device it is synchronous. */
function logged<T>(write: Write, action: string, details: string, proceed: () => MaybePromise<T>) {
  return settle(write, action, details, proceed, (value) => {
    write(`...${action} return=0`)
    return value
  })
}

/** The same for what answers a list, which stays lazy: the line after is written when enough was taken. */
function loggedList<T>(
  write: Write,
  action: string,
  details: string,
  proceed: () => MaybePromise<Iterable<T>>,
  show: (taken: readonly T[]) => string,
): MaybePromise<Iterable<T>> {
  return settle(write, action, details, proceed, function* (items): Iterable<T> {
    const taken: T[] = []
    let outcome: string | undefined
    try {
      for (const item of items) {
        taken.push(item)
        yield item
      }
    } catch (error) {
      outcome = failure(error)
      throw error
    } finally {
      write(`...${action} ${outcome ?? `${show(taken)} return=0`}`)
    }
  })
}

function settle<T, U>(
  write: Write,
  action: string,
  details: string,
  proceed: () => MaybePromise<T>,
  done: (value: T) => U,
): MaybePromise<U> {
  const failed = (error: unknown): never => {
    write(`...${action} ${failure(error)}`)
    throw error
  }
  write(`${action}${details} ...`)
  let result: MaybePromise<T>
  try {
    result = proceed()
  } catch (error) {
    return failed(error)
  }
  return isPromise(result) ? result.then(done, failed) : done(result)
}

const actions: Readonly<Record<Command['type'], string>> = {
  read: 'Read',
  write: 'Write',
  flush: 'Flush',
  trim: 'Trim',
  zero: 'Zero',
  extents: 'Extents',
  cache: 'Cache',
}
/** In the order of nbdkit's numbers. */
const threadModels: readonly Concurrency[] = [
  'serialize-connections',
  'serialize-all-requests',
  'serialize-requests',
  'parallel',
]
const supports: Readonly<Record<Support, number>> = { none: 0, emulate: 1, native: 2 }
const bit = (flag: boolean | undefined) => (flag ? 1 : 0)
const hex = (value: number) => `0x${value.toString(16)}`
const range = (offset: number, length: number) => ` offset=${hex(offset)} count=${hex(length)}`

function fields({ type, offset, length, flags }: Command): string {
  if (type === 'flush') return ''
  const where = range(offset, length)
  if (type === 'zero')
    return `${where} trim=${bit(flags.mayTrim)} fua=${bit(flags.fua)} fast=${bit(flags.fast)}`
  return type === 'write' || type === 'trim' ? `${where} fua=${bit(flags.fua)}` : where
}

function connectLine({ size, blockSize, rotational, can }: Device, request: OpenRequest): string {
  const write = can.write && !request.readOnly
  return (
    `Connect export=${shellQuoteLine(request.exportName)} tls=${bit(request.tls)} size=${hex(size)} ` +
    `minsize=${hex(blockSize.minimum)} prefsize=${hex(blockSize.preferred)} ` +
    `maxsize=${hex(blockSize.maximum)} write=${bit(write)} flush=${bit(can.flush)} ` +
    `rotational=${bit(rotational)} trim=${bit(write && can.trim)} zero=${write ? supports[can.zero] : 0} ` +
    `fua=${write ? supports[can.fua] : 0} extents=${bit(can.extents)} cache=${supports[can.cache]} ` +
    `fast_zero=${bit(write && can.fastZero)}`
  )
}

/** Offset, length and type of each run; neighbours of one type are shown as one. */
function runList(offset: number, runs: readonly Extent[]): string {
  const parts: string[] = []
  let at = offset
  let end = offset
  for (const [index, { length, type }] of runs.entries()) {
    end += length
    if (runs[index + 1]?.type === type) continue
    const words = [...(type & HOLE ? ['hole'] : []), ...(type & ZERO ? ['zero'] : [])]
    parts.push(`${hex(at)} ${hex(end - at)} "${words.join()}"`)
    at = end
  }
  return parts.join(' ')
}

/** The device's own code; what is no system error is EIO, as for the client. */
function failure(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return `return=-1 error=${typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : 'EIO'}`
}

interface LogFile {
  write: Write
  close(): Promise<void>
}

/**
 * One file for all connections. Each line is written at once, by the call that logs it: lines are in the
 * order in which things happened, a reply is never sent before its line is in the file, a crash loses none.
 */
async function openLog(path: string, append: boolean, log: Log): Promise<LogFile> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_TRUNC } = constants
  let file: FileHandle | undefined
  try {
    // Lines go to the end in either case: the file may be shared, or be emptied while the server runs.
    file = await open(path, O_WRONLY | O_CREAT | O_APPEND | (append ? 0 : O_TRUNC))
  } catch (error) {
    throw new ConfigError(`log: cannot open the log file: ${messageOf(error)}`, { cause: error })
  }
  const time = clock()
  let failing = false
  return {
    write(line) {
      // A callback that was stuck may settle after the end, when the descriptor can be another file's.
      if (!file) return
      try {
        writeFileSync(file.fd, `${time()} ${line}\n`)
        failing = false
      } catch (error) {
        // The client's request is not at fault.
        if (!failing)
          log.error(`cannot write to ${path}, lines are missing from here on: ${messageOf(error)}`)
        failing = true
      }
    },
    async close() {
      const closing = file
      file = undefined
      await closing?.close()
    },
  }
}

/** The time in UTC. Date has no microseconds, and `performance` does not follow when the clock is set. */
function clock(): () => string {
  let ahead = 0
  return () => {
    const wall = Date.now()
    const counter = performance.now()
    const time = Math.min(Math.max(ahead + counter, wall), wall + 0.999)
    ahead = time - counter
    const micros = Math.floor((time - wall) * 1000)
    const text = new Date(wall).toISOString()
    return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(micros).padStart(3, '0')}`
  }
}
