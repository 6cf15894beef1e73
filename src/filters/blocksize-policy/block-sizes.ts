/** The block sizes that a disk announces: those of the disk below, with the given ones in their place. */
import { type BlockSize, unknownBlockSize } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'

/** In bytes; undefined where the disk below decides. */
export interface GivenSizes {
  readonly minimum: number | undefined
  readonly preferred: number | undefined
  readonly maximum: number | undefined
  readonly writeDisconnect: number | undefined
}

const KiB = 1024
const MiB = 1024 * KiB
const sizeMax = 2 ** 32 - 1

/** @throws ConfigError that names the parameter whose value makes no sense. */
export function checkGiven({ minimum, preferred, maximum, writeDisconnect }: GivenSizes): void {
  for (const [key, value] of Object.entries({
    minimum,
    preferred,
    maximum,
    'write-disconnect': writeDisconnect,
  }))
    if (value !== undefined && value > sizeMax) throw refusal(key, value, 'less than 4G')
  if (minimum !== undefined && !(isPowerOfTwo(minimum) && minimum <= 64 * KiB))
    throw refusal('minimum', minimum, 'a power of two up to 64K')
  if (preferred !== undefined && !(isPowerOfTwo(preferred) && preferred >= 512 && preferred <= 32 * MiB))
    throw refusal('preferred', preferred, 'a power of two from 512 to 32M')
  if (maximum !== undefined && minimum !== undefined && maximum !== sizeMax && maximum % minimum !== 0)
    throw refusal('maximum', maximum, `a multiple of the minimum, ${minimum}`)
  if (writeDisconnect !== undefined && writeDisconnect <= (minimum ?? 0))
    throw refusal('write-disconnect', writeDisconnect, `more than the minimum, ${minimum}`)
  checkOrder(minimum ?? 1, preferred ?? minimum ?? 1, maximum ?? sizeMax)
}

/** The sizes of an export. @throws ConfigError where they contradict each other. */
export function sizesFor(given: GivenSizes, below: BlockSize): BlockSize {
  const { writeDisconnect } = given
  if (given.minimum === undefined && given.preferred === undefined && given.maximum === undefined)
    return below
  const isKnown = below !== unknownBlockSize
  const minimum = given.minimum ?? (isKnown ? below.minimum : 1)
  const preferred = given.preferred ?? (isKnown ? below.preferred : Math.max(4 * KiB, minimum))
  const most = writeDisconnect === undefined ? sizeMax : Math.floor(writeDisconnect / minimum) * minimum
  const maximum = given.maximum ?? (isKnown ? below.maximum : most)
  checkOrder(minimum, preferred, maximum)
  return { minimum, preferred, maximum }
}

function checkOrder(minimum: number, preferred: number, maximum: number): void {
  if (minimum > preferred)
    throw new ConfigError(
      `blocksize-policy: the minimum, ${minimum}, is more than the preferred size, ${preferred}`,
    )
  if (preferred > maximum)
    throw new ConfigError(
      `blocksize-policy: the preferred size, ${preferred}, is more than the maximum, ${maximum}`,
    )
}

function refusal(key: string, value: number, expected: string): ConfigError {
  return new ConfigError(`blocksize-policy: blocksize-${key}=${value}: expected ${expected}`)
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}
