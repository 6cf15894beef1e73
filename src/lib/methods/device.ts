/** An open handle of somebody else's methods, as a device. */
import type { Connection } from '../../api/connection.js'
import {
  type Capabilities,
  type DeviceInit,
  dataLength,
  type Support,
  type WriteFlags,
  type ZeroFlags,
} from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { readBlockSize, readExtents, readSize, readSupport } from './answers.js'
import { type CallOptions, type Methods, type Outcome, textOf } from './methods.js'

/** Zeroes are written in pieces of so many bytes where a plugin cannot zero. */
const zeroPieceMax = 2 ** 20

/**
 * Asks what the handle is and can do, in the order in which nbdkit does, and leaves out what follows from an
 * answer.
 *
 * @throws Error that names the method, where an answer makes no sense.
 */
export async function openHandle(
  methods: Methods,
  handle: string,
  readOnly: boolean,
  connection: Connection,
): Promise<DeviceInit> {
  const ask = new Questions(methods, handle, connection)
  const description = await ask.read('export_description', (text) => text.replace(/\n$/, ''))
  const size = await ask.read('get_size', readSize)
  if (size === undefined) throw new Error('get_size: there is no such method, and a disk has a size')
  const blockSize = await ask.read('block_size', readBlockSize)
  const rotational = await ask.whether('is_rotational')
  const canWrite = !readOnly && (await ask.can('can_write', 'pwrite'))
  const canZero = canWrite && (await ask.can('can_zero', 'zero'))
  const fastZero = canWrite && (await ask.whether('can_fast_zero'))
  const canTrim = canWrite && (await ask.can('can_trim', 'trim'))
  const canFlush = await ask.can('can_flush', 'flush')
  const fua = canWrite
    ? await ask.support('can_fua', canFlush || ask.has('flush') ? 'emulate' : 'none')
    : 'none'
  const multiConn = (await ask.whether('can_multi_conn')) ?? false
  const cache = await ask.support('can_cache', ask.has('cache') ? 'native' : 'none')
  const canExtents = await ask.can('can_extents', 'extents')

  const device = new HandleDevice(ask, handle)
  // To make a write durable, flush is called even where clients are not to call it (nbdkit-plugin(3)).
  const hasFlush = canFlush || (fua === 'emulate' && ask.has('flush'))
  const can: Partial<Capabilities> = {
    ...{ write: canWrite, multiConn, cache, flush: canFlush },
    fua: fua === 'emulate' && !hasFlush ? 'none' : fua,
    ...(fastZero === undefined ? {} : { fastZero }),
  }
  return {
    ...{ size, can, read: device.read, close: device.close },
    ...(description === undefined ? {} : { description }),
    ...(blockSize === undefined ? {} : { blockSize }),
    ...(rotational === undefined ? {} : { rotational }),
    ...(canWrite ? { write: device.write } : {}),
    ...(canZero ? { zero: device.zero } : {}),
    ...(canTrim ? { trim: device.trim } : {}),
    ...(hasFlush ? { flush: device.flush } : {}),
    ...(canExtents ? { extents: device.extents } : {}),
    ...(cache === 'native' ? { cache: device.cache } : {}),
  }
}

/** Questions about one handle. */
class Questions {
  readonly #methods: Methods
  readonly #handle: string
  readonly #connection: Connection

  constructor(methods: Methods, handle: string, connection: Connection) {
    this.#methods = methods
    this.#handle = handle
    this.#connection = connection
  }

  /** True only where that is known. */
  has(method: string): boolean {
    return this.#methods.known?.has(method) ?? false
  }

  call(method: string, words: readonly (string | number)[], options?: CallOptions): Promise<Outcome> {
    return this.#methods.call(method, words, { ...options, connection: this.#connection })
  }

  /** It is for the plugin, and not for the client: it goes to its end, also where that has been dropped. */
  async close(): Promise<void> {
    const { known } = this.#methods
    if (known === undefined || known.has('close')) await this.#methods.call('close', [this.#handle])
  }

  /** Undefined: there is no such method. */
  async read<T>(method: string, parse: (text: string) => T): Promise<T | undefined> {
    const { status, output } = await this.#ask(method)
    if (status === 'missing') return undefined
    if (status === 'false') throw new Error(`${method}: expected an answer, got "false"`)
    try {
      return parse(textOf(output))
    } catch (error) {
      throw new Error(`${method}: ${(error as Error).message}`, { cause: error })
    }
  }

  async whether(method: string): Promise<boolean | undefined> {
    const { status } = await this.#ask(method)
    return status === 'missing' ? undefined : status === 'ok'
  }

  /** Whether it may do something: as far as nothing is said, it may do what is known to be there. */
  async can(method: string, action: string): Promise<boolean> {
    return (await this.whether(method)) ?? this.has(action)
  }

  async support(method: string, otherwise: Support): Promise<Support> {
    return (await this.read(method, readSupport)) ?? otherwise
  }

  async #ask(method: string): Promise<Outcome> {
    const { known } = this.#methods
    if (known !== undefined && !known.has(method)) return missing
    return this.call(method, [this.#handle])
  }
}

const missing: Outcome = { status: 'missing', output: new Uint8Array(0) }

class HandleDevice {
  readonly #ask: Questions
  readonly #handle: string

  constructor(ask: Questions, handle: string) {
    this.#ask = ask
    this.#handle = handle
  }

  read: DeviceInit['read'] = (offset, length, alloc) => {
    const called = this.#call('pread', [length, offset], { into: alloc(length) })
    return called.then(({ status, output }) => {
      const got = dataLength(output)
      if (got === length) return output
      throw new NbdError('EIO', `pread: expected ${length} bytes, got ${status === 'ok' ? got : status}`)
    })
  }

  write = async (offset: number, input: Uint8Array, flags: WriteFlags): Promise<void> => {
    await this.#do('pwrite', [input.length, offset, wordsOf(flags)], { input })
  }

  flush = async (): Promise<void> => {
    await this.#do('flush', [])
  }

  trim = async (offset: number, length: number, flags: WriteFlags): Promise<void> => {
    await this.#do('trim', [length, offset, wordsOf(flags)])
  }

  /** Where it cannot be done in another way, and need not be fast, zeroes are written (nbdkit-plugin(3)). */
  zero = async (offset: number, length: number, flags: ZeroFlags): Promise<void> => {
    try {
      await this.#do('zero', [length, offset, wordsOf(flags)])
    } catch (error) {
      if (flags.fast || !isUnsupported(error)) throw error
      const zeroes = new Uint8Array(Math.min(length, zeroPieceMax))
      for (let done = 0; done < length; done += zeroes.length)
        await this.write(offset + done, zeroes.subarray(0, length - done), flags)
    }
  }

  extents = async (offset: number, length: number) => {
    const { output } = await this.#do('extents', [length, offset, ''])
    return readExtents(textOf(output), offset)
  }

  cache = async (offset: number, length: number): Promise<void> => {
    await this.#do('cache', [length, offset])
  }

  close = async (): Promise<void> => {
    await this.#ask.close()
  }

  #call(method: string, words: readonly (string | number)[], options?: CallOptions): Promise<Outcome> {
    return this.#ask.call(method, [this.#handle, ...words], options)
  }

  /** What has been said to be there must be. */
  async #do(method: string, words: readonly (string | number)[], options?: CallOptions): Promise<Outcome> {
    const outcome = await this.#call(method, words, options)
    if (outcome.status !== 'ok') throw new NbdError('EIO', `${method}: it answered "${outcome.status}"`)
    return outcome
  }
}

function wordsOf({ fua, mayTrim, fast }: Partial<ZeroFlags>): string {
  const words = [fua ? 'fua' : '', mayTrim ? 'may_trim' : '', fast ? 'fast' : '']
  return words.filter((word) => word !== '').join(',')
}

function isUnsupported(error: unknown): boolean {
  const code = (error as { readonly code?: unknown }).code
  return code === 'ENOTSUP' || code === 'EOPNOTSUPP'
}
