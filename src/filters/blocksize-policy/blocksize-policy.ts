import { type Device, type Extent, unknownBlockSize } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { alignExtents } from '../../lib/align-extents.js'
import { checkGiven, sizesFor } from './block-sizes.js'

const size = (key: string, doc: string) => param.size({ keys: [`blocksize-${key}`], doc })

/** Announces and enforces block sizes (nbdkit-blocksize-policy-filter(1)). */
export default defineFilter({
  name: 'blocksize-policy',
  description: 'announces block sizes, and fails requests that do not keep to them',
  params: {
    policy: param.oneOf(['allow', 'error', 'strict-error'], {
      default: 'allow',
      keys: ['blocksize-error-policy'],
      also: { strict: 'strict-error' },
      doc: 'What becomes of a request that does not keep to the sizes.',
    }),
    minimum: size('minimum', 'The smallest unit of a request; 0 is that of the disk below.'),
    preferred: size('preferred', 'The unit that clients should use; 0 is that of the disk below.'),
    maximum: size('maximum', 'The longest read or write; 0 is that of the disk below.'),
    writeDisconnect: size('write-disconnect', 'A longer write than this drops its client; 0 is none.'),
  },
  threads: 'isolated',
  setup({ policy, ...values }) {
    const given = {
      minimum: values.minimum || undefined,
      preferred: values.preferred || undefined,
      maximum: values.maximum || undefined,
      writeDisconnect: values.writeDisconnect || undefined,
    }
    checkGiven(given)
    return {
      async open(request, next) {
        const device = await next(request)
        const blockSize = sizesFor(given, device.blockSize)
        const { minimum, maximum } = blockSize
        const enforced = policy !== 'allow' && blockSize !== unknownBlockSize
        /** @throws NbdError EINVAL for a request that does not keep to the sizes. */
        const check = (what: string, offset: number, length: number, most = Number.POSITIVE_INFINITY) => {
          if (!enforced) return
          const refuse = (why: string) => {
            throw new NbdError('EINVAL', `blocksize-policy: ${what} ${length} at ${offset}: ${why}`)
          }
          const isEnd = policy === 'error' && offset + length === device.size
          if (offset % minimum !== 0) refuse(`the offset is no multiple of ${minimum}`)
          if (length > most) refuse(`a request has ${most} bytes at most`)
          if (length % minimum !== 0 && !isEnd) refuse(`the length is no multiple of ${minimum}`)
        }
        return {
          ...device,
          blockSize,
          ...(minimum > 1 && {
            can: { ...device.can, extents: true },
            extents(offset, length, context) {
              check('block status', offset, length)
              return unitExtents(device, minimum, offset, length, context)
            },
          }),
          ...((enforced || given.writeDisconnect !== undefined) && {
            read(offset, length, alloc) {
              check('read', offset, length, maximum)
              return device.read(offset, length, alloc)
            },
            write(offset, data, flags) {
              if (data.length > (given.writeDisconnect ?? Number.POSITIVE_INFINITY)) {
                request.connection.disconnect(true)
                throw new NbdError(
                  'ESHUTDOWN',
                  `blocksize-policy: a write of ${data.length} bytes is too long`,
                )
              }
              check('write', offset, data.length, maximum)
              return device.write(offset, data, flags)
            },
            trim(offset, length, flags) {
              check('trim', offset, length)
              return device.trim(offset, length, flags)
            },
            zero(offset, length, flags) {
              check('zero', offset, length)
              return device.zero(offset, length, flags)
            },
            cache(offset, length) {
              check('cache', offset, length)
              return device.cache(offset, length)
            },
          }),
        } satisfies typeof device
      },
    }
  },
})

/** Extents in whole units, also for a range that is not aligned. What follows the last whole unit stays. */
function unitExtents(
  device: Device,
  unit: number,
  offset: number,
  length: number,
  context: string | undefined,
): MaybePromise<Iterable<Extent>> {
  const start = offset - (offset % unit)
  const whole = device.size - (device.size % unit)
  if (start >= whole) return device.extents(offset, length, context)
  const end = Math.min(whole, Math.ceil((offset + length) / unit) * unit)
  const runs = alignExtents(device.extents, unit)(start, end - start, context)
  return andThen(runs, (aligned) => without(aligned, offset - start))
}

/** The runs without their first bytes, which are fewer than the first run has. */
function* without(runs: Iterable<Extent>, bytes: number): Generator<Extent> {
  let left = bytes
  for (const { length, type } of runs) {
    yield { length: length - left, type }
    left = 0
  }
}
