import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device, DeviceInit } from '../api/device.js'
import { type Log, silentLog } from '../api/log.js'
import type { FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { type Link, openChain } from './open.js'
import { Running } from './running.js'
import { noConnection } from './setup.js'

const request: OpenRequest = { exportName: 'disk', readOnly: false, tls: false, connection: noConnection }

/** Records events in order. */
function story() {
  const events: string[] = []
  const errors: string[] = []
  const log: Log = { ...silentLog, error: (message) => void errors.push(message), child: () => log }
  const link = (name: string, instance: PluginInstance | FilterInstance): Link => ({ name, instance, log })
  const device = (name: string, more: Partial<DeviceInit> = {}): DeviceInit => {
    events.push(`open ${name}`)
    return {
      size: 512,
      read: (_offset, length) => new Uint8Array(length),
      close: () => void events.push(`close ${name}`),
      ...more,
    }
  }
  const plugin = link('disk', { open: () => device('disk') })
  /** A filter with a `close` of its own. */
  const filter = (name: string, more: Partial<DeviceInit> = {}): Link =>
    link(name, {
      async open(of, next) {
        const inner = await next(of)
        events.push(`open ${name}`)
        return { ...inner, close: () => void events.push(`close ${name}`), ...more }
      },
    })
  const open = (...links: Link[]): Promise<Device> => openChain(links, request, new Running())
  return { events, errors, link, device, plugin, filter, open }
}

describe('a chain', () => {
  test('opens from the plugin outwards, and closes from the outermost inwards', async () => {
    const { events, plugin, filter, open } = story()
    const device = await open(filter('a'), filter('b'), plugin)
    await device.close()
    assert.deepEqual(events, ['open disk', 'open b', 'open a', 'close a', 'close b', 'close disk'])
  })

  test('closes each layer once, however often it is closed', async () => {
    const { events, plugin, filter, open } = story()
    const device = await open(filter('a'), plugin)
    await Promise.all([device.close(), device.close()])
    await device.close()
    assert.deepEqual(events, ['open disk', 'open a', 'close a', 'close disk'])
  })

  test('waits for the close of a layer before it closes the next', async () => {
    const { events, plugin, filter, open } = story()
    const close = async () => {
      events.push('close a begins')
      await new Promise((resolve) => setImmediate(resolve))
      events.push('close a ends')
    }
    await (await open(filter('a', { close }), plugin)).close()
    assert.deepEqual(events.slice(2), ['close a begins', 'close a ends', 'close disk'])
  })

  test('closes the other layers where a close throws, and logs what it threw', async () => {
    for (const close of [
      () => {
        throw new Error('jammed')
      },
      () => Promise.reject(new Error('jammed')),
    ]) {
      const { events, errors, plugin, filter, open } = story()
      await (await open(filter('a'), filter('b', { close }), filter('c'), plugin)).close()
      assert.deepEqual(events.slice(4), ['close a', 'close c', 'close disk'])
      assert.deepEqual(errors, ['close: jammed'])
    }
  })

  test('closes what was opened where a layer above refuses', async () => {
    const { events, link, plugin, filter, open } = story()
    const refusing = link('refusing', {
      async open(of, next) {
        await next(of)
        throw new Error('not today')
      },
    })
    await assert.rejects(open(filter('a'), refusing, filter('c'), plugin), new Error('not today'))
    assert.deepEqual(events, ['open disk', 'open c', 'close c', 'close disk'])
  })

  test('closes nothing where the plugin refuses: nothing was opened', async () => {
    const { events, link, filter, open } = story()
    const refusing = link('disk', {
      open() {
        throw new Error('no such export')
      },
    })
    await assert.rejects(open(filter('a'), refusing), new Error('no such export'))
    assert.deepEqual(events, [])
  })

  test('closes a layer whose device makes no sense, as it was opened', async () => {
    const { events, link, device, open } = story()
    const wrong = link('disk', { open: () => device('disk', { size: -1 }) })
    await assert.rejects(open(wrong), /disk: a size of -1 bytes/)
    assert.deepEqual(events, ['open disk', 'close disk'])
  })

  test('closes a filter whose device makes no sense, and then what is below', async () => {
    const { events, plugin, filter, open } = story()
    await assert.rejects(open(filter('a', { size: 0.5 }), plugin), /a: a size of 0.5 bytes/)
    assert.deepEqual(events, ['open disk', 'open a', 'close a', 'close disk'])
  })

  test('gives each layer the request of the layer above', async () => {
    const { link, device, open } = story()
    const seen: string[] = []
    const renaming = link('renaming', {
      open: (of, next) => next({ ...of, exportName: `${of.exportName}-1`, readOnly: true }),
    })
    const disk = link('disk', {
      open: ({ exportName, readOnly }: OpenRequest) => {
        seen.push(`${exportName} readOnly=${readOnly}`)
        return device('disk')
      },
    })
    await (await open(renaming, disk)).close()
    assert.deepEqual(seen, ['disk-1 readOnly=true'])
  })

  test('passes over a filter without open', async () => {
    const { events, link, plugin, open } = story()
    await (await open(link('idle', {}), plugin)).close()
    assert.deepEqual(events, ['open disk', 'close disk'])
  })

  test('may end at a filter that does not open what is below', async () => {
    const { events, link, device, plugin, open } = story()
    await (await open(link('fallback', { open: () => device('fallback') }), plugin)).close()
    assert.deepEqual(events, ['open fallback', 'close fallback'])
  })
})

describe('a filter that opens the layer below twice', () => {
  /** Names the devices that `next` opened first and second, and returns one of them. */
  function twice(returns: 'first' | 'second' | 'own') {
    const told = story()
    const { events, link, device, open } = told
    let count = 0
    const disk = link('disk', { open: () => device(`disk ${++count}`) })
    const filter = link('twice', {
      async open(of, next) {
        const first = await next(of)
        const second = await next(of)
        events.push('open twice')
        if (returns === 'own') return { ...first, close: () => void events.push('close twice') }
        return returns === 'first' ? { ...first } : { ...second }
      },
    })
    return { events, open: () => open(filter, disk) }
  }

  for (const returns of ['first', 'second', 'own'] as const)
    test(`has both closed after it, once each, the last first: it returns ${returns}`, async () => {
      const { events, open } = twice(returns)
      await (await open()).close()
      const own = returns === 'own' ? ['close twice'] : []
      assert.deepEqual(events.slice(3), [...own, 'close disk 2', 'close disk 1'])
    })

  test('may close one itself before it opens the next, and that one is not closed again', async () => {
    const { events, link, device, open } = story()
    let count = 0
    const disk = link('disk', { open: () => device(`disk ${++count}`) })
    const retry = link('retry', {
      async open(of, next) {
        const first = await next(of)
        await first.close()
        return next(of)
      },
    })
    await (await open(retry, disk)).close()
    assert.deepEqual(events, ['open disk 1', 'close disk 1', 'open disk 2', 'close disk 2'])
  })

  test('has both closed where it refuses afterwards', async () => {
    const { events, link, device, open } = story()
    let count = 0
    const disk = link('disk', { open: () => device(`disk ${++count}`) })
    const refusing = link('refusing', {
      async open(of, next) {
        await next(of)
        await next(of)
        throw new Error('they differ')
      },
    })
    await assert.rejects(open(refusing, disk), new Error('they differ'))
    assert.deepEqual(events.slice(2), ['close disk 2', 'close disk 1'])
  })

  test('has the one closed that opened where the other did not', async () => {
    const { events, link, device, open } = story()
    let count = 0
    const disk = link('disk', {
      open() {
        if (++count === 2) throw new Error('no second')
        return device(`disk ${count}`)
      },
    })
    const filter = link('twice', {
      async open(of, next) {
        const first = await next(of)
        await next(of).catch(() => {})
        return first
      },
    })
    await (await open(filter, disk)).close()
    assert.deepEqual(events, ['open disk 1', 'close disk 1'])
  })
})

test('a chain without a plugin cannot be opened', () =>
  assert.rejects(openChain([], request, new Running()), new Error('the chain has no plugin')))
