/**
 * The C program that loads a native plugin, compiled when first needed. Node cannot call a plugin from many
 * threads, and a plugin that crashes must not take the server with it.
 */
import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ConfigError, messageOf } from '../../api/errors.js'
import { type Log, silentLog } from '../../api/log.js'
import { temporaryDirectory } from '../../os/temporary-directory.js'

const sources = fileURLToPath(new URL('../../../../src/plugins/native/host/', import.meta.url))
/** The output directory of `npm run build:native`. */
export const builtDirectory = fileURLToPath(new URL('../../../native/', import.meta.url))

/**
 * Returns the path of the program: built with the package, built earlier for this user, or built now. Where
 * nothing can be kept for this user, the program is built into a directory that is removed when this process
 * ends.
 *
 * @throws ConfigError without a working compiler, and on systems other than Linux.
 */
export async function hostProgram(
  platform: string = process.platform,
  log: Log = silentLog,
): Promise<string> {
  if (platform !== 'linux')
    throw new ConfigError(`native: plugins can be loaded on Linux alone: this is ${platform}`)
  const name = programName()
  const cache = cacheDirectory()
  const found = [builtDirectory, cache].map((directory) => join(directory, name)).find(isProgram)
  if (found !== undefined) return found
  const why = whyNotKept(cache)
  if (why === undefined) return compileHost(cache)
  temporary ??= temporaryDirectory('nbdkit-ts-native').path
  const program = join(temporary, name)
  if (existsSync(program)) return program
  log.error(
    `warning: the program that loads plugins is compiled at each start, as it cannot be kept: ${why}: ` +
      'name another directory in XDG_CACHE_HOME, or run "npm run build:native" once',
  )
  return compileHost(temporary)
}

/** The directory of this process, where nothing can be kept for longer. */
let temporary: string | undefined

/** The place defined by the XDG base directory specification. */
function cacheDirectory(): string {
  const { XDG_CACHE_HOME: cache } = process.env
  return join(cache?.startsWith('/') ? cache : join(home(), '.cache'), 'nbdkit-ts')
}

/** A user without an entry in the user database has no home directory. */
function home(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** Makes a directory, and returns why nothing can be written to it; undefined where writing works. */
function whyNotKept(directory: string): string | undefined {
  try {
    makeDirectory(directory)
    accessSync(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/**
 * Replaces `mkdir` with `recursive`, which never ends where a folder reports that it does not exist, as in
 * `/proc`.
 */
function makeDirectory(directory: string): void {
  if (isDirectory(directory)) return
  const parent = dirname(directory)
  if (parent !== directory) makeDirectory(parent)
  try {
    mkdirSync(directory, { mode: 0o755 })
  } catch (error) {
    // Another process made it just now.
    if (!isDirectory(directory)) throw error
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** The name depends on the sources and the machine, so that a program of another version is never used. */
function programName(): string {
  const hash = createHash('sha256').update(process.arch)
  for (const file of readdirSync(sources).sort()) hash.update(file).update(readFileSync(join(sources, file)))
  return `host-${hash.digest('hex').slice(0, 16)}`
}

/**
 * Compiles the program into a directory, and returns its path. Another process may do the same at the same
 * time.
 */
export async function compileHost(directory: string): Promise<string> {
  const program = join(directory, programName())
  const unfinished = `${program}.${randomUUID()}`
  const [compiler = 'cc', ...own] = (process.env.CC ?? '').split(' ').filter((word) => word !== '')
  const files = readdirSync(sources).filter((file) => file.endsWith('.c'))
  const flags = [...own, '-std=gnu11', '-O2', '-rdynamic', '-o', unfinished]
  try {
    makeDirectory(directory)
  } catch (error) {
    throw cannot(messageOf(error), error)
  }
  const inputs = files.map((file) => join(sources, file))
  try {
    await promisify(execFile)(compiler, [...flags, ...inputs, '-ldl', '-lpthread'])
    renameSync(unfinished, program)
  } catch (error) {
    rmSync(unfinished, { force: true })
    const { code, stderr = '' } = error as NodeJS.ErrnoException & { readonly stderr?: string }
    const [why] = stderr.trim().split('\n')
    throw code === 'ENOENT'
      ? cannot(
          `there is no C compiler "${compiler}": install one (on Debian: gcc and libc6-dev), or name it in CC`,
          error,
        )
      : cannot(`the compiler "${compiler}" failed: ${why || `it ended with status ${code}`}`, error)
  }
  return program
}

function cannot(why: string, cause: unknown): ConfigError {
  return new ConfigError(`native: the program that loads plugins cannot be built: ${why}`, { cause })
}
