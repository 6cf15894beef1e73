/**
 * A plugin with a parameter, which opens a file for each client and waits for it. Read-only.
 *
 * Functions that have to wait are `async`. Errors are thrown: a ConfigError ends the program with one line
 * for its user, and any error with a Node `code` reaches the client as the nearest error of the protocol.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { ConfigError, NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'

export default definePlugin({
  name: 'example2',
  description: 'serves a file, read-only: a plugin with a parameter, and a handle for each client',
  commandLine: { has: ['close'], lines: ['example2_extra=hello'] },
  params: {
    // The path is made absolute before the server can change its directory.
    file: param.path({ required: true, doc: 'The file to serve.' }),
  },
  async setup({ file }, { log }) {
    await checkFile(file)
    return {
      async open() {
        // Each client has its own handle, which lives in this closure.
        const handle = await open(file)
        try {
          const { size } = await handle.stat()
          // Check first: building a text that nobody reads is a waste.
          if (log.debugging) log.debug(`opened ${file}, of ${size} bytes`)
          return {
            size,
            // Memory from `alloc` is zeroed. `readAll` fills all of it, or throws.
            read: (offset, length, alloc) => readAll(handle, offset, alloc(length)),
            // Called once, after the last request of this client.
            close: () => handle.close(),
          }
        } catch (error) {
          await handle.close()
          throw error
        }
      },
    }
  },
})

/** Checks the file early, so that a wrong name is reported to the user and not to the first client. */
async function checkFile(file: string): Promise<void> {
  const stats = await stat(file).catch((error: Error) => {
    throw new ConfigError(`example2: cannot serve ${file}: ${error.message}`, { cause: error })
  })
  if (!stats.isFile()) throw new ConfigError(`example2: cannot serve ${file}: it is not a regular file`)
}

/**
 * Reads until `target` is full: a file may return less than requested. At its end, which may have moved, it
 * returns nothing.
 */
async function readAll(handle: FileHandle, offset: number, target: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done)
    if (bytesRead === 0)
      throw new NbdError('EIO', `read ${target.length} at ${offset}: the file ends at ${offset + done}`)
    done += bytesRead
  }
  return target
}
