import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type BlockSize, HOLE, unknownBlockSize, ZERO } from '../../api/device.js'
import memory from '../../plugins/memory/memory.js'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_EINVAL } from '../../protocol/constants.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import blocksizePolicy from './blocksize-policy.js'

type Inputs = NonNullable<Parameters<typeof blocksizePolicy>[0]>

const no = { fua: false }
const zeroFlags = { fua: false, mayTrim: false, fast: false }
const open = (inputs: Inputs, disk = new Disk()) => openDevice(disk.plugin, [blocksizePolicy(inputs)])

const sizes = (minimum: number, preferred: number, maximum: number): BlockSize => ({
  minimum,
  preferred,
  maximum,
})

describe('the block size of blocksize-policy', () => {
  const unlimited = 0xffffffff
  const cases: [inputs: Inputs, below: BlockSize | undefined, told: BlockSize][] = [
    [{ minimum: '1k' }, undefined, sizes(1024, 4096, unlimited)],
    [{ minimum: '64k' }, undefined, sizes(65536, 65536, unlimited)],
    [{ preferred: '32k' }, undefined, sizes(1, 32768, unlimited)],
    [{ preferred: '32M' }, undefined, sizes(1, 2 ** 25, unlimited)],
    [{ maximum: '64k' }, undefined, sizes(1, 4096, 65536)],
    [{ maximum: '2k' }, undefined, sizes(1, 2048, 2048)],
    [{ maximum: 3000, minimum: 8 }, undefined, sizes(8, 2048, 3000)],
    [{ minimum: 512, writeDisconnect: 70000 }, undefined, sizes(512, 4096, 69632)],
    [{ minimum: 512, preferred: 4096, maximum: 65536 }, sizes(1, 512, 512), sizes(512, 4096, 65536)],
    [{ minimum: 1024 }, sizes(512, 8192, 65536), sizes(1024, 8192, 65536)],
    [{ minimum: 16384 }, sizes(512, 8192, 70144), sizes(16384, 16384, 65536)],
    [{ minimum: 512, writeDisconnect: 70000 }, sizes(1, 4096, 131072), sizes(512, 4096, 131072)],
    [{ policy: 'error' }, sizes(512, 8192, 65536), sizes(512, 8192, 65536)],
  ]
  for (const [inputs, below, told] of cases)
    test(`is ${Object.values(told)} with ${JSON.stringify(inputs)} over ${JSON.stringify(below)}`, async () => {
      const device = await open(inputs, new Disk({ device: below === undefined ? {} : { blockSize: below } }))
      assert.deepEqual(device.blockSize, { ...told, advisory: true })
      await device.close()
    })

  for (const inputs of [{}, { policy: 'strict-error' }, { writeDisconnect: '1M' }] as const)
    test(`stays unknown with ${JSON.stringify(inputs)}, and nothing is checked`, async () => {
      const device = await open(inputs)
      assert.equal(device.blockSize, unknownBlockSize)
      assert.equal((await readBytes(device, 1, 3)).length, 3)
      await device.close()
    })

  const unfit: [inputs: Inputs, below: BlockSize, values: [number, number, number]][] = [
    [{ preferred: 1024 }, sizes(4096, 8192, 65536), [4096, 1024, 65536]],
    [{ preferred: '1M' }, sizes(1, 8192, 65536), [1, 2 ** 20, 65536]],
    [{ maximum: 2048 }, sizes(4096, 8192, 65536), [4096, 4096, 2048]],
    [{ maximum: 5000 }, sizes(512, 4096, 65536), [512, 4096, 5000]],
  ]
  for (const [inputs, below, [minimum, preferred, maximum]] of unfit)
    test(`refuses ${JSON.stringify(inputs)} over ${JSON.stringify(below)}`, async () => {
      await assert.rejects(open(inputs, new Disk({ device: { blockSize: below } })), {
        name: 'ConfigError',
        message:
          'blocksize-policy: with the block size of the disk below, ' +
          `the minimum would be ${minimum}, the preferred size ${preferred} and the maximum ${maximum}: ` +
          'these do not fit together',
      })
    })

  const refusals: [inputs: Inputs, message: string][] = [
    [{ minimum: 3 }, 'blocksize-minimum=3: expected a power of two from 1 to 64K'],
    [{ minimum: '128k' }, 'blocksize-minimum=131072: expected a power of two from 1 to 64K'],
    [{ preferred: 256 }, 'blocksize-preferred=256: expected a power of two from 512 to 32M'],
    [{ preferred: 5000 }, 'blocksize-preferred=5000: expected a power of two from 512 to 32M'],
    [{ preferred: '64M' }, 'blocksize-preferred=67108864: expected a power of two from 512 to 32M'],
    [{ minimum: 4096, preferred: 512 }, 'blocksize-preferred=512: expected blocksize-minimum or more, 4096'],
    [{ preferred: 4096, maximum: 512 }, 'blocksize-maximum=512: expected blocksize-preferred or more, 4096'],
    [{ minimum: 512, maximum: 700 }, 'blocksize-maximum=700: expected a multiple of blocksize-minimum, 512'],
    [
      { minimum: 512, writeDisconnect: 512 },
      'blocksize-write-disconnect=512: expected more than blocksize-minimum, 512',
    ],
    [{ maximum: '4G' }, 'blocksize-maximum=4294967296: expected at most 4294967295'],
  ]
  for (const [inputs, message] of refusals)
    test(`refuses ${JSON.stringify(inputs)}`, async () => {
      await assert.rejects(open(inputs), { name: 'ConfigError', message: `blocksize-policy: ${message}` })
    })
})

/** Each kind of request that is checked. */
const requests = (device: Awaited<ReturnType<typeof open>>, offset: number, length: number) => [
  ['read', () => readBytes(device, offset, length)] as const,
  ['write', () => device.write(offset, Buffer.alloc(length), no)] as const,
  ['trim', () => device.trim(offset, length, no)] as const,
  ['zero', () => device.zero(offset, length, zeroFlags)] as const,
  ['cache', () => device.cache(offset, length)] as const,
  ['extents', () => device.extents(offset, length)] as const,
]

describe('blocksize-policy', () => {
  const three = { minimum: 512, preferred: 4096, maximum: 8192 }
  const wrong: [offset: number, length: number, why: string][] = [
    [1, 512, 'the offset is no multiple of the minimum block size, 512'],
    [512, 1, 'the length is below the minimum block size, 512'],
    [512, 513, 'the length is no multiple of the minimum block size, 512'],
    [65536 - 511, 511, 'the offset is no multiple of the minimum block size, 512'],
  ]
  for (const policy of ['error', 'strict-error'] as const)
    for (const [offset, length, why] of wrong)
      test(`with ${policy} refuses ${length} bytes at ${offset}, before the disk sees them`, async () => {
        const disk = new Disk()
        const device = await open({ policy, ...three }, disk)
        for (const [what, request] of requests(device, offset, length))
          await assert.rejects(async () => request(), {
            code: 'EINVAL',
            message: `blocksize-policy: ${what} ${length} at ${offset}: ${why}`,
          })
        await device.flush()
        assert.deepEqual(disk.calls, ['flush'])
        await device.close()
      })

  test('with error refuses reads and writes above the maximum, and no other requests', async () => {
    const disk = new Disk()
    const device = await open({ policy: 'error', ...three }, disk)
    for (const [what, request] of requests(device, 0, 8704))
      if (what === 'read' || what === 'write')
        await assert.rejects(async () => request(), {
          code: 'EINVAL',
          message: `blocksize-policy: ${what} 8704 at 0: the length is above the maximum block size, 8192`,
        })
      else await request()
    assert.deepEqual(disk.calls, ['trim 8704 at 0', 'zero 8704 at 0', 'cache 8704 at 0'])
    await device.close()
  })

  test('with error takes the end of a disk that is no whole number of blocks, with strict-error not', async () => {
    for (const [policy, taken] of [
      ['error', true],
      ['strict-error', false],
      ['strict', false],
    ] as const) {
      const disk = new Disk({ size: 32769 })
      // The alias is for the command line, and is not in the types.
      const device = await open({ policy: policy as 'error', ...three }, disk)
      for (const [, request] of requests(device, 32768, 1))
        if (taken) await request()
        else await assert.rejects(async () => request(), { code: 'EINVAL' })
      assert.equal(disk.calls.length, taken ? 5 : 0)
      await device.close()
    }
  })

  test('with allow passes on what does not keep to the block size', async () => {
    const disk = new Disk()
    const device = await open(three, disk)
    for (const [, request] of requests(device, 1, 9000)) await request()
    const passed = ['read', 'write', 'trim', 'zero', 'cache'].map((what) => `${what} 9000 at 1`)
    assert.deepEqual(disk.calls, passed)
    await device.close()
  })

  test('keeps from a disk what its own block size excludes, whatever the policy', async () => {
    const disk = new Disk({ device: { blockSize: sizes(512, 4096, 65536) } })
    const device = await open({ minimum: 1 }, disk)
    for (const [, request] of requests(device, 100, 512))
      await assert.rejects(async () => request(), { code: 'EINVAL' })
    assert.deepEqual(disk.calls, [])
    await device.close()
  })

  test('checks offsets beyond 4 GiB', async () => {
    const size = 5 * 2 ** 30
    const disk = new Disk({ device: { size, read: (_offset, length, alloc) => alloc(length) } })
    const device = await open({ policy: 'error', minimum: 1024 }, disk)
    await readBytes(device, 2 ** 32 + 1024, 1024)
    await assert.rejects(readBytes(device, 2 ** 32 + 512, 1024), { code: 'EINVAL' })
    await device.close()
  })

  test('reports extents in whole blocks, and a client that asks for less gets its part', async () => {
    const disk = new Disk({
      size: 32769,
      device: {
        extents: function* (offset, length) {
          for (let at = offset; at < offset + length; at++)
            yield { length: 1, type: at < 700 ? 0 : at < 2000 ? HOLE | ZERO : ZERO }
        },
      },
    })
    const device = await open({ minimum: 512, preferred: 4096, maximum: 8192 }, disk)
    const merged = async (offset: number, length: number) => {
      const all: [length: number, type: number][] = []
      for (let at = offset; at < offset + length; )
        for (const { length: run, type } of await device.extents(at, offset + length - at)) {
          const last = all.at(-1)
          if (last && last[1] === type) last[0] += run
          else all.push([run, type])
          at += run
        }
      return all
    }
    assert.deepEqual(await merged(0, 32769), [
      [1024, 0],
      [512, HOLE | ZERO],
      [31233, ZERO],
    ])
    assert.deepEqual((await merged(1000, 100)).slice(0, 2), [
      [24, 0],
      [512, HOLE | ZERO],
    ])
    assert.deepEqual(await merged(32768, 1), [[1, ZERO]])
    await device.close()
  })

  test('reports a disk without extents as data', async () => {
    const device = await open(three)
    assert.equal(device.can.extents, true)
    assert.deepEqual([...(await device.extents(0, 1024))], [{ length: 1024, type: 0 }])
    await device.close()
  })

  test('lends the memory of the disk below', async () => {
    const device = await openDevice(memory({ size: '1M' }), [
      blocksizePolicy({ minimum: 512, policy: 'error' }),
    ])
    const view = device.window(0, 65536)
    assert.ok(view)
    await device.write(0, view.fill(3), no)
    device.release(view)
    assert.deepEqual(await readBytes(device, 0, 65536), Buffer.alloc(65536, 3))
    await device.close()
  })

  for (const policy of ['allow', 'error', 'strict-error'] as const)
    test(`with ${policy} meets the contract of a device`, async () => {
      const device = await openDevice(memory({ size: 200_704 }), [blocksizePolicy({ policy, minimum: 512 })])
      await deviceContract(device)
      await device.close()
    })
})

describe('a client of blocksize-policy', () => {
  test('reaches the disk with what does not keep to the block size, or gets EINVAL', async (t) => {
    for (const [policy, error] of [
      ['allow', 0],
      ['error', NBD_EINVAL],
    ] as const) {
      const { connect } = serve(t, new Disk(), { filters: [blocksizePolicy({ policy, minimum: 4096 })] })
      const client = connect()
      await client.go()
      const [reply] = await client.request({ type: NBD_CMD_READ, cookie: 1, offset: 1, length: 1 })
      assert.equal(reply?.error, error)
    }
  })

  test('is disconnected for a write that is too long, and not for one of the very length', async (t) => {
    const disk = new Disk()
    const { connectSocket, server } = serve(t, disk, {
      filters: [blocksizePolicy({ writeDisconnect: 1024 })],
    })
    const client = await connectSocket()
    await client.go()
    const write = (length: number) => ({
      type: NBD_CMD_WRITE,
      cookie: length,
      length,
      payload: Buffer.alloc(length),
    })
    const [reply] = await client.request(write(1024))
    assert.equal(reply?.error, 0)
    const [connection] = server.connections
    client.sendRequest(write(1025))
    await assert.rejects(client.take(1), /the server closed the connection/)
    await connection?.closed
    assert.deepEqual(disk.calls, ['write 1024 at 0'])
  })

  test('is disconnected before the policy is asked', async (t) => {
    const filter = blocksizePolicy({ policy: 'error', minimum: 512, writeDisconnect: 1024 })
    const { connectSocket } = serve(t, new Disk(), { filters: [filter] })
    const client = await connectSocket()
    await client.go()
    client.sendRequest({ type: NBD_CMD_WRITE, cookie: 1, length: 1025, payload: Buffer.alloc(1025) })
    await assert.rejects(client.take(1), /the server closed the connection/)
  })
})
