import { ConfigError } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter, type Export, type OpenRequest } from '../../api/plugin.js'
import { describeBy } from './descriptions.js'

/** The longest name of an export in NBD, in bytes. */
const nameBytesMax = 4096

/** Changes the names and descriptions of exports (nbdkit-exportname-filter(1)). */
export default defineFilter({
  name: 'exportname',
  description: 'changes the list of exports, their descriptions and the default export',
  params: {
    defaultExport: param.string({
      keys: ['default-export', 'default_export'],
      doc: 'The export for clients that name none.',
    }),
    list: param.oneOf(['keep', 'error', 'empty', 'defaultonly', 'explicit'], {
      default: 'keep',
      keys: ['exportname-list', 'exportname_list'],
      also: { 'default-only': 'defaultonly' },
      doc: 'Which exports are listed.',
    }),
    strict: param.boolean({
      default: false,
      keys: ['exportname-strict', 'exportname_strict'],
      doc: 'Whether a client may ask for the names of exportname only.',
    }),
    names: param.strings({ keys: ['exportname'], default: [], doc: 'The name of an export.' }),
    descriptions: param.string({
      keys: ['exportdesc'],
      default: 'keep',
      doc: 'keep, none, fixed:TEXT, or script:SCRIPT that prints the description of $name.',
    }),
  },
  threads: 'isolated',
  setup({ defaultExport: chosen, list, strict, names, descriptions }, server) {
    const tooLong = names.find((name) => Buffer.byteLength(name) > nameBytesMax)
    if (tooLong !== undefined)
      throw new ConfigError(
        `exportname: a name has ${Buffer.byteLength(tooLong)} bytes: ${nameBytesMax} at most`,
      )
    const describe = describeBy(descriptions, server)
    const isOffered = (name: string) => !strict || names.includes(name)

    const described = async (exports: Iterable<Export>, request: OpenRequest): Promise<Export[]> => {
      const all: Export[] = []
      for (const { name, description = '' } of exports)
        all.push({ name, description: await describe(name, description, request) })
      return all
    }
    /** The errors that say that there is no default export. */
    const refusals = new WeakSet<object>()
    const withoutDefault = (error: unknown): never[] => {
      if (typeof error === 'object' && error !== null && refusals.has(error)) return []
      throw error
    }

    return {
      async defaultExport(request, next) {
        if (isOffered('')) return chosen ?? (strict ? '' : next(request))
        const refusal = new ConfigError('exportname: there is no default export: a client has to name one')
        refusals.add(refusal)
        throw refusal
      },
      async exports(request, next, defaultExport) {
        switch (list) {
          case 'error':
            throw new ConfigError('exportname: the exports are not listed')
          case 'empty':
            return []
          case 'explicit':
            return described(toExports(names), request)
          case 'defaultonly':
            return described(await defaultExport().then((name) => toExports([name]), withoutDefault), request)
          case 'keep':
            return described(await below(next, request).catch(withoutDefault), request)
        }
      },
      async open(request, next) {
        const { exportName: name } = request
        if (!isOffered(name)) throw new ConfigError(`exportname: there is no export "${name}"`)
        const device = await next(request)
        const description = await describe(name, device.description, request)
        return description === device.description ? device : { ...device, description }
      },
    }
  },
})

function toExports(names: readonly string[]): Export[] {
  return names.map((name) => ({ name }))
}

/** A plugin without a list has its default export in the list. */
async function below(
  next: (request: OpenRequest) => MaybePromise<Iterable<Export>>,
  request: OpenRequest,
): Promise<Iterable<Export>> {
  return next(request)
}
