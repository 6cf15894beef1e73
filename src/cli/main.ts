/** The program. Only this folder knows of arguments, signals and exit statuses. */
import { ConfigError, messageOf } from '../api/errors.js'
import { StuckError } from '../api/server.js'
import { configure } from '../chain/configure.js'
import { type Found, findLayer } from './modules.js'
import { parseOptions, type Settings } from './options.js'
import { complain, print } from './output.js'

/** Returns the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const { settings, words } = parseOptions(argv)
  const [word, ...parameters] = words
  const filters = []
  for (const filter of settings.filters) filters.push(await findLayer('filter', filter))
  const plugin = word === undefined ? undefined : await findLayer('plugin', word)
  if (settings.task !== 'serve') return describe(settings.task, plugin, filters)
  if (!plugin) throw new ConfigError(noPlugin)
  const layers = configure(
    plugin.definition,
    filters.map(({ definition }) => definition),
    parameters,
  )
  const { serve } = await import('./serve.js')
  return serve(settings, layers)
}

const noPlugin = 'no plugin is given: nbdkit-ts [options] PLUGIN [key=value ...] (see nbdkit-ts --help)'

async function describe(
  task: Exclude<Settings['task'], 'serve'>,
  plugin: Found | undefined,
  filters: readonly Found[],
): Promise<number> {
  const { dumpPlugin, help, version } = await import('./help.js')
  if (task !== 'dump-plugin') {
    const layers = plugin ? [...filters, plugin] : filters
    print(task === 'help' ? help(layers) : version(layers))
  } else {
    if (!plugin) throw new ConfigError(noPlugin)
    print(dumpPlugin(plugin))
  }
  return 0
}

/**
 * Who gave a wrong word, or the name of a file that cannot be read, needs no stack; who wrote a plugin that
 * throws does. A StuckError has been logged already, with the layer that is to blame.
 */
function report(error: unknown): void {
  if (error instanceof StuckError) return
  const expected = error instanceof ConfigError || (error instanceof Error && 'syscall' in error)
  complain((!expected && error instanceof Error && error.stack) || messageOf(error))
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    report(error)
    process.exit(1)
  },
)
