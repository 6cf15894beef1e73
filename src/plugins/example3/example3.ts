/**
 * A disk that can be written and flushed: a temporary file for each client, removed when the client
 * disconnects.
 *
 * The plugin defines only what its disk does itself. The server writes zeroes for it, and follows a write
 * that must be durable before the reply (FUA) with a flush.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'

export default definePlugin({
  name: 'example3',
  description: 'a temporary disk for each client: a plugin that can write and flush',
  commandLine: { has: ['close', 'pwrite', 'flush'], lines: ['example3_extra=hello'] },
  params: {
    size: param.size({ default: 100 * 1024 * 1024, doc: 'Size of the disk.' }),
  },
  setup: ({ size }) => ({
    async open() {
      const { handle, remove } = await temporaryFile(size)
      return {
        size,
        read: (offset, length, alloc) => readAll(handle, offset, alloc(length)),
        // `data` is lent until the promise settles. Copy it to use it for longer.
        write: (offset, data) => writeAll(handle, offset, data),
        // Called when the client wants all answered writes to be durable.
        flush: () => handle.datasync(),
        async close() {
          await handle.close()
          await remove()
        },
      }
    },
  }),
})

/** Makes a file of zeroes that takes up no space until it is written. */
async function temporaryFile(size: number): Promise<{ handle: FileHandle; remove(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-example3-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    const handle = await open(join(directory, 'disk'), 'wx+')
    // Most systems remove the name at once, and the file when it is closed, so that nothing is left behind
    // however the server ends. Others refuse while the file is open.
    await remove().catch(() => {})
    try {
      await handle.truncate(size)
      return { handle, remove }
    } catch (error) {
      await handle.close()
      throw error
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function readAll(handle: FileHandle, offset: number, target: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done)
    if (bytesRead === 0)
      throw new NbdError('EIO', `read ${target.length} at ${offset}: the file ends at ${offset + done}`)
    done += bytesRead
  }
  return target
}

/** A full disk throws ENOSPC here, and the client gets that error. */
async function writeAll(handle: FileHandle, offset: number, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await handle.write(data, done, data.length - done, offset + done)
    done += bytesWritten
  }
}
