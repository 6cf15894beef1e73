/** The program. Only this folder knows about arguments, signals and exit statuses. */
import { existsSync } from 'node:fs'
import { absolutePath, fsPath } from '../api/byte-text.js'
import { ConfigError, isA } from '../api/errors.js'
import { inheritedDescriptors, rememberInherited } from '../api/inherited.js'
import { StuckError } from '../api/server.js'
import { isParameter } from '../chain/configure.js'
import { findAll, loadLayers } from './modules/layers.js'
import type { Found } from './modules/modules.js'
import { parseOptions } from './options/parse-options.js'
import { rawArguments } from './options/raw-arguments.js'
import type { Settings, Task } from './options/settings.js'
import { complain, keepWithoutReader, nameProgram, print, startFailure } from './output/output.js'
import { endProcess } from './process/exit.js'
import { starter } from './process/launcher.js'
import { socketsAreInherited } from './serve/listen-targets.js'

/** Whether messages have stacks. */
let verbose = false

/** Returns the exit status. */
async function main(): Promise<number> {
  const startedBy = starter()
  rememberInherited(inheritedDescriptors().filter((fd) => fd !== startedBy?.fd))
  const { settings, words } = startedBy?.commandLine ?? parseOptions(rawArguments(process.argv.slice(2)))
  nameProgram(settings.name)
  verbose = settings.verbose
  if (words[0] !== undefined) refuseParameter(words[0])
  if (settings.task !== 'serve') return describe(settings.task, settings, words)
  const [plugin, ...parameters] = words
  if (plugin === undefined) throw new ConfigError(noPlugin)
  if (goesIntoBackground(settings) && startedBy === undefined)
    return (await import('./process/background.js')).startInBackground({ settings, words })
  const layerWords = { plugin, filters: settings.filters, parameters }
  const layers = await loadLayers(layerWords)
  const { serve } = await import('./serve/serve.js')
  return serve(settings, layerWords, layers, startedBy)
}

const usage = 'nbdkit-ts [options] PLUGIN [key=value ...] (see nbdkit-ts --help)'
const noPlugin = `no plugin is given: ${usage}`

/** The first word is the plugin, even if it looks like a parameter: a file may have such a name. */
function refuseParameter(word: string): void {
  if (isParameter(word) && !existsSync(fsPath(absolutePath(word))))
    throw new ConfigError(`"${word}" is a parameter, and parameters follow the plugin: ${usage}`)
}

/** A parent that passes sockets also supervises the process (nbdkit-service(1)). */
function goesIntoBackground({ foreground }: Settings): boolean {
  return !foreground && !socketsAreInherited()
}

async function describe(
  task: Exclude<Task, 'serve'>,
  settings: Settings,
  [word, ...parameters]: readonly string[],
): Promise<number> {
  const { dumpConfig, dumpPlugin, longOptions, shortOptions } = await import('./describe/dump.js')
  const { help, version } = await import('./describe/help.js')
  const filters = await findAll('filter', settings.filters)
  const plugin = word === undefined ? [] : await findAll('plugin', [word])
  const isOfPlugin = task === 'help' || task === 'dump-plugin'
  const { describePlugin } = await import('./describe/describe.js')
  const more = isOfPlugin && plugin[0] ? await describePlugin(plugin[0], parameters, settings) : undefined
  const texts: Readonly<Record<typeof task, () => string>> = {
    'dump-config': dumpConfig,
    'dump-plugin': () => dumpPlugin(named(plugin), filters, more),
    'long-options': longOptions,
    'short-options': shortOptions,
    help: () => help([...filters, ...plugin], more?.help),
    version: () => version([...filters, ...plugin]),
  }
  print(texts[task]())
  return 0
}

function named([plugin]: readonly Found[]): Found {
  if (plugin === undefined) throw new ConfigError(noPlugin)
  return plugin
}

/** Node ends by itself when no event can occur any more: a layer waits for something that never comes. */
process.once('beforeExit', () => {
  complain('nothing is left to do, and yet a layer waits for something: it is given up')
  process.exit(1)
})

keepWithoutReader()

main().then(endProcess, (error: unknown) => {
  const isStuck = isA(error, StuckError)
  // This error has been logged already, with the layer at fault.
  if (!isStuck) complain(startFailure(error, verbose))
  void endProcess(1, isStuck)
})
