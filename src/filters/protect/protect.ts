import type { Device } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { inTurns } from '../../api/turns.js'
import { type Difference, differenceText, firstDifference, firstNonZero } from '../../lib/first-difference.js'
import type { Range } from '../../lib/spans.js'
import { merged, overlaps, parseRule, type Rule } from './ranges.js'

/** Protects ranges of a disk from changes (nbdkit-protect-filter(1)). */
export default defineFilter({
  name: 'protect',
  description: 'protects ranges of a disk from changes',
  params: {
    ranges: param.strings({
      keys: ['protect'],
      default: [],
      doc: 'START-END: these bytes cannot be changed; ~START-END: only these bytes can.',
    }),
  },
  threads: 'isolated',
  setup({ ranges: texts }) {
    const rules = texts.map(parseRule)
    const ranges = merged(rules.flatMap((rule) => rule.ranges))
    if (ranges.length === 0) return {}
    return {
      async open(request, next) {
        const device = await next(request)
        const refuse = refusal(rules)
        const zeroOnly =
          <Flags>(
            what: string,
            operation: (offset: number, length: number, flags: Flags) => MaybePromise<void>,
          ): typeof operation =>
          (offset, length, flags) => {
            const parts = overlaps(ranges, offset, length)
            const checked = firstOf(parts, ({ start, end }) => firstNonZero(device, start, end - start))
            return andThen(checked, (found) => {
              if (found) refuse(`${what} ${length} at ${offset}`, found)
              return operation(offset, length, flags)
            })
          }
        return {
          ...device,
          write(offset, data, flags) {
            const parts = overlaps(ranges, offset, data.length)
            const checked = firstOf(parts, ({ start, end }) =>
              firstDifference(device, start, data.subarray(start - offset, end - offset)),
            )
            return andThen(checked, (found) => {
              if (found) refuse(`write ${data.length} at ${offset}`, found)
              return device.write(offset, data, flags)
            })
          },
          window: unprotectedWindow(device, ranges),
          trim: zeroOnly('trim', device.trim),
          zero: zeroOnly('zero', device.zero),
        }
      },
    }
  },
})

/** Throws the error for a byte that would change. It names the first rule that protects the byte. */
function refusal(rules: readonly Rule[]): (what: string, found: Difference) => never {
  return (what, found) => {
    const protects = ({ start, end }: Range) => start <= found.offset && found.offset < end
    const rule = rules.find(({ ranges }) => ranges.some(protects))
    throw new NbdError('EPERM', `protect: ${what}: protect=${rule?.text}: ${differenceText(found)}`)
  }
}

/** The first difference in any of the parts, in order. */
function firstOf(
  parts: readonly Range[],
  compare: (part: Range) => MaybePromise<Difference | undefined>,
): MaybePromise<Difference | undefined> {
  if (parts.length === 0) return undefined
  const left = parts.values()
  let found: Difference | undefined
  const compared = inTurns(() => {
    const { value: part } = left.next()
    if (part === undefined) return false
    return andThen(compare(part), (difference) => {
      found = difference
      return found === undefined
    })
  })
  return andThen(compared, () => found)
}

/** Bytes for a protected range have to be compared first, and are received elsewhere. */
function unprotectedWindow(device: Device, ranges: readonly Range[]): Device['window'] {
  return (offset, length) =>
    overlaps(ranges, offset, length).length > 0 ? undefined : device.window(offset, length)
}
