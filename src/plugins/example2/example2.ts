/**
 * A plugin with a parameter, which opens something for each client and waits for it: a file, read-only.
 *
 * What needs to wait is `async`. What fails is thrown: a ConfigError ends the program with one line for its
 * user, any error with a Node `code` reaches the client as the nearest error that the protocol has.
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
    // Made absolute before the server can change its directory.
    file: param.path({ required: true, doc: 'The file to serve.' }),
  },
  async setup({ file }, { log }) {
    await checkFile(file)
    return {
      async open() {
        // Each client has a handle of its own, which lives in this closure.
        const handle = await open(file)
        try {
          const { size } = await handle.stat()
          // To make up a text that nobody reads is wasted: ask first.
          if (log.debugging) log.debug(`opened ${file}, of ${size} bytes`)
          return {
            size,
            // Memory from `alloc` has been used before and is not cleared: fill all of it.
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

/** Whoever starts the server should be told of a wrong name, not the first client. */
async function checkFile(file: string): Promise<void> {
  const stats = await stat(file).catch((error: Error) => {
    throw new ConfigError(`example2: cannot serve ${file}: ${error.message}`, { cause: error })
  })
  if (!stats.isFile()) throw new ConfigError(`example2: cannot serve ${file}: it is not a regular file`)
}

/** A file may give less than it was asked for. At its end, which may have moved since, it gives nothing. */
async function readAll(handle: FileHandle, offset: number, target: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done)
    if (bytesRead === 0)
      throw new NbdError('EIO', `read ${target.length} at ${offset}: the file ends at ${offset + done}`)
    done += bytesRead
  }
  return target
}
