import { NbdError } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { sleep } from '../../lib/sleep.js'

/** Makes a device slow (nbdkit-delay-filter(1)). */
export default defineFilter({
  name: 'delay',
  description: 'delays requests, opening and closing',
  params: {
    read: param.delay({ default: 0, keys: ['rdelay', 'delay-read', 'delay-reads'], doc: 'Delay of a read.' }),
    changes: param.delay({
      default: 0,
      keys: ['wdelay'],
      doc: 'Delay of a write, a zero and a trim, unless given for it alone.',
    }),
    write: param.delay({ keys: ['delay-write', 'delay-writes'], doc: 'Delay of a write.' }),
    zero: param.delay({ keys: ['delay-zero', 'delay-zeroes'], doc: 'Delay of a zero.' }),
    trim: param.delay({
      keys: ['delay-trim', 'delay-trims', 'delay-discard', 'delay-discards'],
      doc: 'Delay of a trim.',
    }),
    extents: param.delay({
      default: 0,
      keys: ['delay-extents', 'delay-extent'],
      doc: 'Delay of a block status.',
    }),
    cache: param.delay({ default: 0, keys: ['delay-cache'], doc: 'Delay of a cache request.' }),
    fastZero: param.boolean({
      default: true,
      keys: ['delay-fast-zero'],
      doc: 'Whether a fast zero is delayed as any other; if not, it is refused at once.',
    }),
    open: param.delay({ default: 0, keys: ['delay-open'], doc: 'Delay before an export is opened.' }),
    close: param.delay({ default: 0, keys: ['delay-close'], doc: 'Delay of a graceful close.' }),
  },
  threads: 'isolated',
  setup({ changes, write = changes, zero = changes, trim = changes, fastZero, ...delays }, { stopping }) {
    return {
      async open(request, next) {
        const wait = (ms: number) => sleep(ms, request.connection, stopping)
        if (delays.open > 0) await wait(delays.open)
        const device = await next(request)

        /** Delays an operation. Without a delay, returns the operation itself. */
        const after = <A extends unknown[], R>(ms: number, operation: (...args: A) => MaybePromise<R>) =>
          ms === 0 ? operation : (...args: A) => wait(ms).then(() => operation(...args))

        const slowZero = after(zero, device.zero)
        const refuseFast = zero > 0 && !fastZero && device.can.zero !== 'none'
        return {
          ...device,
          can: { ...device.can, fastZero: device.can.fastZero || refuseFast },
          read: after(delays.read, device.read),
          write: after(write, device.write),
          zero: refuseFast
            ? (offset, length, flags) => {
                if (flags.fast) throw new NbdError('ENOTSUP', 'delay: zeroing is not fast here')
                return slowZero(offset, length, flags)
              }
            : slowZero,
          trim: after(trim, device.trim),
          extents: after(delays.extents, device.extents),
          cache: after(delays.cache, device.cache),
          // A dropped client is not waited for, even if it is dropped during the delay.
          close: delays.close === 0 ? device.close : () => wait(delays.close).catch(() => {}),
        }
      },
    }
  },
})
