/**
 * The program that loads a native plugin. It is C, and is compiled when it is first needed: Node cannot call
 * a plugin from many threads, and a plugin that crashes must not take the server with it.
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
import { temporaryDirectory } from '../../lib/temporary-directory.js'

const sources = fileURLToPath(new URL('../../../../src/plugins/native/host/', import.meta.url))
/** Where `npm run build:native` puts it. */
export const builtDirectory = fileURLToPath(new URL('../../../native/', import.meta.url))

/**
 * The path of the program: built with the package, or earlier for this user, or now. Where nothing can be
 * kept for this user, it is built into a directory that is gone with this process.
 *
 * @throws ConfigError where there is no compiler, or it fails, and on other systems than Linux.
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

/** For this process, where nothing can be kept for longer. */
let temporary: string | undefined

/** As systems want it (the XDG base directory specification). */
function cacheDirectory(): string {
  const { XDG_CACHE_HOME: cache } = process.env
  return join(cache?.startsWith('/') ? cache : join(home(), '.cache'), 'nbdkit-ts')
}

/** A user who is in no list has none. */
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

/** Makes a directory, and says why nothing can be written into it; undefined where that can be done. */
function whyNotKept(directory: string): string | undefined {
  try {
    makeDirectory(directory)
    accessSync(directory, constants.W_OK | constants.X_OK)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Not `mkdir` with `recursive`, which never ends where a folder says that it is not there, as in `/proc`. */
function makeDirectory(directory: string): void {
  if (isDirectory(directory)) return
  const parent = dirname(directory)
  if (parent !== directory) makeDirectory(parent)
  try {
    mkdirSync(directory, { mode: 0o755 })
  } catch (error) {
    // Another made it just now.
    if (!isDirectory(directory)) throw error
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** It changes with the sources and the machine, so that what is found is never another version's. */
function programName(): string {
  const hash = createHash('sha256').update(process.arch)
  for (const file of readdirSync(sources).sort()) hash.update(file).update(readFileSync(join(sources, file)))
  return `host-${hash.digest('hex').slice(0, 16)}`
}

/**
 * Compiles the program into a directory, and gives its path. Another who does it at the same time does no
 * harm.
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
