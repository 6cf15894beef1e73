import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { silentLog } from '../api/log.js'
import type { Export, FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { exportsMax } from '../protocol/limits.js'
import { defaultExport, listExports } from './exports.js'
import type { Link } from './open.js'
import { Running } from './running.js'
import { noConnection } from './setup.js'

const request: OpenRequest = { exportName: '', readOnly: false, tls: false, connection: noConnection }
const never = (): never => assert.fail('the device is not opened for a list')

function plugin(instance: Partial<PluginInstance> = {}): Link {
  return { name: 'disk', instance: { open: never, ...instance }, log: silentLog }
}

function filter(instance: FilterInstance): Link {
  return { name: 'filter', instance, log: silentLog }
}

const list = (...links: Link[]) => listExports(links, request, new Running())
const theDefault = (...links: Link[]) => defaultExport(links, request, new Running())

describe('a list of exports', () => {
  test('of a plugin that says nothing has the default export alone, which has no name', async () =>
    assert.deepEqual(await list(plugin()), [{ name: '' }]))

  test('of a plugin that names its default export has that name', async () =>
    assert.deepEqual(await list(plugin({ defaultExport: () => 'main' })), [{ name: 'main' }]))

  test('is what the plugin says, in its order, with descriptions', async () => {
    const exports: Export[] = [{ name: 'b', description: 'second' }, { name: 'a' }]
    assert.deepEqual(await list(plugin({ exports: () => exports })), exports)
    assert.deepEqual(await list(plugin({ exports: async () => new Set(exports) })), exports)
  })

  test('may be empty', async () => assert.deepEqual(await list(plugin({ exports: () => [] })), []))

  test('may be a generator, which is stopped at the limit', async () => {
    let given = 0
    function* endless() {
      for (;;) yield { name: `disk ${given++}` }
    }
    assert.equal((await list(plugin({ exports: endless }))).length, exportsMax)
    assert.ok(given <= exportsMax + 1)
  })

  test('may have the default export in it, under the name that a client sees', async () => {
    const outer = filter({ defaultExport: async (asked, next) => `outer ${await next(asked)}` })
    const inner = filter({ exports: async (_asked, _next, name) => [{ name: await name() }] })
    const exports = await list(outer, inner, plugin({ defaultExport: () => 'main' }))
    assert.deepEqual(exports, [{ name: 'outer main' }])
  })

  test('goes through filters, each of which may change the request and the answer', async () => {
    const seen: string[] = []
    const outer = filter({
      exports: async (of, next) => [...(await next({ ...of, exportName: 'x' })), { name: 'outer' }],
    })
    const silent = filter({})
    const disk = plugin({
      exports: ({ exportName }) => {
        seen.push(exportName)
        return [{ name: 'disk' }]
      },
    })
    assert.deepEqual(await list(outer, silent, disk), [{ name: 'disk' }, { name: 'outer' }])
    assert.deepEqual(seen, ['x'])
  })

  test('has the default export as the filters name it, where the plugin has no list', async () => {
    const naming = filter({ defaultExport: () => 'renamed' })
    assert.deepEqual(await list(naming, plugin({ defaultExport: () => 'main' })), [{ name: 'renamed' }])
  })

  test('fails where a layer throws', async () => {
    const exports = () => {
      throw new Error('secret')
    }
    await assert.rejects(list(filter({}), plugin({ exports })), new Error('secret'))
  })
})

describe('the default export', () => {
  test('has an empty name where no layer knows better', async () => {
    assert.equal(await theDefault(plugin()), '')
    assert.equal(await theDefault(filter({}), plugin()), '')
  })

  test('is what the outermost layer says that has a say', async () => {
    const disk = plugin({ defaultExport: async () => 'main' })
    assert.equal(await theDefault(filter({}), disk), 'main')
    assert.equal(await theDefault(filter({ defaultExport: () => 'mine' }), disk), 'mine')
    const longer = filter({ defaultExport: async (of, next) => `${await next(of)}-copy` })
    assert.equal(await theDefault(longer, disk), 'main-copy')
  })

  test('fails where a layer throws', async () => {
    const defaultExport = () => Promise.reject(new Error('unknown'))
    await assert.rejects(theDefault(plugin({ defaultExport })), new Error('unknown'))
  })
})
