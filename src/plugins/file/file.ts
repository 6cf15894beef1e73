import { realpath, stat } from 'node:fs/promises'
import { fsPath, textOfBytes } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin, type PluginInstance } from '../../api/plugin.js'
import { processOf } from '../../api/process-context.js'
import { libc, whyNoLibc } from '../../os/libc.js'
import { Patience } from '../../os/patience.js'
import { DirectoryList, openNamed } from './directory.js'
import { fileDisk } from './disk.js'
import { adoptFd, inspectFd, openPath, whyNot } from './open-file.js'
import { PolledReads } from './polled-reads.js'

/** The uses of the C library, under the names that scripts check for. */
const supported = ['blkdiscard', 'blkrotational', 'extents', 'falloc_fl_punch_hole', 'falloc_fl_zero_range']

/** Serves a file, a block device, or the files of a directory (nbdkit-file-plugin(1)). */
export default definePlugin({
  name: 'file',
  description: 'serves a file, a block device, or the files of a directory',
  commandLine: {
    has: [
      'list_exports',
      'close',
      'is_rotational',
      'can_fast_zero',
      'can_fua',
      'can_multi_conn',
      'can_cache',
      'pwrite',
      'flush',
      'trim',
      'zero',
      'extents',
      'cache',
    ],
    describe: () => ({ magicKey: 'file', lines: libc() ? supported.map((what) => `file_${what}=yes`) : [] }),
  },
  params: {
    file: param.path({ magic: true, bytes: true, doc: 'The file or block device to serve.' }),
    dir: param.path({
      keys: ['dir', 'directory'],
      bytes: true,
      doc: 'Serve the files of this directory, by export name.',
    }),
    fd: param.descriptor({ min: 3, doc: 'Serve this inherited file descriptor.' }),
    dirfd: param.descriptor({ min: 3, doc: 'The same as dir, for an inherited descriptor.' }),
    cache: param.oneOf(['default', 'none'], {
      default: 'default',
      doc: 'none: try not to keep what is read and written in the page cache.',
    }),
    reduceMemoryPressure: param.boolean({
      keys: ['reduce-memory-pressure'],
      default: false,
      doc: 'The newer name of cache=none.',
    }),
    fadvise: param.oneOf(['normal', 'random', 'sequential'], {
      default: 'normal',
      doc: 'How clients are going to read.',
    }),
  },
  threads: 'isolated',
  async setup({ file, dir, fd, dirfd, cache, reduceMemoryPressure, fadvise }, server) {
    const { log } = server
    refuseTwo({ file, dir, fd, dirfd })
    const library = libc()
    const options = {
      libc: library,
      polledReads: library && processOf(server).busyPollUs > 0 ? new PolledReads(library) : undefined,
      log,
      fadvise,
      keepCached: cache === 'default' && !reduceMemoryPressure,
      patience: new Patience(),
    }
    const missing = whyNoLibc()
    if (missing !== undefined && log.debugging) log.debug(`no holes are seen or made: ${missing}`)

    const serveDirectory = (directory: string): PluginInstance => {
      const list = new DirectoryList(directory)
      return {
        exports: () => list.read(),
        open: async ({ exportName, readOnly }) =>
          fileDisk(await openNamed(directory, exportName, readOnly, log), options),
      }
    }
    if (dir !== undefined) return serveDirectory(await checkDirectory(dir))
    if (dirfd !== undefined) return serveDirectory(await checkDirFd(dirfd))
    if (file !== undefined) {
      const path = await checkFile(file)
      return {
        open: async ({ readOnly }) => fileDisk(await openPath(path, 'the file', readOnly, log), options),
      }
    }
    if (fd !== undefined) {
      const shared = await adoptFd(fd)
      return {
        open: ({ readOnly }) => fileDisk({ ...shared, writable: shared.writable && !readOnly }, options),
      }
    }
    throw new ConfigError('file: nothing to serve: give file=FILENAME, dir=DIRECTORY, fd=N or dirfd=N')
  },
})

function refuseTwo(values: Readonly<Record<string, unknown>>): void {
  const given = Object.keys(values).filter((name) => values[name] !== undefined)
  if (given.length > 1)
    throw new ConfigError(`file: ${given.join('=, ')}= cannot be used together: give one of them`)
}

/** Symbolic links are resolved now, so later changes to them have no effect. */
async function checkFile(file: string): Promise<string> {
  const path = await resolved(file)
  const stats = await stat(fsPath(path))
  if (stats.isDirectory())
    throw new ConfigError(`file: ${path} is a directory: use dir=${path} to serve the files in it`)
  const reason = whyNot(stats)
  if (reason !== undefined) throw new ConfigError(`file: ${path} cannot be served: ${reason}`)
  return path
}

async function checkDirectory(dir: string): Promise<string> {
  const path = await resolved(dir)
  if (!(await stat(fsPath(path))).isDirectory())
    throw new ConfigError(`file: dir=${path} is not a directory: use file=${path} to serve a file`)
  return path
}

async function resolved(path: string): Promise<string> {
  try {
    return textOfBytes(await realpath(fsPath(path), 'buffer'))
  } catch (error) {
    throw new ConfigError(`file: cannot serve ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/** Node cannot open a name relative to a descriptor, but Linux has a path for the directory. */
async function checkDirFd(dirfd: number): Promise<string> {
  if (!(await inspectFd(dirfd, `dirfd=${dirfd}`)).isDirectory())
    throw new ConfigError(`file: dirfd=${dirfd} is not a directory`)
  const path = `/proc/self/fd/${dirfd}`
  try {
    await stat(path)
    return path
  } catch (error) {
    throw new ConfigError(`file: dirfd= needs the proc file system of Linux: ${messageOf(error)}`, {
      cause: error,
    })
  }
}
