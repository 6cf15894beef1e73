/** An open handle of methods in another program, as a device. */
import type { Connection } from '../../api/connection.js'
import {
  type Capabilities,
  type DeviceInit,
  dataLength,
  type WriteFlags,
  type ZeroFlags,
} from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { readBlockSize, readExtents, readSize } from './answers.js'
import { Handle } from './handle.js'
import { type CallOptions, type Methods, type Outcome, textOf } from './methods.js'
import { Questions } from './questions.js'

/**
 * Asks about the properties and capabilities of the handle, in nbdkit's order, and skips questions whose
 * answer follows from an earlier one.
 *
 * @throws Error that names the method, where an answer makes no sense.
 */
export async function openHandle(
  methods: Methods,
  name: string,
  readOnly: boolean,
  connection: Connection,
): Promise<DeviceInit> {
  const handle = new Handle(methods, name, connection)
  const ask = new Questions(handle)
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
    ? await ask.support('can_fua', canFlush || handle.has('flush') ? 'emulate' : 'none')
    : 'none'
  const multiConn = (await ask.whether('can_multi_conn')) ?? false
  const cache = await ask.support('can_cache', handle.has('cache') ? 'native' : 'none')
  const canExtents = await ask.can('can_extents', 'extents')

  const device = new HandleDevice(handle)
  // To make a write durable, flush is called even where clients may not call it (nbdkit-plugin(3)).
  const hasFlush = canFlush || (fua === 'emulate' && handle.has('flush'))
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

class HandleDevice {
  readonly #handle: Handle

  constructor(handle: Handle) {
    this.#handle = handle
  }

  read: DeviceInit['read'] = (offset, length, alloc) => {
    const called = this.#handle.call('pread', [length, offset], { into: alloc(length, 'uninitialized') })
    return called.then(({ status, output }) => {
      const got = dataLength(output)
      if (got === length) return output
      if (status === 'missing') throw new NbdError('EIO', 'pread: the plugin has no such method')
      throw new NbdError('EIO', `pread: expected ${length} bytes, got ${status === 'ok' ? got : status}`)
    })
  }

  write = async (offset: number, input: Uint8Array, flags: WriteFlags): Promise<void> => {
    await this.#do('pwrite', [input.length, offset, wordsOf(flags)], { input })
  }

  flush = async (): Promise<void> => {
    await this.#do('flush')
  }

  trim = async (offset: number, length: number, flags: WriteFlags): Promise<void> => {
    await this.#do('trim', [length, offset, wordsOf(flags)])
  }

  zero = async (offset: number, length: number, flags: ZeroFlags): Promise<void> => {
    await this.#do('zero', [length, offset, wordsOf(flags)])
  }

  extents = async (offset: number, length: number) => {
    const { output } = await this.#do('extents', [length, offset, ''])
    return readExtents(textOf(output), offset)
  }

  cache = async (offset: number, length: number): Promise<void> => {
    await this.#do('cache', [length, offset])
  }

  close = (): Promise<void> => this.#handle.close()

  /** Calls a method that was declared to exist. */
  async #do(
    method: string,
    words?: readonly (string | number)[],
    options?: Omit<CallOptions, 'connection'>,
  ): Promise<Outcome> {
    const outcome = await this.#handle.call(method, words, options)
    if (outcome.status !== 'ok') throw new NbdError('EIO', `${method}: it answered "${outcome.status}"`)
    return outcome
  }
}

function wordsOf({ fua, mayTrim, fast }: Partial<ZeroFlags>): string {
  const words = [fua ? 'fua' : '', mayTrim ? 'may_trim' : '', fast ? 'fast' : '']
  return words.filter((word) => word !== '').join(',')
}
