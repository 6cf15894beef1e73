import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { NbdError } from '../../api/errors.js'
import { type Log, silentLog } from '../../api/log.js'
import { isPromise } from '../../api/maybe.js'
import { NBD_CMD_READ, NBD_CMD_TRIM, NBD_CMD_WRITE, NBD_CMD_WRITE_ZEROES } from '../../protocol/constants.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import count from './count.js'

/** A server of `disk`, and the messages it has logged by its end. */
function start(t: TestContext, disk: Disk, debugging = true) {
  const said: string[] = []
  const log: Log = {
    ...silentLog,
    debugging,
    debug: (message) => said.push(message),
    child: (name) => (name === 'count' ? log : silentLog),
  }
  const { server, connect } = serve(t, disk, { filters: [count()], log })
  return {
    connect,
    async end() {
      await server.shutdown({ graceMs: 0 })
      return said.filter((message) => message.startsWith('count'))
    },
  }
}

const payload = new Uint8Array(1024)
const requests = [
  { type: NBD_CMD_READ, length: 4096 },
  { type: NBD_CMD_WRITE, length: 1024, payload },
  { type: NBD_CMD_WRITE_ZEROES, length: 2048 },
  { type: NBD_CMD_TRIM, length: 8192 },
]

test('count tells the bytes of all clients at the end, over devices that answer at once or later', async (t) => {
  for (const answers of ['now', 'later'] as const) {
    const { connect, end } = start(t, new Disk({ answers }))
    for (const client of [connect(), connect()]) {
      await client.go()
      for (const [cookie, request] of requests.entries()) await client.request({ cookie, ...request })
    }
    assert.deepEqual(await end(), ['count bytes: read 8192, written 2048, zeroed 4096, trimmed 16384'])
  }
})

test('count leaves out what failed, at once or later', async (t) => {
  const no = () => {
    throw new NbdError('ENOSPC', 'for tests')
  }
  const { connect, end } = start(
    t,
    new Disk({ device: { read: no, write: no, zero: async () => no(), trim: async () => no() } }),
  )
  const client = connect()
  await client.go()
  for (const [cookie, request] of requests.entries()) {
    const [part] = await client.request({ cookie, ...request })
    assert.notEqual(part?.error, 0)
  }
  assert.deepEqual(await end(), ['count bytes: read 0, written 0, zeroed 0, trimmed 0'])
})

test('count says nothing unless debug messages are wanted', async (t) => {
  const { end } = start(t, new Disk(), false)
  assert.deepEqual(await end(), [])
})

test('count answers at once over a synchronous device, and meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [count()])
  assert.equal(isPromise(device.write(0, payload, { fua: false })), false)
  await deviceContract(device)
  await device.close()
})
