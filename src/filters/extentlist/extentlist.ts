import { readFile } from 'node:fs/promises'
import { fsPath } from '../../api/byte-text.js'
import type { Device, Extents } from '../../api/device.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { alignExtents } from '../../lib/align-extents.js'
import { extentsOf, parseList, type Run } from './list.js'

/** Reports the extents that a file lists (nbdkit-extentlist-filter(1)). */
export default defineFilter({
  name: 'extentlist',
  description: 'reports the extents that a file lists',
  params: {
    file: param.path({ keys: ['extentlist'], required: true, bytes: true, doc: 'Lists the extents.' }),
  },
  // The file may be a pipe, which can be read once.
  threads: { share: ({ file }) => readList(file) },
  async setup({ file }, { log, shared }) {
    const list = (shared as readonly Run[] | undefined) ?? (await readList(file))
    if (log.debugging)
      for (const { start, end, type } of list) log.debug(`${end - start} bytes at ${start} have type ${type}`)
    return {
      async open(request, next) {
        const device = await next(request)
        const { minimum } = device.blockSize
        const extents = listed(list, device)
        return {
          ...device,
          can: { ...device.can, extents: true },
          extents: minimum === 1 ? extents : alignExtents(extents, minimum),
        }
      },
    }
  },
})

/** Other metadata contexts are those of the disk below. */
function listed(list: readonly Run[], device: Device): Device['extents'] {
  const below: Extents = device.extents
  return (offset, length, context = 'base:allocation') =>
    context === 'base:allocation' ? extentsOf(list, offset, length) : below(offset, length, context)
}

async function readList(path: string): Promise<readonly Run[]> {
  let text: string
  try {
    text = await readFile(fsPath(path), 'utf8')
  } catch (error) {
    throw new ConfigError(`extentlist: extentlist=${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return parseList(text, path)
}
