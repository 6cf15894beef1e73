import { around } from '../../api/around.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { isPromise, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { sleep } from '../../lib/sleep.js'

/** Repeats requests that fail (nbdkit-retry-request-filter(1)). */
export default defineFilter({
  name: 'retry-request',
  description: 'repeats a request that failed',
  params: {
    retries: param.int({
      default: 2,
      max: 1000,
      keys: ['retry-request-retries'],
      doc: 'How often a request is repeated.',
    }),
    delay: param.delay({
      default: 2000,
      keys: ['retry-request-delay'],
      doc: 'The time before each repetition.',
    }),
    open: param.boolean({
      default: true,
      keys: ['retry-request-open'],
      doc: 'Whether opening an export is repeated, too.',
    }),
  },
  threads: 'isolated',
  setup({ retries, delay, open }, { stopping, log }) {
    if (delay === 0) throw new ConfigError('retry-request: retry-request-delay=0: expected a time above 0')
    return {
      async open(request, next) {
        const { connection } = request

        /** Makes a call, at once, and again after each failure while there are tries left. */
        const repeated = <T>(what: string, call: () => MaybePromise<T>): MaybePromise<T> => {
          const again = async (failure: unknown): Promise<T> => {
            let error = failure
            for (let tries = 1; tries <= retries; tries++) {
              if (log.debugging) log.debug(`retry ${tries} of ${what}: ${messageOf(error)}`, 'datapath')
              await sleep(delay, connection, stopping)
              if (stopping.aborted || connection.signal.aborted) break
              try {
                return await call()
              } catch (next) {
                error = next
              }
            }
            throw error
          }
          try {
            const result = call()
            return isPromise(result) ? result.catch(again) : result
          } catch (error) {
            return again(error)
          }
        }
        const device = await (open ? repeated('open', () => next(request)) : next(request))
        return around(device, ({ type, flags }, proceed) =>
          // A fast zero that the disk cannot do fails for good, and the client has another way.
          flags.fast ? proceed() : repeated(type, proceed),
        )
      },
    }
  },
})
