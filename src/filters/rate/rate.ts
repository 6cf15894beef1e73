import { readFile } from 'node:fs/promises'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { parseSize } from '../../api/parse.js'
import { defineFilter } from '../../api/plugin.js'
import { sleep } from '../../lib/sleep.js'
import { Bucket } from './bucket.js'

/** Bits a second, as bytes a millisecond. */
const perMs = (bits: number) => bits / 8 / 1000

/** A waiting request looks at least this often whether the rate has changed, in ms. */
const lookMs = 1000

/** Limits the bandwidth (nbdkit-rate-filter(1)). */
export default defineFilter({
  name: 'rate',
  description: 'limits the bandwidth of all clients, or of each',
  params: {
    rate: param.size({ doc: 'Bits a second that all clients together read, and that they write.' }),
    connectionRate: param.size({
      keys: ['connection-rate'],
      doc: 'Bits a second that each client reads, and that it writes.',
    }),
    file: param.path({
      keys: ['rate-file'],
      bytes: true,
      doc: 'While this file exists, its first line is the rate of all clients.',
    }),
    connectionFile: param.path({
      keys: ['connection-rate-file'],
      bytes: true,
      doc: 'While this file exists, its first line is the rate of each client.',
    }),
    burst: param.delay({
      default: 2000,
      keys: ['burstiness'],
      doc: 'The time for which unused bandwidth is saved up.',
    }),
  },
  setup({ rate, connectionRate, file, connectionFile, burst }, { stopping, log }) {
    for (const [key, value] of Object.entries({ rate, 'connection-rate': connectionRate }))
      if (value === 0) throw new ConfigError(`rate: ${key}=0: expected bits a second, at least 1`)
    const limits = (bits = 0) => ({
      read: new Bucket(perMs(bits), burst),
      write: new Bucket(perMs(bits), burst),
    })
    type Limits = ReturnType<typeof limits>
    const common = limits(rate)

    /** Sets the rate that a file has. An unreadable file, or one without a rate, changes nothing. */
    const follow = async (path: string, { read, write }: Limits) => {
      const text = await readFile(fsPath(path), 'latin1').catch(() => undefined)
      const [line = ''] = text?.split('\n') ?? []
      if (line.trim() === '') return
      try {
        const bits = parseSize(line.trim())
        read.rate = perMs(bits)
        write.rate = perMs(bits)
      } catch (error) {
        log.error(`rate: ${path}: ${(error as Error).message}`)
      }
    }

    return {
      async open(request, next) {
        const device = await next(request)
        const own = limits(connectionRate)
        const files = [
          ...(file === undefined ? [] : [() => follow(file, common)]),
          ...(connectionFile === undefined ? [] : [() => follow(connectionFile, own)]),
        ]
        const isLimited = rate !== undefined || connectionRate !== undefined || files.length > 0
        if (!isLimited) return device

        /** Waits until so many bytes may pass, and then makes the call. */
        const limited = <T>(kind: 'read' | 'write', bytes: number, call: () => MaybePromise<T>) => {
          const buckets = [common[kind], own[kind]]
          const places = buckets.map((bucket) => bucket.ask(bytes))
          const waitMs = () => Math.max(...buckets.map((bucket, index) => bucket.waitMs(places[index] ?? 0)))
          const wait = async () => {
            for (;;) {
              for (const look of files) await look()
              const ms = waitMs()
              if (ms === 0 || stopping.aborted || request.connection.signal.aborted) return call()
              await sleep(Math.min(ms, lookMs), request.connection, stopping)
            }
          }
          return files.length === 0 && waitMs() === 0 ? call() : wait()
        }
        return {
          ...device,
          read: (offset, length, alloc) => limited('read', length, () => device.read(offset, length, alloc)),
          write: (offset, data, flags) =>
            limited('write', data.length, () => device.write(offset, data, flags)),
        }
      },
    }
  },
})
