import type { Data } from '../api/device.js'

/**
 * Returns a function that fills each target with the bytes of `data` that follow those of the previous
 * target. For work on data in pieces, wherever its parts end.
 *
 * @throws RangeError where the data has fewer bytes.
 * @example const copyNext = copierOf(data); copyNext(first); copyNext(second)
 */
export function copierOf(data: Data): (target: Uint8Array) => void {
  const parts = data instanceof Uint8Array ? [data] : data
  let index = 0
  let at = 0
  return (target) => {
    for (let filled = 0; filled < target.length; ) {
      const part = parts[index]
      if (part === undefined) throw new RangeError(`${target.length - filled} bytes are missing`)
      const bytes = part.subarray(at, at + target.length - filled)
      target.set(bytes, filled)
      filled += bytes.length
      at += bytes.length
      if (at < part.length) continue
      index++
      at = 0
    }
  }
}
