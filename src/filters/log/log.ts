import { around, type Command } from '../../api/around.js'
import type { Device, DeviceInit } from '../../api/device.js'
import { andThen, isPromise, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { type Concurrency, defineFilter } from '../../api/plugin.js'
import { shellQuoteLine } from '../../lib/shell-quote.js'
import {
  actions,
  bit,
  commandFields,
  connectFields,
  type Entry,
  type Fields,
  failureFields,
  lineOf,
  range,
  runFields,
  variablesOf,
} from './line.js'
import { type LogFile, openLog } from './log-file.js'
import { logScript } from './log-script.js'

/** Writes each request and its result to a file, or passes them to a script (nbdkit-log-filter(1)). */
export default defineFilter({
  name: 'log',
  description: 'logs every request to a file or a script',
  params: {
    file: param.path({ keys: ['logfile'], bytes: true, doc: 'Where the log is written.' }),
    append: param.boolean({
      default: false,
      keys: ['logappend'],
      doc: 'Whether a file that exists is kept and added to.',
    }),
    script: param.string({ keys: ['logscript'], bytes: true, doc: 'Run by the shell for each line.' }),
  },
  setup({ file: path, append, script: source }, server) {
    if (path === undefined && source === undefined) return {}
    let file: LogFile | undefined
    const script = source === undefined ? undefined : logScript(source, server.log)
    let lists = 0
    let devices = 0
    const write: Write = (entry) => {
      file?.write(lineOf(entry))
      return script?.run(variablesOf(entry))
    }
    const print = (action: string, fields: Fields, more: Pick<Entry, 'connection' | 'id'> = {}) =>
      write({ type: 'PRINT', action, fields, ...more })
    return {
      // Not in setup, so that the log is not emptied for a server whose set-up another layer then refuses.
      async ready({ concurrency }) {
        if (path !== undefined) file = await openLog(path, append, server.log)
        await print('Ready', { thread_model: threadModels.indexOf(concurrency) })
      },
      accept: ({ id }) => print('Preconnect', { readonly: bit(server.readOnly) }, { id }),
      exports: (request, next) =>
        loggedList(
          write,
          { action: 'ListExports', id: ++lists },
          { readonly: bit(request.readOnly), tls: bit(request.tls) },
          () => next(request),
          (exports) => ({ exports: { words: exports.map(({ name }) => shellQuoteLine(name)).join(' ') } }),
        ),
      async open(request, next) {
        const device = await next(request)
        const connection = ++devices
        await print('Connect', connectFields(device, request), { connection })
        return loggedDevice(device, connection, write)
      },
      async close() {
        await script?.close()
        await file?.close()
      },
    }
  },
})

/** In the order of nbdkit's numbers. */
const threadModels: readonly Concurrency[] = [
  'serialize-connections',
  'serialize-all-requests',
  'serialize-requests',
  'parallel',
]

/** Where this returns a promise, work that has not started has to wait for it. */
type Write = (entry: Entry) => MaybePromise<void>

function loggedDevice(device: Device, connection: number, write: Write): DeviceInit {
  const { can } = device
  let transactions = 0
  const call = (type: Command['type']): LoggedCall => ({
    action: actions[type],
    connection,
    id: ++transactions,
  })
  return {
    ...around(device, (command, proceed) =>
      logged(write, call(command.type), commandFields(command), proceed),
    ),
    extents: (offset, length, context) =>
      context === 'base:allocation'
        ? loggedList(
            write,
            call('extents'),
            range(offset, length),
            () => device.extents(offset, length),
            (runs) => runFields(offset, runs),
          )
        : device.extents(offset, length, context),
    // FUA that is emulated below is logged as the client's request, not as the resulting flush.
    can: { ...can, fua: can.fua === 'emulate' ? 'native' : can.fua },
    close: () => write({ type: 'PRINT', action: 'Disconnect', connection, fields: { transactions } }),
  }
}

/** The parts that both lines of a request share. */
type LoggedCall = Pick<Entry, 'action' | 'connection' | 'id'>

const success = Object.freeze({ return: 0 })

function lineFor(type: Entry['type'], { action, connection, id }: LoggedCall, fields: Fields): Entry {
  return { type, action, connection, id, fields }
}

/** Writes a line before and a line after. Synchronous over a synchronous device. */
function logged<T>(write: Write, call: LoggedCall, fields: Fields, proceed: () => MaybePromise<T>) {
  return settle(write, call, fields, proceed, (value) => {
    write(lineFor('LEAVE', call, success))
    return value
  })
}

/** The same for a list, which stays lazy: the line after is written when enough items were taken. */
function loggedList<T>(
  write: Write,
  call: LoggedCall,
  fields: Fields,
  proceed: () => MaybePromise<Iterable<T>>,
  show: (taken: readonly T[]) => Fields,
): MaybePromise<Iterable<T>> {
  return settle(write, call, fields, proceed, function* (items): Iterable<T> {
    const taken: T[] = []
    let failure: Fields | undefined
    try {
      for (const item of items) {
        taken.push(item)
        yield item
      }
    } catch (error) {
      failure = failureFields(error)
      throw error
    } finally {
      write(lineFor('LEAVE', call, failure ?? { ...show(taken), ...success }))
    }
  })
}

function settle<T, U>(
  write: Write,
  call: LoggedCall,
  fields: Fields,
  proceed: () => MaybePromise<T>,
  done: (value: T) => U,
): MaybePromise<U> {
  const failed = (error: unknown): never => {
    write(lineFor('LEAVE', call, failureFields(error)))
    throw error
  }
  return andThen(write(lineFor('ENTER', call, fields)), () => {
    let result: MaybePromise<T>
    try {
      result = proceed()
    } catch (error) {
      return failed(error)
    }
    return isPromise(result) ? result.then(done, failed) : done(result)
  })
}
