/**
 * Turns an author's object into a whole Device: defaults, capabilities inferred from methods, one object
 * shape.
 */
import {
  type BlockSize,
  type Capabilities,
  type Device,
  type DeviceInit,
  unknownBlockSize,
} from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import { namesOf, unknownMember } from '../api/members.js'
import { allData, cacheByRead, thenFlush, withoutAllocation, zeroByWrite, zeroOr } from './emulate.js'
import {
  type Boundary,
  guardCache,
  guardExtents,
  guardFlush,
  guardRange,
  guardRead,
  guardWindow,
  guardWrite,
} from './guard.js'
import { markComplete, noteWindow, originOf, passesWindow } from './origins.js'
import type { Watcher } from './running.js'

/**
 * Completes the object that a layer returned. Functions of a completed device are kept, so that functions a
 * filter does not override cost nothing. The `close` of the result is the layer's own, if it has one.
 *
 * @throws Error that names the layer, where size, block size or capabilities make no sense.
 */
export function complete(
  layer: string,
  kind: 'plugin' | 'filter',
  init: DeviceInit,
  running: Watcher,
): Device {
  const { size } = checkDevice(layer, init)
  const boundary: Boundary = { layer, size, running }
  const can = capabilities(layer, init)
  const spread = originOf(init)
  const own = (key: Operation): boolean => init[key] !== spread?.[key]

  const read = own('read') ? guardRead(boundary, init.read.bind(init)) : init.read
  const flush = !init.flush
    ? nothing
    : own('flush')
      ? guardFlush(boundary, init.flush.bind(init))
      : init.flush

  // A layer without FUA never sees the flag: a flush follows instead. Where the function belongs to the
  // device below, that device has handled FUA already, unless this layer declares FUA differently.
  const emulateFua = can.fua === 'emulate'
  const handlesFua = (key: 'write' | 'trim' | 'zero') =>
    can.fua === 'native' || (!own(key) && spread?.can.fua === can.fua)

  /** The FUA handling that write (`what` is data), trim and zero (`what` is a length) share. */
  const withFua = <What, F extends { readonly fua: boolean }>(
    key: 'write' | 'trim' | 'zero',
    call: (offset: number, what: What, flags: F) => MaybePromise<void>,
  ): typeof call => {
    if (handlesFua(key)) return call
    return (offset, what, flags) => {
      const done = call(offset, what, flags.fua ? { ...flags, fua: false } : flags)
      return flags.fua && emulateFua ? thenFlush(done, flush) : done
    }
  }
  const ranged = <F extends { readonly fua: boolean }>(
    key: 'trim' | 'zero',
    operation: (offset: number, length: number, flags: F) => MaybePromise<void>,
  ) => withFua(key, own(key) ? guardRange<F>(boundary, key, operation.bind(init)) : operation)

  let write: Device['write'] = readOnly
  if (can.write && init.write)
    write = withFua('write', own('write') ? guardWrite(boundary, init.write.bind(init)) : init.write)
  // Over a layer that changes or inspects the bytes, they must not bypass it.
  let window: Device['window'] = noWindow
  const { window: lend } = init
  if (can.write && init.write && lend && passesWindow({ ...init, window: lend, write: init.write })) {
    window = own('window') ? guardWindow(boundary, lend.bind(init)) : lend
    noteWindow({ window, read, write })
  }
  const release = !init.release ? nothing : own('release') ? init.release.bind(init) : init.release
  const trim = can.trim && init.trim ? ranged('trim', init.trim) : unsupported('trim')

  // A filter's own function over a device that emulates is used as the end of the chain. Otherwise the
  // operation is emulated again, by the outermost `write` or `read`, so that a filter which changes the bytes
  // sees them.
  const keeps = (key: 'zero' | 'cache', by: 'read' | 'write') => {
    if (can[key] === 'native') return true
    return own(key) ? kind === 'filter' : spread?.can[key] === 'emulate' && spread[by] === init[by]
  }

  const emulatedZero = zeroByWrite(write, flush, can)
  let zero: Device['zero'] = unsupported('zero')
  if (can.zero !== 'none' && init.zero && keeps('zero', 'write')) {
    zero = ranged('zero', init.zero)
    // If a filter refuses, zeroes are not written behind its back: `error` may have been told to refuse.
    if (kind === 'plugin' && can.zero === 'native') zero = zeroOr(zero, emulatedZero)
  } else if (can.zero === 'emulate') zero = emulatedZero

  let cache: Device['cache'] = unsupported('cache')
  if (can.cache !== 'none' && init.cache && keeps('cache', 'read'))
    cache = own('cache') ? guardCache(boundary, init.cache.bind(init)) : init.cache
  else if (can.cache === 'emulate') cache = cacheByRead(read)

  const contexts = checkContexts(layer, init)
  const extents = !init.extents
    ? allData
    : own('extents')
      ? guardExtents(boundary, init.extents.bind(init))
      : init.extents

  const device: Device = {
    size,
    description: init.description ?? '',
    rotational: init.rotational ?? false,
    blockSize: blockSize(layer, init.blockSize),
    can,
    read,
    write,
    window,
    release,
    flush,
    trim,
    zero,
    extents: can.extents ? extents : contexts.length > 0 ? withoutAllocation(extents) : allData,
    cache,
    contexts,
    close: init.close !== undefined && own('close') ? init.close.bind(init) : nothing,
  }
  return markComplete(device)
}

type Operation = Exclude<
  keyof Device,
  'size' | 'description' | 'rotational' | 'blockSize' | 'can' | 'contexts'
>

const canMembers = namesOf<Capabilities>({
  ...{ write: true, flush: true, trim: true, extents: true, fastZero: true, multiConn: true },
  ...{ zero: true, fua: true, cache: true },
})
const members = namesOf<Device>({
  ...{ size: true, description: true, rotational: true, blockSize: true, can: true, contexts: true },
  ...{ read: true, write: true, window: true, release: true, flush: true, trim: true, zero: true },
  ...{ extents: true, cache: true, close: true },
})

/** Checks the members that every device has. JavaScript authors have no compiler that reports mistakes. */
function checkDevice(layer: string, init: unknown): DeviceInit {
  const wrong = (what: string) => new Error(`${layer}: ${what}`)
  if (typeof init !== 'object' || init === null)
    throw wrong(`open returned ${init === null ? 'null' : typeof init}: expected a device, as { size, read }`)
  const { size, read } = init as Partial<DeviceInit>
  if (typeof read !== 'function')
    throw wrong('the device that open returned has no read: add read(offset, length, alloc) { … }')
  if (size === undefined) throw wrong('the device that open returned has no size: add size, in bytes')
  if (typeof size !== 'number')
    throw wrong(`the size of the device is a ${typeof size}: expected a number of bytes`)
  if (!Number.isSafeInteger(size) || size < 0)
    throw wrong(`a size of ${size} bytes is not an integer from 0 to ${Number.MAX_SAFE_INTEGER}`)
  const device = init as DeviceInit
  const unknown = unknownMember(device, members)
  if (unknown) throw wrong(`the device that open returned: ${unknown}`)
  const unknownCan = device.can && unknownMember(device.can, canMembers)
  if (unknownCan) throw wrong(`can of the device that open returned: ${unknownCan}`)
  return device
}

function nothing(): void {}
function noWindow(): undefined {}
function readOnly(): never {
  throw new NbdError('EPERM', 'the device is read-only')
}
function unsupported(operation: string): () => never {
  return () => {
    throw new NbdError('EINVAL', `the device does not support ${operation}`)
  }
}

/**
 * Infers capabilities from the methods, unless `can` says otherwise. `can` cannot claim a capability without
 * its method.
 */
function capabilities(layer: string, init: DeviceInit): Capabilities {
  const has = (key: 'write' | 'flush' | 'trim' | 'zero' | 'extents' | 'cache') => init[key] !== undefined
  const write = init.can?.write ?? has('write')
  const can: Capabilities = {
    write,
    flush: has('flush'),
    trim: has('trim') && write,
    extents: has('extents'),
    // Emulated zeroing refuses `fast` at once, which is a valid answer. A device's own zeroing must declare
    // that it knows the flag.
    fastZero: !has('zero'),
    multiConn: false,
    zero: has('zero') ? 'native' : 'emulate',
    fua: has('flush') ? 'emulate' : 'none',
    cache: has('cache') ? 'native' : 'none',
    ...init.can,
  }
  const claims: [boolean, Parameters<typeof has>[0]][] = [
    [can.write, 'write'],
    [can.flush, 'flush'],
    [can.trim, 'trim'],
    [can.zero === 'native', 'zero'],
    [can.extents, 'extents'],
    [can.cache === 'native', 'cache'],
    [can.fua === 'emulate', 'flush'],
  ]
  for (const [claimed, method] of claims)
    if (claimed && !has(method))
      throw new Error(`${layer}: claims that it can ${method}, but has no such method`)
  return write ? can : { ...can, trim: false, zero: 'none', fua: 'none', fastZero: false }
}

function blockSize(layer: string, given: Partial<BlockSize> | undefined): BlockSize {
  if (given === undefined || given === unknownBlockSize) return unknownBlockSize
  const minimum = given.minimum ?? 1
  const preferred = given.preferred ?? Math.max(4096, minimum)
  const maximum = given.maximum ?? 0xffffffff
  const powerOfTwo = (n: number) => Number.isInteger(n) && n > 0 && 2 ** Math.round(Math.log2(n)) === n
  const wrong =
    !powerOfTwo(minimum) || minimum > 65536
      ? `minimum ${minimum} is not a power of two from 1 to 65536`
      : !powerOfTwo(preferred) || preferred < 512 || preferred > 2 ** 25 || preferred < minimum
        ? `preferred ${preferred} is not a power of two from ${Math.max(512, minimum)} to 33554432`
        : !Number.isInteger(maximum) || maximum > 0xffffffff || maximum < preferred
          ? `maximum ${maximum} is not from ${preferred} to 4294967295`
          : maximum !== 0xffffffff && maximum % minimum !== 0
            ? `maximum ${maximum} is not a multiple of the minimum, ${minimum}`
            : undefined
  if (wrong) throw new Error(`${layer}: block size: ${wrong}`)
  return given.advisory ? { minimum, preferred, maximum, advisory: true } : { minimum, preferred, maximum }
}

const noContexts: readonly string[] = Object.freeze([])

function checkContexts(layer: string, { contexts = noContexts, extents }: DeviceInit): readonly string[] {
  if (contexts === noContexts) return contexts
  const wrong = (what: string) => new Error(`${layer}: ${what}`)
  if (!Array.isArray(contexts))
    throw wrong('contexts is no list: expected the names of the metadata contexts that extents knows')
  for (const name of contexts as unknown[])
    if (typeof name !== 'string' || !/^[^\s:]+:./.test(name) || name.startsWith('base:'))
      throw wrong(`"${name}" cannot name a metadata context: expected namespace:name`)
  if (contexts.length > 0 && extents === undefined)
    throw wrong(`claims the metadata context "${contexts[0]}", but has no extents`)
  const names = new Set(contexts as string[])
  return names.size === contexts.length ? contexts : [...names]
}
