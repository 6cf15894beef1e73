import { fsPath } from '../../api/byte-text.js'
import { NbdError, type NbdErrorCode } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { fileExists } from '../../os/file-system.js'

const codes = [
  'EPERM',
  'EIO',
  'ENOMEM',
  'EINVAL',
  'ENOSPC',
  'EOVERFLOW',
  'ENOTSUP',
  'ESHUTDOWN',
] as const satisfies readonly NbdErrorCode[]

// Parameters for one kind of request, under nbdkit's name for it.
const error = (key: string) => param.oneOf(codes, { keys: [`error-${key}`], doc: `error= for ${key} alone.` })
const rate = (key: string) =>
  param.probability({ keys: [`error-${key}-rate`], doc: `error-rate= for ${key} alone.` })
const file = (key: string) =>
  param.path({ keys: [`error-${key}-file`], bytes: true, doc: `error-file= for ${key} alone.` })

/** Fails requests at random (nbdkit-error-filter(1)). */
export default defineFilter({
  name: 'error',
  description: 'fails requests at random, or while a file exists',
  params: {
    error: param.oneOf(codes, { default: 'EIO', doc: 'The error that a failed request is answered with.' }),
    rate: param.probability({
      default: 0,
      keys: ['error-rate'],
      doc: 'How many of the requests fail.',
    }),
    file: param.path({
      keys: ['error-file'],
      bytes: true,
      doc: 'Requests fail while this file exists, and else do not.',
    }),
    readError: error('pread'),
    readRate: rate('pread'),
    readFile: file('pread'),
    writeError: error('pwrite'),
    writeRate: rate('pwrite'),
    writeFile: file('pwrite'),
    trimError: error('trim'),
    trimRate: rate('trim'),
    trimFile: file('trim'),
    zeroError: error('zero'),
    zeroRate: rate('zero'),
    zeroFile: file('zero'),
    extentsError: error('extents'),
    extentsRate: rate('extents'),
    extentsFile: file('extents'),
    cacheError: error('cache'),
    cacheRate: rate('cache'),
    cacheFile: file('cache'),
  },
  threads: 'isolated',
  setup(values) {
    /** Makes an operation fail. Where it never fails, returns the operation itself. */
    const failing = <A extends unknown[], R>(
      kind: 'read' | 'write' | 'trim' | 'zero' | 'extents' | 'cache',
      operation: (...args: A) => MaybePromise<R>,
    ) => {
      const code = values[`${kind}Error`] ?? values.error
      const probability = values[`${kind}Rate`] ?? values.rate
      const path = values[`${kind}File`] ?? values.file
      if (probability === 0) return operation
      const fail = (): never => {
        throw new NbdError(code, `error: injected ${code} into ${kind}`)
      }
      return (...args: A): MaybePromise<R> => {
        if (Math.random() >= probability) return operation(...args)
        if (path === undefined) return fail()
        return fileExists(fsPath(path)).then((exists) => (exists ? fail() : operation(...args)))
      }
    }
    return {
      async open(request, next) {
        const device = await next(request)
        return {
          ...device,
          read: failing('read', device.read),
          write: failing('write', device.write),
          trim: failing('trim', device.trim),
          zero: failing('zero', device.zero),
          extents: failing('extents', device.extents),
          cache: failing('cache', device.cache),
        }
      },
    }
  },
})
