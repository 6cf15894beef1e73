import { accessSync, chmodSync, constants, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConfigError, messageOf } from '../../api/errors.js'
import { param, type Setting } from '../../api/params.js'
import { definePlugin, type ServerContext } from '../../api/plugin.js'
import { processOf } from '../../api/process-context.js'
import { openCoprocess } from '../../foreign/coprocess/per-client.js'
import {
  configureBy,
  giveSettings,
  instanceOf,
  magicKeyOf,
  threadModelOf,
} from '../../foreign/methods/instance.js'
import { describeScripts, scriptCallbacks, scriptLines } from '../../foreign/scripts/describe.js'
import { ScriptMethods } from '../../foreign/scripts/script-methods.js'
import { whyNotRun } from '../../foreign/why-not-run.js'
import { type TemporaryDirectory, temporaryDirectory } from '../../os/temporary-directory.js'

/** A script that handles all methods (nbdkit-sh-plugin(3)). */
export default definePlugin({
  name: 'sh',
  description: 'a script, or any other program, that is called for each request',
  commandLine: {
    has: scriptCallbacks,
    lines: scriptLines,
    async describe({ script, settings }, server) {
      const directory = temporaryDirectory('nbdkitsh')
      try {
        const methods = load(script, directory, server)
        await configureBy(methods, 'load')
        await giveSettingsIfAny(methods, settings)
        return await describeScripts(methods, 'script')
      } finally {
        directory.remove()
      }
    },
  },
  params: {
    script: param.string({
      required: true,
      magic: true,
      doc: 'The script, which must be executable. "-" reads it from standard input.',
    }),
    coprocess: param.boolean({
      default: false,
      doc: 'Start the script once for each client, and let it answer line by line.',
    }),
    settings: param.settings({
      keys: ['KEY'],
      default: [],
      doc: 'Given to the method "config" of the script.',
    }),
  },

  async setup({ script, coprocess, settings }, server) {
    const directory = temporaryDirectory('nbdkitsh')
    try {
      const methods = load(script, directory, server)
      await configureBy(methods, 'load')
      await giveSettings(methods, settings, () => magicKeyOf(methods))
      const file = methods.file
      return instanceOf({
        methods,
        // Each client's process keeps its own requests in order, however many are on their way to it.
        concurrency: await threadModelOf(methods, coprocess ? 'parallel' : 'serialize-all-requests'),
        readOnly: server.readOnly,
        ...(coprocess ? { open: openCoprocess({ file, directory: directory.path, server }) } : {}),
        end: async () => directory.remove(),
      })
    } catch (error) {
      directory.remove()
      throw error
    }
  },
})

async function giveSettingsIfAny(methods: ScriptMethods, settings: readonly Setting[]): Promise<void> {
  for (const [key, value] of settings)
    if (key !== undefined) await configureBy(methods, 'config', [key, value])
}

/** @throws ConfigError where the script does not exist or cannot be executed. */
function load(script: string, directory: TemporaryDirectory, server: ServerContext) {
  const file = script === '-' ? inlineScript(directory.path, server) : resolve(script)
  if (script === '') throw new ConfigError('sh: the name of the script is empty')
  const why = whyUnusable(file)
  if (why !== undefined) throw new ConfigError(`sh: ${script}: ${why}`)
  const options = { name: script, directory: directory.path, server, commandOf: () => ({ file, args: [] }) }
  return Object.assign(new ScriptMethods(options), { file })
}

/** Why a script cannot be started; undefined where nothing prevents it. */
function whyUnusable(file: string): string | undefined {
  try {
    if (!statSync(file).isFile()) return 'it is not a file'
    accessSync(file, constants.X_OK)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return 'there is no such file'
    return code === 'EACCES' && existsSync(file) ? whyNotRun(file, error) : messageOf(error)
  }
}

/** Reads the script from standard input and saves it to a file. */
function inlineScript(directory: string, server: ServerContext): string {
  if (!processOf(server).stdioSafe)
    throw new ConfigError('sh: "-" reads the script from standard input, which with -s is the client')
  const file = join(directory, 'inline-script.sh')
  const text = readFileSync(0)
  // Without a first line that names an interpreter, only a shell can start the script.
  const shebang = text.subarray(0, 2).toString() === '#!' ? '' : '#!/bin/sh\n'
  writeFileSync(file, Buffer.concat([Buffer.from(shebang), text]))
  chmodSync(file, 0o700)
  return file
}
