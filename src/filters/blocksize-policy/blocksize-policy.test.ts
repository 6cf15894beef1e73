import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BlockSize, HOLE, ZERO } from '../../api/device.js'
import { definePlugin } from '../../api/plugin.js'
import memory from '../../plugins/memory/memory.js'
import { NBD_CMD_WRITE } from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { deviceContract, openDevice, pair, RawClient } from '../../testing/index.js'
import blocksizePolicy from './blocksize-policy.js'

const alloc = (length: number) => new Uint8Array(length)
const fua = { fua: false }

function disk(size: number, blockSize?: BlockSize) {
  return definePlugin({
    name: 'disk',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size,
        ...(blockSize && { blockSize }),
        read: (_, length, allocate) => allocate(length),
        write() {},
        cache() {},
        trim() {},
        extents: (offset) => [
          ...(offset < 700 ? [{ length: 700 - offset, type: 0 }] : []),
          { length: size - Math.max(offset, 700), type: HOLE | ZERO },
        ],
      }),
    }),
  })()
}

for (const [values, below, expected] of [
  [{ minimum: '1K' }, undefined, [1024, 4096, 2 ** 32 - 1]],
  [{ preferred: '64K' }, undefined, [1, 65536, 2 ** 32 - 1]],
  [{ minimum: 512, writeDisconnect: 10_000 }, undefined, [512, 4096, 9728]],
  [{ minimum: 512, preferred: '1M', maximum: '32M' }, undefined, [512, 2 ** 20, 2 ** 25]],
  [{ maximum: '1M' }, { minimum: 512, preferred: 4096, maximum: 2 ** 25 }, [512, 4096, 2 ** 20]],
  [{ minimum: 0 }, { minimum: 2, preferred: 512, maximum: 4096 }, [2, 512, 4096]],
] as const)
  test(`blocksize-policy announces ${expected} for ${JSON.stringify(values)}${below ? ' over a disk with sizes' : ''}`, async () => {
    const device = await openDevice(disk(65536, below), [blocksizePolicy(values)])
    const { minimum, preferred, maximum } = device.blockSize
    assert.deepEqual([minimum, preferred, maximum], expected)
    await device.close()
  })

test('blocksize-policy of error refuses what does not keep to the sizes, but for the end of the disk', async () => {
  const values = { policy: 'error', minimum: 512, preferred: 4096, maximum: 8192 } as const
  const device = await openDevice(disk(10_000), [blocksizePolicy(values)])
  await device.read(512, 1024, alloc)
  await device.read(9728, 272, alloc)
  const cases: [call: () => unknown, message: RegExp][] = [
    [
      () => device.read(100, 512, alloc),
      /^blocksize-policy: read 512 at 100: the offset is no multiple of 512$/,
    ],
    [() => device.read(0, 100, alloc), /read 100 at 0: the length is no multiple of 512$/],
    [() => device.read(0, 8704, alloc), /read 8704 at 0: a request has 8192 bytes at most$/],
    [() => device.write(0, new Uint8Array(100), fua), /write 100 at 0/],
    [() => device.write(0, new Uint8Array(9216), fua), /8192 bytes at most/],
    [() => device.trim(0, 100, fua), /trim 100 at 0/],
    [() => device.zero(1, 512, { ...fua, mayTrim: true, fast: false }), /zero 512 at 1/],
    [() => device.cache(0, 100), /cache 100 at 0/],
    [() => device.extents(1, 512), /block status 512 at 1/],
  ]
  for (const [call, message] of cases) assert.throws(call, { code: 'EINVAL', message })
  await device.close()
})

for (const policy of ['strict-error', 'strict'] as const)
  test(`blocksize-policy of ${policy} refuses the end of a disk, too`, async () => {
    const device = await openDevice(disk(10_000), [blocksizePolicy({ policy, minimum: 512 })])
    assert.throws(() => device.read(9728, 272, alloc), { code: 'EINVAL' })
    await device.close()
  })

test('blocksize-policy checks nothing where no sizes are known', async () => {
  const device = await openDevice(disk(10_000), [blocksizePolicy({ policy: 'strict-error' })])
  await device.read(3, 5, alloc)
  await device.close()
})

test('blocksize-policy tells of extents in whole units, for any range', async () => {
  const device = await openDevice(disk(10_000), [blocksizePolicy({ minimum: 512 })])
  /** The type of each byte of a range, as one character. */
  const types = async (offset: number, length: number) => {
    const runs = [...(await device.extents(offset, length))]
    return runs
      .map((run) => `${run.type}`.repeat(run.length))
      .join('')
      .slice(0, length)
  }
  const expected = '0'.repeat(1024) + `${HOLE | ZERO}`.repeat(10_000 - 1024)
  for (const [offset, length] of [
    [0, 2048],
    [100, 200],
    [700, 1000],
    [1023, 2],
    [9728, 272],
    [9000, 1000],
  ] as const) {
    const told = await types(offset, length)
    assert.ok(told.length > 0)
    assert.equal(told, expected.slice(offset, offset + told.length), `${length} at ${offset}`)
  }
  await device.close()
})

test('blocksize-policy drops a client that writes too much at once', async () => {
  const filters = [blocksizePolicy({ writeDisconnect: 4096 })]
  const server = createServer({ plugin: memory({ size: '1M' }), filters })
  const [ours, theirs] = pair()
  await server.serve(theirs)
  const client = new RawClient(ours)
  await client.go()
  const write = (length: number) => ({ type: NBD_CMD_WRITE, length, payload: Buffer.alloc(length) })
  assert.equal((await client.request(write(4096)))[0]?.error, 0)
  client.sendRequest(write(4097))
  assert.equal((await client.rest()).length, 0)
  await server.shutdown()
})

test('blocksize-policy meets the contract of a device', async () => {
  const device = await openDevice(memory({ size: 65536 }), [
    blocksizePolicy({ policy: 'error', minimum: 512 }),
  ])
  await deviceContract(device)
  await device.close()
})

for (const [values, message] of [
  [{ minimum: 1000 }, /blocksize-minimum=1000: expected a power of two up to 64K/],
  [{ minimum: '128K' }, /blocksize-minimum=131072: expected/],
  [{ preferred: 256 }, /blocksize-preferred=256: expected a power of two from 512 to 32M/],
  [{ minimum: 512, maximum: 700 }, /blocksize-maximum=700: expected a multiple of the minimum, 512/],
  [{ minimum: 4096, preferred: 512 }, /the minimum, 4096, is more than the preferred size, 512/],
  [{ preferred: '1M', maximum: '64K' }, /the preferred size, 1048576, is more than the maximum, 65536/],
  [
    { minimum: 512, writeDisconnect: 512 },
    /blocksize-write-disconnect=512: expected more than the minimum, 512/,
  ],
  [{ maximum: '8G' }, /blocksize-maximum=8589934592: expected less than 4G/],
] as const)
  test(`blocksize-policy refuses ${JSON.stringify(values)}`, () =>
    assert.rejects(openDevice(memory({ size: 65536 }), [blocksizePolicy(values)]), {
      name: 'ConfigError',
      message,
    }))

test('blocksize-policy refuses a client where the sizes of the disk below contradict the given ones', () => {
  const below = { minimum: 4096, preferred: 4096, maximum: 65536 }
  const values = { preferred: 512 }
  return assert.rejects(
    openDevice(disk(65536, below), [blocksizePolicy(values)]),
    /the minimum, 4096, is more/,
  )
})
