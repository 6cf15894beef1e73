import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NBD_CMD_DISC, NBD_CMD_FLUSH, NBD_CMD_READ } from '../../protocol/constants.js'
import { deviceContract, openDevice, type RawClient } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import noparallel from './noparallel.js'

/** Answers waiting calls until `count` have come. Returns the most that waited at once. */
async function answer(disk: Disk, count: number): Promise<number> {
  let most = 0
  for (let answered = 0; answered < count; answered++) {
    await disk.holds(1)
    // Any other call that could come has come by then.
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    most = Math.max(most, disk.held.length)
    disk.release()
  }
  return most
}

function send(client: RawClient, count: number): void {
  for (let cookie = 1; cookie <= count; cookie++)
    client.sendRequest({ type: NBD_CMD_READ, cookie, offset: 0, length: 512 })
}

test('noparallel has one request of a client in flight, and one of another beside it', async (t) => {
  const disk = new Disk({ answers: 'by hand' })
  const { connect } = serve(t, disk, { filters: [noparallel()] })
  const [one, two] = [connect(), connect()]
  await one.go()
  await two.go()
  send(one, 3)
  send(two, 3)
  assert.equal(await answer(disk, 6), 2)
})

test('noparallel serialize=all-requests has one request in flight, whoever asks', async (t) => {
  const disk = new Disk({ answers: 'by hand' })
  const { connect } = serve(t, disk, { filters: [noparallel({ serialize: 'all-requests' })] })
  const [one, two] = [connect(), connect()]
  await one.go()
  await two.go()
  send(one, 3)
  send(two, 3)
  assert.equal(await answer(disk, 6), 1)
})

test('noparallel serialize=connections serves a client when the one before it has gone', async (t) => {
  const disk = new Disk()
  const { connect } = serve(t, disk, { filters: [noparallel({ serialize: 'connections' })] })
  const [one, two] = [connect(), connect()]
  await one.go()
  let served = false
  const second = two.go().then(() => {
    served = true
  })
  await one.request({ type: NBD_CMD_FLUSH, cookie: 1 })
  assert.equal(served, false)
  one.sendRequest({ type: NBD_CMD_DISC })
  await second
  assert.equal(disk.closed, 1)
})

test('noparallel serialize=connections does not invite a client to connect again', async () => {
  const told = async (serialize: 'requests' | 'all-requests' | 'connections') => {
    const disk = new Disk({ device: { can: { multiConn: true } } })
    const device = await openDevice(disk.plugin, [noparallel({ serialize })])
    await device.close()
    return device.can.multiConn
  }
  assert.deepEqual(
    [await told('requests'), await told('all-requests'), await told('connections')],
    [true, true, false],
  )
})

test('noparallel meets the contract of a device in each mode', async () => {
  for (const serialize of ['requests', 'all-requests', 'connections'] as const) {
    const device = await openDevice(new Disk().plugin, [noparallel({ serialize })])
    await deviceContract(device)
    await device.close()
  }
})

test('noparallel refuses a mode that there is not, and names the key', async () => {
  const untyped = noparallel as unknown as (inputs: object) => ReturnType<typeof noparallel>
  await assert.rejects(openDevice(new Disk().plugin, [untyped({ serialize: 'none' })]), {
    name: 'ConfigError',
    message: 'noparallel: serialize: "none" is none of requests, all-requests, connections',
  })
})
