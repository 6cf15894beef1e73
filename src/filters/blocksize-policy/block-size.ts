import { type BlockSize, type Device, unknownBlockSize } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'

/** The values of the command line, in bytes. 0 is a value that was not given. */
export interface Wanted {
  readonly minimum: number
  readonly preferred: number
  readonly maximum: number
  readonly writeDisconnect: number
}

const noMaximum = 0xffffffff

/** @throws ConfigError where a value is none that NBD allows, or where two do not fit together. */
export function checkWanted(wanted: Wanted): void {
  const { minimum, preferred, maximum, writeDisconnect } = wanted
  const wrong = (key: string, value: number, why: string) =>
    new ConfigError(`blocksize-policy: blocksize-${key}=${value}: ${why}`)
  for (const [key, value] of Object.entries({ maximum, 'write-disconnect': writeDisconnect }))
    if (value > noMaximum) throw wrong(key, value, `expected at most ${noMaximum}`)
  if (minimum !== 0 && (!isPowerOfTwo(minimum) || minimum > 65536))
    throw wrong('minimum', minimum, 'expected a power of two from 1 to 64K')
  if (preferred !== 0 && (!isPowerOfTwo(preferred) || preferred < 512 || preferred > 2 ** 25))
    throw wrong('preferred', preferred, 'expected a power of two from 512 to 32M')
  if (preferred !== 0 && minimum > preferred)
    throw wrong('preferred', preferred, `expected blocksize-minimum or more, ${minimum}`)
  if (maximum !== 0 && preferred > maximum)
    throw wrong('maximum', maximum, `expected blocksize-preferred or more, ${preferred}`)
  if (maximum !== 0 && maximum !== noMaximum && maximum % (minimum || 1) !== 0)
    throw wrong('maximum', maximum, `expected a multiple of blocksize-minimum, ${minimum}`)
  if (writeDisconnect !== 0 && writeDisconnect <= minimum)
    throw wrong('write-disconnect', writeDisconnect, `expected more than blocksize-minimum, ${minimum}`)
}

/**
 * The block size for clients: the values given, and for the others those of the disk below, changed as far as
 * they have to fit. Undefined where nothing is known.
 *
 * @throws ConfigError where a given value cannot go together with one of the disk below.
 */
export function blockSizeFor({ blockSize: below }: Device, wanted: Wanted): BlockSize | undefined {
  const isKnown = below !== unknownBlockSize
  if (!isKnown && !wanted.minimum && !wanted.preferred && !wanted.maximum) return undefined
  const minimum = wanted.minimum || below.minimum
  const most = isKnown || wanted.writeDisconnect === 0 ? below.maximum : wanted.writeDisconnect
  const maximum = wanted.maximum || (most === noMaximum ? most : most - (most % minimum))
  const preferred =
    wanted.preferred || Math.max(512, minimum, Math.min(below.preferred, powerOfTwoUpTo(maximum)))
  if (minimum > preferred || preferred > maximum || (maximum !== noMaximum && maximum % minimum !== 0))
    throw new ConfigError(
      `blocksize-policy: with the block size of the disk below, the minimum would be ${minimum}, ` +
        `the preferred size ${preferred} and the maximum ${maximum}: these do not fit together`,
    )
  return { minimum, preferred, maximum, advisory: true }
}

function isPowerOfTwo(number: number): boolean {
  return Number.isInteger(Math.log2(number))
}

function powerOfTwoUpTo(number: number): number {
  return 2 ** Math.floor(Math.log2(number))
}
