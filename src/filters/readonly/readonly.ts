import { fsPath } from '../../api/byte-text.js'
import { NbdError } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { fileExists } from '../../os/file-system.js'

/** Makes a disk read-only, always or while a file exists (nbdkit-readonly-filter(1)). */
export default defineFilter({
  name: 'readonly',
  description: 'makes a disk read-only, always or while a file exists',
  params: {
    file: param.path({
      keys: ['readonly-file'],
      bytes: true,
      doc: 'The disk is read-only while this file exists; always, unless given.',
    }),
  },
  threads: 'isolated',
  setup: ({ file }) => ({
    async open(request, next) {
      if (file === undefined) {
        const device = await next({ ...request, readOnly: true })
        return { ...device, can: { ...device.can, write: false } }
      }
      const device = await next(request)
      if (!device.can.write) return device

      const unlessProtected =
        <A extends unknown[]>(what: string, operation: (...args: A) => MaybePromise<void>) =>
        async (...args: A) => {
          if (await fileExists(fsPath(file)))
            throw new NbdError('EPERM', `${what}: the disk is read-only: ${file} exists`)
          return operation(...args)
        }
      return {
        ...device,
        write: unlessProtected('write', device.write),
        trim: unlessProtected('trim', device.trim),
        zero: unlessProtected('zero', device.zero),
      }
    },
  }),
})
