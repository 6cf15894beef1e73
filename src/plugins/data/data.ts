import { totalmem } from 'node:os'
import { bytesOfText } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { allocators, ramDisk } from '../../lib/ram-disk.js'
import { environmentVariable } from '../../os/environment.js'
import { type Blob, bytes, paintAll } from './blob.js'
import { evaluate } from './evaluate.js'
import { parse } from './parse.js'

/** A disk in memory that begins with the content given on the command line (nbdkit-data-plugin(1)). */
export default definePlugin({
  name: 'data',
  description: 'a disk in memory with the bytes that the command line says',
  commandLine: {
    has: [
      'can_fast_zero',
      'can_fua',
      'can_multi_conn',
      'pwrite',
      'flush',
      'trim',
      'zero',
      'extents',
      'cache',
    ],
    lines: ['mlock=no', 'zstd=no', 'data_base64=yes'],
  },
  params: {
    data: param.string({
      magic: true,
      bytes: true,
      doc: 'The bytes, in a language of its own: a list of numbers, to begin with.',
    }),
    base64: param.string({ doc: 'The bytes, in base64.' }),
    raw: param.string({ bytes: true, doc: 'The bytes themselves.' }),
    size: param.size({ doc: 'Size of the disk: what is beyond is cut off, what is missing is zeroes.' }),
    allocator: param.oneOf(allocators, {
      default: 'sparse',
      doc: 'Take memory for what is written, or reserve it for the whole disk.',
    }),
    variables: param.others({ keys: ['NAME'], bytes: true, doc: 'What $NAME stands for in the data.' }),
  },
  async setup({ data, base64, raw, size, allocator, variables = {} }) {
    const content = await contentOf(
      { data, base64, raw },
      size ?? Number.POSITIVE_INFINITY,
      (name) => ownOf(variables, name) ?? environmentVariable(name),
    )
    const diskSize = size ?? content.length
    const length = Math.min(content.length, diskSize)
    if (Math.min(content.written, length) > totalmem())
      throw new ConfigError(
        `data: up to ${Math.min(content.written, length)} bytes are not zero, ` +
          `this machine has ${totalmem()} bytes of memory: give a smaller size=SIZE, or repeat less`,
      )
    const { canvas, operations } = ramDisk('data', diskSize, allocator)
    await paintAll(content, canvas, length)
    return { open: () => ({ size: diskSize, ...operations }) }
  },
})

/** Excludes inherited properties such as `constructor`. */
function ownOf(texts: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return Object.hasOwn(texts, name) ? texts[name] : undefined
}

type Contents = Readonly<Record<'data' | 'base64' | 'raw', string | undefined>>

/** @param wanted the number of bytes that the disk has room for. */
async function contentOf(
  contents: Contents,
  wanted: number,
  variable: (name: string) => string | undefined,
): Promise<Blob> {
  const given = Object.entries(contents).filter(([, text]) => text !== undefined)
  const [[key = '', text = ''] = []] = given
  if (given.length !== 1) {
    const names = given.map(([name]) => `${name}=`).join(' and ') || 'none'
    throw new ConfigError(`data: exactly one of data=, base64= and raw= is required, got ${names}`)
  }
  if (key === 'data') return evaluate(parse(text, variable), wanted)
  return bytes(key === 'raw' ? bytesOfText(text) : decodeBase64(text))
}

/**
 * Buffer skips characters that are not base64, but the user should get an error. Line breaks are usual and
 * harmless.
 */
function decodeBase64(text: string): Buffer {
  const digits = text.replace(/[\r\n]/g, '')
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits))
    throw new ConfigError(`data: base64: ${JSON.stringify(text.slice(0, 40))} is not base64`)
  return Buffer.from(digits, 'base64')
}
