import { type Device, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { defineFilter } from '../../api/plugin.js'
import { inTurns } from '../../api/turns.js'
import { type Difference, differenceText, firstDifference, firstNonZero } from '../../lib/first-difference.js'

/** Lets a client write only what the disk already holds (nbdkit-checkwrite-filter(1)). */
export default defineFilter({
  name: 'checkwrite',
  description: 'fails each write that differs from what the disk holds',
  params: {},
  threads: 'isolated',
  setup: () => ({
    async open(request, next) {
      const device = await next({ ...request, readOnly: true })
      const trim = (offset: number, length: number) => checkZeroes(device, 'trim', { offset, length })
      return {
        ...device,
        // Everything that a copying tool may use is offered: nothing is ever written.
        can: {
          ...device.can,
          ...{ write: true, flush: true, trim: true, fastZero: true, multiConn: true },
          zero: 'native',
          fua: 'native',
        },
        write: (offset, data) =>
          andThen(firstDifference(device, offset, data), (found) =>
            refuse(found, 'write', { offset, length: data.length }),
          ),
        trim,
        zero: (offset, length, { fast }) =>
          fast ? checkFast(device, { offset, length }) : checkZeroes(device, 'zero', { offset, length }),
        flush() {},
      }
    },
  }),
})

/** In bytes. */
interface Range {
  readonly offset: number
  readonly length: number
}

/** @throws NbdError EIO where there is a difference. */
function refuse(found: Difference | undefined, what: string, { offset, length }: Range): void {
  if (found) throw new NbdError('EIO', `checkwrite: ${what} ${length} at ${offset}: ${differenceText(found)}`)
}

/** Checks that a range reads as zeroes. Only what is not known to be zero is read. */
function checkZeroes(device: Device, what: string, range: Range): MaybePromise<void> {
  return andThen(unknownRanges(device, range), (unknown) => {
    const left = unknown[Symbol.iterator]()
    return inTurns(() => {
      const { value: part } = left.next()
      if (part === undefined) return false
      return andThen(firstNonZero(device, part.offset, part.length), (found) => {
        refuse(found, what, range)
        return true
      })
    })
  })
}

/** A fast zero succeeds only where nothing has to be read. */
function checkFast(device: Device, range: Range): MaybePromise<void> {
  return andThen(unknownRanges(device, range), ([first]) => {
    if (first === undefined) return
    const { offset, length } = range
    const where = `checkwrite: zero ${length} at ${offset}, fast`
    throw new NbdError('ENOTSUP', `${where}: ${first.length} bytes at ${first.offset} would have to be read`)
  })
}

/** The parts of a range that extents do not report as zero, in ascending order. */
function unknownRanges(device: Device, range: Range): MaybePromise<readonly Range[]> {
  if (!device.can.extents) return [range]
  const unknown: Range[] = []
  const end = range.offset + range.length
  let at = range.offset
  const collected = inTurns(() =>
    andThen(device.extents(at, end - at), (runs) => {
      for (const { length, type } of runs) {
        const inside = Math.min(length, end - at)
        if (!(type & ZERO)) unknown.push({ offset: at, length: inside })
        at += inside
        if (at === end) return false
      }
      return true
    }),
  )
  return andThen(collected, () => unknown)
}
