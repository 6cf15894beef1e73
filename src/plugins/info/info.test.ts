import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Peer } from '../../api/connection.js'
import { noConnection } from '../../chain/setup.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import info from './info.js'

/** A client at the other end of `peer`. */
function client(peer: Peer): Connection {
  return {
    ...noConnection,
    id: 1,
    peer,
    state: 'options',
  }
}

/** The whole content of the disk. */
async function content(...args: Parameters<typeof openDevice>): Promise<Buffer> {
  const device = await openDevice(...args)
  const bytes = device.size === 0 ? Buffer.alloc(0) : await readBytes(device, 0, device.size)
  await deviceContract(device)
  await device.close()
  return bytes
}

test('info gives the export name back, unless it is told otherwise', async () => {
  for (const exportName of ['hello', '', 'ä ö', 'x'.repeat(4096)])
    assert.equal((await content(info(), [], { exportName })).toString(), exportName)
})

test('info gives back what a client sent as base64', async () => {
  for (const [exportName, expected] of [
    ['aGVsbG8=', 'hello'],
    ['aGVs\nbG8=\n', 'hello'],
    ['', ''],
    ['/+8A', '\u00ff\u00ef\0'],
  ] as const)
    assert.equal(
      (await content(info({ mode: 'base64exportname' }), [], { exportName })).toString('latin1'),
      expected,
    )
})

test('info refuses an export name that is not base64, and shows it', async () => {
  for (const exportName of ['aGVsbG8', 'aGVs*G8=', '====', 'a', 'aG=sbG8='])
    await assert.rejects(openDevice(info({ mode: 'base64exportname' }), [], { exportName }), {
      code: 'EINVAL',
      message: `the export name ${JSON.stringify(exportName)} is not base64`,
    })
})

test('info tells a client its address', async () => {
  for (const [peer, expected] of [
    [{ family: 'tcp', address: '127.0.0.1', port: 5000 }, '127.0.0.1:5000'],
    [{ family: 'tcp', address: '::ffff:192.0.2.1', port: 5000 }, '192.0.2.1:5000'],
    [{ family: 'tcp', address: '::1', port: 5000 }, '[::1]:5000'],
    [{ family: 'unix', uid: 1000 }, 'unix'],
  ] as const)
    assert.equal(
      (await content(info({ mode: 'address' }), [], { connection: client(peer) })).toString(),
      expected,
    )
})

test('info refuses a client that has no address', async () => {
  await assert.rejects(
    openDevice(info({ mode: 'address' }), [], { connection: client({ family: 'stream' }) }),
    {
      code: 'EINVAL',
      message: 'the client has no address: it is not connected through a network',
    },
  )
})

/** In microseconds. */
const timeOf = (bytes: Buffer) => Number(bytes.readBigUInt64BE()) * 1e6 + bytes.readUInt32BE(8)

test('info tells the time of day', async () => {
  const before = Date.now() * 1000
  const device = await openDevice(info({ mode: 'time' }))
  assert.equal(device.size, 12)
  const time = timeOf(await readBytes(device, 0, 12))
  assert.ok(time >= before && time <= Date.now() * 1000, `${time}`)
  await device.close()
})

test('info counts from the start of the server, and from the opening of the export', async () => {
  for (const mode of ['uptime', 'conntime'] as const) {
    const before = performance.now()
    const device = await openDevice(info({ mode }))
    const first = timeOf(await readBytes(device, 0, 12))
    await sleep(2)
    const second = timeOf(await readBytes(device, 0, 12))
    assert.ok(first >= 0 && second > first, `${mode}: ${first}, ${second}`)
    assert.ok(second <= (performance.now() - before) * 1000, `${mode}: ${second}`)
    await device.close()
  }
})

test('info gives any part of a time', async () => {
  const device = await openDevice(info({ mode: 'time' }))
  assert.equal((await readBytes(device, 0, 3)).toString('hex'), '000000')
  assert.equal((await readBytes(device, 8, 4)).length, 4)
  await device.close()
})

test('info tells the version of this package', async () => {
  assert.match((await content(info({ mode: 'version' }))).toString(), /^\d+\.\d+\.\d+/)
})

test('info is read-only, and the same for all clients where it can be', async () => {
  const connection = client({ family: 'unix' })
  for (const [mode, multiConn] of [
    ['exportname', true],
    ['base64exportname', true],
    ['address', false],
    ['time', false],
    ['uptime', false],
    ['conntime', false],
    ['version', true],
  ] as const) {
    const device = await openDevice(info({ mode }), [], { connection })
    assert.equal(device.can.write, false, mode)
    assert.equal(device.can.multiConn, multiConn, mode)
    assert.equal(device.can.cache, 'native', mode)
    if (device.size > 0) await device.cache(0, 1)
    await device.close()
  }
})

test('info refuses a mode that it does not have, and names those that it has', async () => {
  await assert.rejects(openDevice(info({ mode: 'weather' })), {
    name: 'ConfigError',
    message: /^info: mode: "weather" is none of exportname, base64exportname, .*, version$/,
  })
})
