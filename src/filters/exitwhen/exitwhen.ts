import type { Connection } from '../../api/connection.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { type Event, fileCreated, fileDeleted, PipeEnd, processExited, scriptSays } from './events.js'

const numberMax = 2 ** 31 - 1

/** Stops the server after an event elsewhere (nbdkit-exitwhen-filter(1)). */
export default defineFilter({
  name: 'exitwhen',
  description: 'stops the server, once it is idle, when a file, pipe, process or script says so',
  commandLine: {
    lines: ['file_created', 'file_deleted', 'process_exits', 'pipe_closed', 'script'].map(
      (event) => `exitwhen_${event}=yes`,
    ),
  },
  params: {
    fileCreated: param.path({
      keys: ['exit-when-file-created'],
      bytes: true,
      doc: 'Stop when this file exists.',
    }),
    fileDeleted: param.path({
      keys: ['exit-when-file-deleted'],
      bytes: true,
      doc: 'Stop when this file is gone.',
    }),
    pipeClosed: param.descriptor({
      keys: ['exit-when-pipe-closed', 'exit-when-fd-closed'],
      doc: 'Stop when the other end of the pipe with this file descriptor is closed.',
    }),
    processExits: param.int({
      min: 1,
      max: numberMax,
      keys: ['exit-when-process-exits', 'exit-when-pid-exits'],
      doc: 'Stop when the process with this number has ended.',
    }),
    script: param.string({
      keys: ['exit-when-script'],
      bytes: true,
      doc: 'Stop when this script of the shell exits with status 88.',
    }),
    poll: param.delay({
      default: 60_000,
      keys: ['exit-when-poll'],
      doc: 'How often to look while there is no client.',
    }),
  },
  setup(values, server) {
    const { poll, pipeClosed } = values
    if (poll < 1) throw new ConfigError(`exitwhen: exit-when-poll: ${poll} ms is too short: at least 1 ms`)
    const events: Event[] = []
    if (values.fileCreated !== undefined) events.push(fileCreated(values.fileCreated, server.log))
    if (values.fileDeleted !== undefined) events.push(fileDeleted(values.fileDeleted, server.log))
    if (values.processExits !== undefined) events.push(processExited(values.processExits))
    if (values.script !== undefined) events.push(scriptSays(values.script, server.log))
    const pipe = pipeClosed === undefined ? undefined : new PipeEnd(pipeClosed, () => void look())
    if (pipe) events.push(() => pipe.closed)
    if (events.length === 0) return {}

    const clients = new Set<Connection>()
    let happened = false
    let ended = false
    let looking: Promise<boolean> | undefined
    let timer: NodeJS.Timeout | undefined

    /** An event that has happened stays so, and nothing is checked any more. */
    const happenedNow = async (): Promise<boolean> => {
      if (happened) return true
      for (const event of events) if (await event()) return true
      return false
    }
    /**
     * Checks the events and acts on the result. Only one check runs at a time: callers during a check share
     * its result.
     */
    const look = (): Promise<boolean> => {
      looking ??= happenedNow().then((now) => {
        looking = undefined
        happened = now
        rest()
        return now
      })
      return looking
    }
    /** While there is no client: stops the server, or schedules the next check. */
    const rest = () => {
      clearTimeout(timer)
      if (ended || clients.size > 0) return
      if (happened) server.shutdown()
      else timer = setTimeout(look, poll).unref()
    }

    return {
      // An event that has already happened keeps the server from listening at all.
      async ready() {
        await look()
      },
      async accept(connection) {
        clients.add(connection)
        const refused = await look()
        void connection.closed.then(() => {
          clients.delete(connection)
          return look()
        })
        if (refused)
          throw new NbdError('ESHUTDOWN', 'exitwhen: the server is about to stop, and takes no more clients')
      },
      close() {
        ended = true
        clearTimeout(timer)
        pipe?.end()
      },
    }
  },
})
