import { randomInt } from 'node:crypto'
import { NbdError } from '../../api/errors.js'
import { andThen } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { blockBytes, type Fill, GeneratedBytes } from '../../lib/computed-data.js'
import { mix } from '../../lib/mix.js'

/** A disk of random bytes, which accepts only writes of the bytes already there (nbdkit-random-plugin(1)). */
export default definePlugin({
  name: 'random',
  description: 'a disk of random bytes',
  commandLine: { has: ['can_multi_conn', 'pwrite', 'trim', 'zero', 'cache'] },
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
    seed: param.int({
      min: 0,
      max: 2 ** 32 - 1,
      doc: 'The same seed gives the same bytes; one is chosen by chance unless given.',
    }),
    fast: param.boolean({ default: false, doc: 'Repeat one random sector, with its number in it.' }),
  },
  threads: { share: ({ seed }) => seed ?? chosenByChance() },
  setup({ size, seed: given, fast }, { log, shared }) {
    const seed = given ?? (shared as number | undefined) ?? chosenByChance()
    if (log.debugging) log.debug(`seed=${seed}`)
    const bytes = new GeneratedBytes(fast ? repeatedSector(seed) : randomBlocks(seed))
    const refuse = (what: string, offset: number, length: number): never => {
      throw new NbdError('EIO', `${what} ${length} at ${offset}: random bytes have no holes`)
    }
    return {
      open: () => ({
        size,
        can: { multiConn: true },
        read: (offset, length, alloc) => bytes.read(offset, length, alloc),
        write(offset, data) {
          return andThen(bytes.mismatch(offset, data), (at) => {
            if (at < 0) return
            const place = `the byte at ${offset + at} is not what is read there`
            throw new NbdError('EIO', `write ${data.length} at ${offset}: ${place}`)
          })
        },
        trim: (offset, length) => refuse('trim', offset, length),
        zero: (offset, length) => refuse('zero', offset, length),
        cache() {},
      }),
    }
  },
})

const chosenByChance = () => randomInt(2 ** 32)

/**
 * Each block is a run of the generator xoroshiro64* (Blackman and Vigna) that starts from only the seed and
 * the block's number, so that any block can be made at any time.
 */
function randomBlocks(seed: number): Fill {
  const key = mix(seed)
  return (block, offset) => {
    const number = offset / blockBytes
    // mix() is one to one, so no two blocks of a disk start alike. A state of two zeroes would produce only
    // zeroes.
    let first = mix(number ^ key)
    let second = mix(~Math.floor(number / 2 ** 32)) ^ key || 1
    for (let at = 0; at < block.length; at++) {
      block[at] = Math.imul(first, 0x9e3779bb)
      second ^= first
      first = rotate(first, 26) ^ second ^ (second << 9)
      second = rotate(second, 13)
    }
  }
}

const sectorBytes = 512

/** One repeated random sector, with the sector number XOR-ed into its first 8 bytes. */
function repeatedSector(seed: number): Fill {
  const random = new Uint32Array(blockBytes / 4)
  randomBlocks(seed)(random, 0)
  const sector = random.subarray(0, sectorBytes / 4)
  const [first = 0, second = 0] = sector
  return (block, offset) => {
    for (let at = 0; at < block.length; at += sector.length) {
      const number = (offset + at * 4) / sectorBytes
      block.set(sector, at)
      block[at] = first ^ number
      block[at + 1] = second ^ Math.floor(number / 2 ** 32)
    }
  }
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}
