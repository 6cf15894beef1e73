import { type BlockSize, type Device, type Extent, unknownBlockSize } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { alignExtents } from '../../lib/align-extents.js'
import { blockSizeFor, checkWanted } from './block-size.js'

const policies = ['allow', 'error', 'strict-error'] as const
type Policy = (typeof policies)[number]

const size = (key: string, doc: string) => param.size({ default: 0, keys: [`blocksize-${key}`], doc })

/** Tells clients a block size, and may enforce that size (nbdkit-blocksize-policy-filter(1)). */
export default defineFilter({
  name: 'blocksize-policy',
  description: 'tells clients a block size, and can refuse requests that do not keep to it',
  params: {
    policy: param.oneOf(policies, {
      default: 'allow',
      keys: ['blocksize-error-policy'],
      also: { strict: 'strict-error' },
      doc: 'What becomes of requests that do not keep to the block size.',
    }),
    minimum: size('minimum', 'The smallest unit; 0: that of the disk below.'),
    preferred: size('preferred', 'The size at which requests are fast; 0: that of the disk below.'),
    maximum: size('maximum', 'The longest read or write; 0: that of the disk below.'),
    writeDisconnect: size(
      'write-disconnect',
      'A client that writes more at once is disconnected; 0: none is.',
    ),
  },
  threads: 'isolated',
  setup({ policy, minimum, preferred, maximum, writeDisconnect }) {
    const wanted = { minimum, preferred, maximum, writeDisconnect }
    checkWanted(wanted)
    const changes = minimum !== 0 || preferred !== 0 || maximum !== 0
    return {
      async open(request, next) {
        const device = await next(request)
        const blockSize = changes || policy !== 'allow' ? blockSizeFor(device, wanted) : undefined
        if (blockSize === undefined && writeDisconnect === 0) return device
        const checked = blockSize === undefined ? device : withBlockSize(device, blockSize, policy)
        if (writeDisconnect === 0) return checked
        return {
          ...checked,
          write(offset, data, flags) {
            if (data.length <= writeDisconnect) return checked.write(offset, data, flags)
            request.connection.disconnect(true)
            throw new NbdError(
              'ESHUTDOWN',
              `blocksize-policy: write ${data.length} at ${offset}: ` +
                `the client is disconnected for more than ${writeDisconnect} bytes`,
            )
          },
          window: (offset, length) => checked.window(offset, length),
        }
      },
    }
  },
})

type Check = (what: string, offset: number, length: number, limit?: 'data') => void

function withBlockSize(device: Device, blockSize: BlockSize, policy: Policy): Device {
  const check = checkFor(device, blockSize, policy)
  const extents = aligned(device, blockSize.minimum)
  return {
    ...device,
    blockSize,
    // Without extents below all is data, and requests for them are checked all the same.
    can: { ...device.can, extents: true },
    read(offset, length, alloc) {
      check('read', offset, length, 'data')
      return device.read(offset, length, alloc)
    },
    write(offset, data, flags) {
      check('write', offset, data.length, 'data')
      return device.write(offset, data, flags)
    },
    window: (offset, length) => device.window(offset, length),
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
    extents(offset, length, context) {
      check('extents', offset, length)
      return extents(offset, length, context)
    },
  }
}

/** The checks of the policy, then the ones that the disk below may rely on. */
function checkFor(device: Device, blockSize: BlockSize, policy: Policy): Check {
  const byPolicy =
    policy === 'allow' ? undefined : checkAgainst(blockSize, policy === 'error' ? device.size : 0)
  const below = device.blockSize
  const isFree = below === unknownBlockSize || below.advisory
  const byDevice = isFree ? undefined : checkAgainst(below, 0)
  return (what, offset, length, limit) => {
    byPolicy?.(what, offset, length, limit)
    byDevice?.(what, offset, length, limit)
  }
}

/** Refuses what does not keep to a block size, but not the end of a disk that ends at `end`. */
function checkAgainst({ minimum, maximum }: BlockSize, end: number): Check {
  return (what, offset, length, limit) => {
    const wrong = (why: string) =>
      new NbdError('EINVAL', `blocksize-policy: ${what} ${length} at ${offset}: ${why}`)
    const isEnd = offset + length === end
    if (offset % minimum !== 0) throw wrong(`the offset is no multiple of the minimum block size, ${minimum}`)
    if (length < minimum && !isEnd) throw wrong(`the length is below the minimum block size, ${minimum}`)
    if (limit === 'data' && length > maximum)
      throw wrong(`the length is above the maximum block size, ${maximum}`)
    if (length % minimum !== 0 && !isEnd)
      throw wrong(`the length is no multiple of the minimum block size, ${minimum}`)
  }
}

/** Extents of whole blocks. A client may ask for a range that is not aligned, and gets its part of them. */
function aligned(device: Device, minimum: number): Device['extents'] {
  if (minimum === 1) return device.extents
  const whole = alignExtents(device.extents, minimum)
  return (offset, length, context) => {
    const before = offset % minimum
    const end = Math.min(device.size, Math.ceil((offset + length) / minimum) * minimum)
    const runs = whole(offset - before, end - offset + before, context)
    return before === 0 ? runs : andThen(runs, (all) => without(all, before))
  }
}

/** The runs without their first bytes, which lie in the first run: it is a whole block at least. */
function* without(runs: Iterable<Extent>, bytes: number): Generator<Extent> {
  let cut = bytes
  for (const run of runs) {
    yield { ...run, length: run.length - cut }
    cut = 0
  }
}
