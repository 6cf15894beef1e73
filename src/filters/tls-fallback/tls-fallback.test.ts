import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { unknownBlockSize } from '../../api/device.js'
import { silentLog } from '../../api/log.js'
import type { FilterInstance, OpenRequest } from '../../api/plugin.js'
import { noConnection, noServer } from '../../chain/setup.js'
import memory from '../../plugins/memory/memory.js'
import { NBD_CMD_READ, NBD_OPT_LIST, NBD_REP_SERVER } from '../../protocol/constants.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import noparallel from '../noparallel/noparallel.js'
import tlsFallback from './tls-fallback.js'

const plain = { tls: false }
const secure = { tls: true }
const standard = 'This server needs TLS: connect with TLS to reach its disks.\n'

/** The filter alone, above a layer with the exports a and b, and requests with and without TLS. */
async function alone() {
  const { definition } = tlsFallback
  const message = definition.params.message.default
  const filter: FilterInstance = await definition.setup({ message }, { ...noServer, log: silentLog })
  const asked: OpenRequest[] = []
  const next = <T>(answer: T) => {
    return (request: OpenRequest) => {
      asked.push(request)
      return answer
    }
  }
  const request = { exportName: '', readOnly: false, connection: noConnection }
  return { filter, asked, next, plain: { ...request, ...plain }, secure: { ...request, ...secure } }
}

describe('tls-fallback without TLS', () => {
  test('serves the message, with zeroes behind it, and does not open the disk', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [tlsFallback()], plain)
    const expected = Buffer.alloc(512)
    expected.write(standard)
    assert.deepEqual(await readBytes(device, 0, 512), expected)
    assert.equal((await readBytes(device, 5, 6)).toString(), 'server')
    await device.close()
    assert.deepEqual([disk.opened, disk.calls], [[], []])
  })

  test('serves a disk that can do nothing but read, whatever the one below can', async () => {
    const device = await openDevice(memory({ size: '1M' }), [tlsFallback()], plain)
    const { size, description, rotational, blockSize, contexts } = device
    assert.deepEqual([size, description, rotational, contexts], [512, '', false, []])
    assert.equal(blockSize, unknownBlockSize)
    assert.deepEqual(device.can, {
      ...{ write: false, flush: false, trim: false, extents: false, fastZero: false, multiConn: false },
      ...{ zero: 'none', fua: 'none', cache: 'none' },
    })
    assert.throws(() => device.write(0, Buffer.alloc(1), { fua: false }), { code: 'EPERM' })
    await deviceContract(device)
    await device.close()
  })

  test('serves a message of its own, and of a long one the first 512 bytes', async () => {
    const device = await openDevice(new Disk().plugin, [tlsFallback({ message: 'hi' })], plain)
    assert.deepEqual(await readBytes(device, 0, 3), Buffer.from('hi\0'))
    await device.close()
    const long = await openDevice(new Disk().plugin, [tlsFallback({ message: 'x'.repeat(600) })], plain)
    assert.deepEqual(await readBytes(long, 0, 512), Buffer.alloc(512, 'x'))
    await long.close()
  })

  test('has one export without a name, and asks no layer', async () => {
    const { filter, asked, next, plain } = await alone()
    const noDefault = () => Promise.resolve('')
    assert.deepEqual(await filter.exports?.(plain, next([{ name: 'a' }, { name: 'b' }]), noDefault), [
      { name: '' },
    ])
    assert.equal(await filter.defaultExport?.(plain, next('b')), '')
    assert.deepEqual(asked, [])
  })

  test('gives a client any export it asks for, and lists one without a name', async (t) => {
    const disk = new Disk({
      plugin: { defaultExport: () => 'b', exports: () => [{ name: 'a' }, { name: 'b' }] },
    })
    const { connect } = serve(t, disk, { filters: [tlsFallback()] })
    for (const name of ['', 'a', 'none']) {
      const client = connect()
      assert.equal((await client.go({ name })).size, 512)
      const [reply] = await client.request({ type: NBD_CMD_READ, cookie: 1, length: 4 })
      assert.equal(reply?.data.toString(), 'This')
    }
    const client = connect()
    await client.greet()
    const listed = (await client.option(NBD_OPT_LIST)).filter(({ type }) => type === NBD_REP_SERVER)
    assert.deepEqual(
      listed.map(({ data }) => data),
      [Buffer.alloc(4)],
    )
    assert.deepEqual(disk.opened, [])
  })
})

describe('tls-fallback with TLS', () => {
  test('serves the disk below', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [tlsFallback()], { ...secure, exportName: 'a' })
    assert.equal(device.size, 65536)
    assert.equal(disk.opened[0]?.exportName, 'a')
    await deviceContract(device)
    await device.close()
  })

  test('lends the memory of the disk below', async () => {
    const device = await openDevice(memory({ size: '1M' }), [tlsFallback()], secure)
    assert.equal(device.window(0, 65536)?.length, 65536)
    await device.close()
  })

  test('has the exports of the disk below', async () => {
    const { filter, asked, next, secure } = await alone()
    const exports = [{ name: 'a' }, { name: 'b' }]
    const noDefault = () => Promise.resolve('')
    assert.equal(await filter.exports?.(secure, next(exports), noDefault), exports)
    assert.equal(await filter.defaultExport?.(secure, next('b')), 'b')
    assert.deepEqual(asked, [secure, secure])
  })
})

test('tls-fallback refuses a layer that takes one client at a time', async () => {
  const filters = [tlsFallback(), noparallel({ serialize: 'connections' })]
  await assert.rejects(openDevice(new Disk().plugin, filters), {
    name: 'ConfigError',
    message: /^tls-fallback: a layer takes one client at a time \(serialize-connections\)/,
  })
})
