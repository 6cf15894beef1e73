import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../api/errors.js'
import { param } from '../api/params.js'
import { type Concurrency, defineFilter, definePlugin, type ReadyContext } from '../api/plugin.js'
import { createServer } from '../server/server.js'
import { openDevice, readBytes } from '../testing/index.js'
import { strictest } from './setup.js'

/** A plugin and filters that record their callbacks. */
function journal() {
  const events: string[] = []
  const plugin = definePlugin({
    name: 'disk',
    description: 'for tests',
    params: { size: param.size({ default: 1024, doc: 'Size.' }) },
    setup({ size }) {
      events.push('setup disk')
      return {
        concurrency: 'serialize-requests',
        ready: () => void events.push('ready disk'),
        open({ connection, exportName }) {
          events.push(`open disk "${exportName}" for ${connection.id}`)
          return {
            size,
            read: (offset: number, length: number) => new Uint8Array(length).fill(offset),
            close: () => void events.push('close disk'),
          }
        },
        close: () => void events.push('end disk'),
      }
    },
  })
  const filter = (name: string, ready?: (below: ReadyContext) => Promise<void>) =>
    defineFilter({
      name,
      description: 'for tests',
      params: {},
      setup() {
        events.push(`setup ${name}`)
        return { ...(ready ? { ready } : {}), close: () => void events.push(`end ${name}`) }
      },
    })()
  return { events, plugin, filter }
}

test('layers are set up the plugin first, and ended the outermost first', async () => {
  const { events, plugin, filter } = journal()
  const server = createServer({ plugin: plugin(), filters: [filter('outer'), filter('inner')] })
  await server.ready()
  await server.shutdown()
  assert.deepEqual(events, [
    ...['setup disk', 'setup inner', 'setup outer', 'ready disk'],
    ...['end outer', 'end inner', 'end disk'],
  ])
})

test('a filter may open the layer below without a client, and reads from it', async () => {
  const { events, plugin, filter } = journal()
  let first: Buffer | undefined
  const scan = filter('scan', async ({ open }) => {
    const device = await open({ exportName: 'scanned' })
    first = await readBytes(device, 7, 2)
    await device.close()
  })
  const device = await openDevice(plugin(), [filter('outer'), scan])
  assert.deepEqual(first, Buffer.from([7, 7]))
  assert.deepEqual(events.slice(3, 6), ['ready disk', 'open disk "scanned" for 0', 'close disk'])
  await device.close()
})

test('what a filter opened without a client is open until the filter closes it', async () => {
  const { events, plugin } = journal()
  const shared = defineFilter({
    name: 'shared',
    description: 'one device for all clients',
    params: {},
    setup() {
      let device: Awaited<ReturnType<ReadyContext['open']>> | undefined
      return {
        async ready({ open }) {
          device = await open()
        },
        open() {
          if (device === undefined) throw new Error('not ready')
          return { ...device, close() {} }
        },
        close: () => device?.close(),
      }
    },
  })
  const server = createServer({ plugin: plugin(), filters: [shared()] })
  await server.ready()
  assert.equal(events.at(-1), 'open disk "" for 0')
  await server.shutdown()
  assert.deepEqual(events.slice(-2), ['close disk', 'end disk'])
})

test('a filter is told of the strictest concurrency of all', async () => {
  const { plugin, filter } = journal()
  let told: Concurrency | undefined
  const curious = filter('curious', async ({ concurrency }) => {
    told = concurrency
  })
  const server = createServer({ plugin: plugin(), filters: [curious] })
  await server.ready()
  assert.equal(told, 'serialize-requests')
  await server.shutdown()
})

test('a layer that is not ready ends those that were set up, and says why', async () => {
  const { events, plugin, filter } = journal()
  const refusing = filter('refusing', async () => {
    throw new ConfigError('refusing: there is nothing to scan')
  })
  await assert.rejects(createServer({ plugin: plugin(), filters: [refusing] }).ready(), {
    name: 'ConfigError',
    message: 'refusing: there is nothing to scan',
  })
  assert.deepEqual(events.slice(-2), ['end refusing', 'end disk'])
})

test('a value that does not parse names the layer, the key and what would be right', async () => {
  const { plugin } = journal()
  await assert.rejects(createServer({ plugin: plugin({ size: '1X' }) }).ready(), {
    message: 'disk: size: could not parse size "1X": expected a number and a unit, such as 512, 64k or 1G',
  })
})

test('a layer declares its concurrency in its definition, in its instance, or in both', async () => {
  const { plugin } = journal()
  let told: Concurrency | undefined
  const careful = defineFilter({
    name: 'careful',
    description: 'for tests',
    params: {},
    concurrency: 'serialize-all-requests',
    setup: () => ({
      ready({ concurrency }) {
        told = concurrency
      },
    }),
  })
  const device = await openDevice(plugin(), [careful()])
  assert.equal(told, 'serialize-all-requests')
  await device.close()
})

test('the strictest concurrency wins, and an unknown one is refused', () => {
  assert.equal(strictest([]), 'parallel')
  assert.equal(
    strictest(['parallel', 'serialize-connections', 'serialize-requests']),
    'serialize-connections',
  )
  assert.throws(() => strictest(['sometimes' as Concurrency]), ConfigError)
})
