/**
 * Requests that no client should send: each gets the error that the NBD spec asks for, and the next is
 * understood.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { NbdError } from '../../src/api/errors.js'
import * as nbd from '../../src/protocol/constants.js'
import { payloadBytesMax, payloadDrainBytesMax, statusPayloadBytesMax } from '../../src/protocol/limits.js'
import type { RawClient, RawRequest } from '../../src/testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../../src/testing/served-disk.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_TRIM: TRIM, NBD_CMD_FLUSH: FLUSH } = nbd
const { NBD_CMD_CACHE: CACHE, NBD_CMD_WRITE_ZEROES: ZERO, NBD_CMD_BLOCK_STATUS: STATUS } = nbd
const { NBD_CMD_DISC: DISC, NBD_CMD_FLAG_PAYLOAD_LEN: PAYLOAD_LEN } = nbd
const { NBD_EINVAL: EINVAL, NBD_ENOSPC: ENOSPC, NBD_EPERM: EPERM, NBD_EOVERFLOW: EOVERFLOW } = nbd
const { NBD_ENOTSUP: ENOTSUP } = nbd

const MiB = 2 ** 20
const size = 65536
type Mode = 'simple' | 'structured' | 'extended'
const modes: readonly Mode[] = ['simple', 'structured', 'extended']

async function connected(t: TestContext, mode: Mode, options: DiskOptions = {}, server = {}) {
  const disk = new Disk(options)
  const served = serve(t, disk, server)
  const client = served.connect()
  const contexts = mode === 'simple' ? [] : ['base:allocation']
  const { flags } = await client.go({
    structured: mode !== 'simple',
    extended: mode === 'extended',
    contexts,
  })
  return { disk, client, flags, ...served }
}

/** A request is answered with an error, in one reply, and the stream is in step after it. */
async function assertRefused(client: RawClient, request: RawRequest, error: number): Promise<void> {
  const { type, flags, offset, length } = request
  const parts = await client.request({ cookie: 77, ...request })
  assert.deepEqual(
    parts.map((part) => [part.cookie, part.error]),
    [[77, error]],
    `type ${type}, flags ${flags}, ${length} bytes at ${offset}`,
  )
  await assertInStep(client)
}

async function assertInStep(client: RawClient): Promise<void> {
  const [part] = await client.request({ type: READ, cookie: 1, offset: 4096, length: 512 })
  assert.deepEqual([part?.cookie, part?.error], [1, 0])
}

describe('a wrong magic', () => {
  for (const mode of modes)
    test(`ends the connection wherever it stands, and no other: ${mode}`, async (t) => {
      for (const before of [0, 1, 5]) {
        const { client, connect } = await connected(t, mode)
        for (let count = 0; count < before; count++) await assertInStep(client)
        client.sendRequest({ type: READ, length: 512, magic: 0x25609514 })
        assert.equal((await client.rest()).length, 0)
        assert.equal((await connect().go()).size, size)
      }
    })

  test('is what the magic of another mode is', async (t) => {
    const cases: [Mode, number][] = [
      ['simple', 0x21e41c71],
      ['structured', 0x21e41c71],
      ['extended', 0x25609513],
    ]
    for (const [mode, magic] of cases) {
      const { client } = await connected(t, mode)
      client.sendRequest({ type: READ, length: 512, magic })
      assert.equal((await client.rest()).length, 0)
    }
  })

  test('behind a payload that was longer than its request said ends the connection', async (t) => {
    const { client, disk } = await connected(t, 'simple')
    client.sendRequest({ type: WRITE, length: 4, payload: Buffer.alloc(40, 7) })
    assert.deepEqual((await client.rest()).subarray(16), Buffer.alloc(0))
    assert.deepEqual(disk.calls, ['write 4 at 0'])
  })
})

for (const mode of modes)
  describe(`with ${mode} replies, a request`, () => {
    const payloadOf = (type: number, length: number) =>
      type === WRITE ? { payload: Buffer.alloc(length, 0x25) } : {}

    test('beyond the end is ENOSPC where it writes, EINVAL else', async (t) => {
      const { disk, client } = await connected(t, mode)
      const ranges: [offset: number | bigint, length: number][] = [
        [size, 512],
        [size - 511, 512],
        [0, size + 512],
        [2n ** 53n - 1n, 512],
        [2n ** 63n, 512],
        [2n ** 64n - 1n, 512],
        [2n ** 64n - 512n, 512],
      ]
      for (const type of [READ, WRITE, TRIM, CACHE, ZERO, ...(mode === 'simple' ? [] : [STATUS])])
        for (const [offset, length] of ranges) {
          const error = type === WRITE || type === ZERO ? ENOSPC : EINVAL
          await assertRefused(client, { type, offset, length, ...payloadOf(type, length) }, error)
        }
      assert.ok(disk.calls.every((call) => call === 'read 512 at 4096'))
    })

    test('of no bytes is answered, and reaches no device', async (t) => {
      const { disk, client } = await connected(t, mode)
      for (const type of [READ, WRITE, TRIM, CACHE, ZERO, ...(mode === 'simple' ? [] : [STATUS])])
        for (const offset of [0, size, 2n ** 64n - 1n]) await assertRefused(client, { type, offset }, EINVAL)
      assert.ok(disk.calls.every((call) => call === 'read 512 at 4096'))
    })

    test('of an unknown type, or with an unknown flag, is EINVAL', async (t) => {
      const { client } = await connected(t, mode)
      for (const type of [8, 100, 0xffff]) await assertRefused(client, { type, length: 512 }, EINVAL)
      for (const flags of [64, 128, 0x8000, nbd.NBD_CMD_FLAG_REQ_ONE, nbd.NBD_CMD_FLAG_NO_HOLE])
        for (const type of [READ, WRITE, FLUSH, TRIM, CACHE])
          await assertRefused(client, { type, flags, length: 512, ...payloadOf(type, 512) }, EINVAL)
      for (const flags of [64, nbd.NBD_CMD_FLAG_DF, nbd.NBD_CMD_FLAG_REQ_ONE])
        await assertRefused(client, { type: ZERO, flags, length: 512 }, EINVAL)
    })

    test('with FUA is EINVAL where it was not offered, also if it does not write', async (t) => {
      const { client, flags } = await connected(t, mode, { device: { can: { fua: 'none' } } })
      assert.equal(flags & nbd.NBD_FLAG_SEND_FUA, 0)
      for (const type of [READ, WRITE, TRIM, CACHE, ZERO])
        await assertRefused(client, { type, flags: 1, length: 512, ...payloadOf(type, 512) }, EINVAL)
    })

    test('with FUA is taken by every command where it was offered', async (t) => {
      const { client, flags } = await connected(t, mode)
      assert.notEqual(flags & nbd.NBD_FLAG_SEND_FUA, 0)
      for (const type of [READ, WRITE, TRIM, CACHE, ZERO, ...(mode === 'simple' ? [] : [STATUS])]) {
        const parts = await client.request({ type, flags: 1, length: 512, ...payloadOf(type, 512) })
        assert.equal(parts.at(-1)?.error, 0)
      }
      assert.equal((await client.request({ type: FLUSH, flags: 1 })).at(-1)?.error, 0)
    })

    test('that writes to a read-only export is EPERM, whatever its payload', async (t) => {
      for (const server of [{ readOnly: true }, {}]) {
        const options: DiskOptions = server.readOnly ? {} : { without: ['write'] }
        const { disk, client, flags } = await connected(t, mode, options, server)
        assert.notEqual(flags & nbd.NBD_FLAG_READ_ONLY, 0)
        for (const length of [1, 512, 60_000])
          await assertRefused(client, { type: WRITE, length, payload: Buffer.alloc(length, 0x25) }, EPERM)
        for (const type of [TRIM, ZERO]) await assertRefused(client, { type, length: 512 }, EPERM)
        assert.ok(disk.calls.every((call) => call === 'read 512 at 4096'))
      }
    })

    test('that is not aligned to a declared block size is EINVAL', async (t) => {
      const { disk, client } = await connected(t, mode, { device: { blockSize: { minimum: 512 } } })
      for (const type of [READ, WRITE, TRIM, CACHE, ZERO, ...(mode === 'simple' ? [] : [STATUS])])
        for (const [offset, length] of [
          [1, 512],
          [256, 512],
          [0, 511],
          [512, 513],
        ] as const)
          await assertRefused(client, { type, offset, length, ...payloadOf(type, length) }, EINVAL)
      assert.ok(disk.calls.every((call) => call === 'read 512 at 4096'))
    })

    test('of more than 64 MiB is refused, its payload passed over, and the connection lives', async (t) => {
      const { client } = await connected(t, mode, { device: { size: 2 ** 40 } })
      const length = payloadBytesMax + 1
      await assertRefused(client, { type: READ, length }, mode === 'simple' ? EINVAL : EOVERFLOW)
      await assertRefused(client, { type: READ, length: 0xffffffff }, mode === 'simple' ? EINVAL : EOVERFLOW)
      await assertRefused(client, { type: WRITE, length, payload: Buffer.alloc(length, 0x25) }, EINVAL)
    })

    test('keeps its cookie, whatever that is', async (t) => {
      const { client } = await connected(t, mode)
      for (const cookie of [0, 2 ** 32, Number.MAX_SAFE_INTEGER])
        for (const request of [
          { type: READ, cookie, length: 512 },
          { type: 77, cookie },
        ])
          assert.equal((await client.request(request)).at(-1)?.cookie, cookie)
      const raw = Buffer.from('00000000ffffffffffffffff', 'hex')
      client.sendRequest({ type: FLUSH, cookie: 0 })
      await client.reply()
      const header = Buffer.alloc(mode === 'extended' ? 32 : 28)
      header.writeUInt32BE(mode === 'extended' ? nbd.NBD_EXTENDED_REQUEST_MAGIC : nbd.NBD_REQUEST_MAGIC)
      header.writeUInt16BE(FLUSH, 6)
      raw.copy(header, 8, 4)
      client.send(header)
      assert.equal((await client.take(mode === 'extended' ? 32 : 16)).toString('hex', 8, 16), 'f'.repeat(16))
    })
  })

describe('a read without structured replies', () => {
  test('cannot ask not to be fragmented', async (t) => {
    const { client, flags } = await connected(t, 'simple')
    assert.equal(flags & nbd.NBD_FLAG_SEND_DF, 0)
    await assertRefused(client, { type: READ, flags: nbd.NBD_CMD_FLAG_DF, length: 512 }, EINVAL)
  })
})

describe('a read with structured replies', () => {
  test('is never answered with a simple reply, whatever is wrong with it', async (t) => {
    for (const mode of ['structured', 'extended'] as const) {
      const { client } = await connected(t, mode)
      for (const request of [
        { type: READ, flags: 0x8000, length: 512 },
        { type: READ, length: 0 },
        { type: READ, offset: size, length: 1 },
        { type: READ, length: 0xffffffff },
      ]) {
        const [part] = await client.request(request)
        assert.equal(part?.type, nbd.NBD_REPLY_TYPE_ERROR)
        assert.ok((part?.message.length ?? 0) > 0, 'a person is told what was wrong')
      }
    }
  })
})

describe('a fast zero', () => {
  const fast = { type: ZERO, flags: nbd.NBD_CMD_FLAG_FAST_ZERO, length: 512 }

  test('is ENOTSUP at once, without a write, where zeroes are written', async (t) => {
    const { disk, client, flags } = await connected(t, 'structured', { without: ['zero'] })
    assert.notEqual(flags & nbd.NBD_FLAG_SEND_FAST_ZERO, 0)
    await assertRefused(client, fast, ENOTSUP)
    assert.deepEqual(disk.calls, ['read 512 at 4096'])
  })

  test('is EINVAL where it was not offered', async (t) => {
    const { disk, client, flags } = await connected(t, 'structured')
    assert.equal(flags & nbd.NBD_FLAG_SEND_FAST_ZERO, 0)
    await assertRefused(client, fast, EINVAL)
    assert.deepEqual(disk.calls, ['read 512 at 4096'])
  })

  test('reaches a device that knows it, and may be ENOTSUP there', async (t) => {
    const zero = () => {
      throw new NbdError('ENOTSUP', 'not today')
    }
    const { client } = await connected(t, 'structured', { device: { zero, can: { fastZero: true } } })
    await assertRefused(client, fast, ENOTSUP)
  })

  test('is what ENOTSUP is for: zeroes that need not be fast are written', async (t) => {
    const zero = () => {
      throw new NbdError('ENOTSUP', 'not today')
    }
    const { disk, client } = await connected(t, 'structured', { device: { zero, can: { fastZero: true } } })
    const [part] = await client.request({ type: ZERO, length: 512 })
    assert.equal(part?.error, 0)
    assert.deepEqual(disk.calls, ['write 512 at 0'])
  })
})

describe('a block status request', () => {
  /** Descriptors of the one chunk, lengths and flags by turns. */
  async function descriptors(client: RawClient, request: Partial<RawRequest>): Promise<number[]> {
    const parts = await client.request({ type: STATUS, ...request })
    assert.equal(parts.length, 1)
    const data = parts[0]?.data ?? Buffer.alloc(0)
    const numbers: number[] = []
    if (client.extended)
      for (let at = 8; at < data.length; at += 8) numbers.push(Number(data.readBigUInt64BE(at)))
    else for (let at = 4; at < data.length; at += 4) numbers.push(data.readUInt32BE(at))
    return numbers
  }

  test('without a metadata context is EINVAL', async (t) => {
    for (const mode of modes) {
      const served = serve(t, new Disk())
      const client = served.connect()
      await client.go({ structured: mode !== 'simple', extended: mode === 'extended' })
      await assertRefused(client, { type: STATUS, length: 512 }, EINVAL)
    }
  })

  test('for one extent gets one, not longer than it asked for', async (t) => {
    for (const mode of ['structured', 'extended'] as const) {
      const extents = () => [
        { length: 1000, type: 3 },
        { length: 1000, type: 3 },
        { length: size, type: 0 },
      ]
      const { client } = await connected(t, mode, { device: { extents } })
      const one = nbd.NBD_CMD_FLAG_REQ_ONE
      assert.deepEqual(await descriptors(client, { length: 512, flags: one }), [512, 3])
      assert.deepEqual(await descriptors(client, { length: 1500, flags: one }), [1500, 3])
      assert.deepEqual(await descriptors(client, { length: 4096, flags: one }), [2000, 3])
      assert.deepEqual(await descriptors(client, { length: 4096 }), [2000, 3, size - 2000, 0])
    }
  })

  test('is answered with runs of more than 4 GiB cut to 32 bits, or whole in 64', async (t) => {
    const extents = (_offset: number, length: number) => [{ length, type: 3 }]
    const device = { size: 2 ** 40, extents }
    const { client } = await connected(t, 'structured', { device })
    assert.deepEqual(await descriptors(client, { length: 0xffffffff }), [0xffff0000, 3])
    const { client: wide } = await connected(t, 'extended', { device })
    assert.deepEqual(await descriptors(wide, { length: 2 ** 40 }), [2 ** 40, 3])
  })
})

describe('lengths of 64 bits', () => {
  const big = { size: 2 ** 50 }

  test('reach the device where no payload is needed', async (t) => {
    const { disk, client } = await connected(t, 'extended', { device: { ...big, zero() {}, trim() {} } })
    for (const type of [TRIM, ZERO, CACHE])
      assert.equal((await client.request({ type, offset: 512, length: 2 ** 45 })).at(-1)?.error, 0)
    assert.deepEqual(disk.calls, [`cache ${2 ** 45} at 512`])
  })

  test('beyond 2^53 are beyond every disk', async (t) => {
    const { client } = await connected(t, 'extended', { device: big })
    for (const length of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      await assertRefused(client, { type: TRIM, length }, EINVAL)
      await assertRefused(client, { type: ZERO, length }, ENOSPC)
      await assertRefused(client, { type: READ, length }, EINVAL)
      await assertRefused(client, { type: STATUS, length }, EINVAL)
    }
  })

  test('of a READ of more than 64 MiB are EOVERFLOW', async (t) => {
    const { client } = await connected(t, 'extended', { device: big })
    await assertRefused(client, { type: READ, length: 2 ** 40 }, EOVERFLOW)
  })

  for (const length of [BigInt(payloadDrainBytesMax) + 1n, 2n ** 63n, 2n ** 64n - 1n])
    test(`of a payload that would never end drop the client: ${length}`, async (t) => {
      for (const type of [WRITE, READ, STATUS, 77]) {
        const { client, connect } = await connected(t, 'extended', { device: big })
        client.sendRequest({ type, flags: PAYLOAD_LEN, length })
        assert.deepEqual((await client.rest()).length, 0)
        assert.equal((await connect().go()).size, 2 ** 50)
      }
    })
})

describe('the flag that tells of a payload', () => {
  test('is not needed by a WRITE, which has its payload all the same', async (t) => {
    const { disk, client } = await connected(t, 'extended')
    for (const flags of [0, PAYLOAD_LEN]) {
      const payload = Buffer.alloc(512, flags + 1)
      assert.equal((await client.request({ type: WRITE, flags, length: 512, payload })).at(-1)?.error, 0)
      assert.ok(disk.bytes.subarray(0, 512).equals(payload))
    }
    await assertInStep(client)
  })

  test('is EINVAL on other commands, and their payload is passed over', async (t) => {
    const { client } = await connected(t, 'extended')
    for (const type of [READ, FLUSH, TRIM, CACHE, ZERO, 77])
      for (const length of [1, 31, 32, 60_000])
        await assertRefused(
          client,
          { type, flags: PAYLOAD_LEN, length, payload: Buffer.alloc(length, 0x21) },
          EINVAL,
        )
  })

  test('is EINVAL without extended headers, and nothing follows but a WRITE', async (t) => {
    const { client } = await connected(t, 'structured')
    for (const type of [READ, TRIM, CACHE, ZERO, STATUS])
      await assertRefused(client, { type, flags: PAYLOAD_LEN, length: 512 }, EINVAL)
    await assertRefused(
      client,
      { type: WRITE, flags: PAYLOAD_LEN, length: 512, payload: Buffer.alloc(512) },
      EINVAL,
    )
  })

  test('does not keep DISC from ending the connection', async (t) => {
    const { client } = await connected(t, 'extended')
    client.sendRequest({ type: DISC, flags: PAYLOAD_LEN, length: 2n ** 63n })
    assert.equal((await client.rest()).length, 0)
  })
})

describe('a block status request with a payload', () => {
  const contexts = ['base:allocation', 'x-test:a', 'x-test:b']
  const extents = (_offset: number, length: number, context: string) => [
    { length, type: context === 'x-test:a' ? 5 : 6 },
  ]
  const device = { extents, contexts: ['x-test:a', 'x-test:b'] }

  async function ready(t: TestContext) {
    const disk = new Disk({ device })
    const client = serve(t, disk).connect()
    const { flags, contexts: ids } = await client.go({ extended: true, contexts })
    assert.notEqual(flags & nbd.NBD_FLAG_BLOCK_STATUS_PAYLOAD, 0)
    return { client, id: (name: string) => ids.get(name) ?? 0 }
  }

  function payload(length: number | bigint, ...ids: number[]): RawRequest {
    const bytes = Buffer.alloc(8 + 4 * ids.length)
    bytes.writeBigUInt64BE(BigInt(length))
    for (const [index, id] of ids.entries()) bytes.writeUInt32BE(id, 8 + 4 * index)
    return { type: STATUS, flags: PAYLOAD_LEN, length: bytes.length, payload: bytes }
  }

  test('is answered for the contexts and the length that it names', async (t) => {
    const { client, id } = await ready(t)
    const wanted = [id('x-test:b'), id('base:allocation')]
    const parts = await client.request({ ...payload(1024, ...wanted), offset: 512 })
    assert.deepEqual(parts.map(({ data }) => data.readUInt32BE()).sort(), wanted.sort())
    const chunk = parts.find(({ data }) => data.readUInt32BE() === id('x-test:b'))
    assert.equal(chunk?.data.toString('hex', 4), '00000001' + '0000000000000400' + '0000000000000006')
    assert.equal(parts.at(-1)?.done, true)
    await assertInStep(client)
  })

  test('is EINVAL where an id is unknown, or is named twice, or none is', async (t) => {
    const { client, id } = await ready(t)
    const first = id('x-test:a')
    for (const ids of [[0], [99], [first, 0xffffffff], [first, first], []])
      await assertRefused(client, payload(1024, ...ids), EINVAL)
  })

  test('is EINVAL where its length is none of a list of ids', async (t) => {
    const { client } = await ready(t)
    for (const length of [1, 7, 8, 9, 11, 13, 15])
      await assertRefused(client, { ...payload(512), length, payload: Buffer.alloc(length, 1) }, EINVAL)
  })

  test('is EINVAL where it is longer than all ids could be, and is passed over', async (t) => {
    const { client } = await ready(t)
    for (const length of [statusPayloadBytesMax + 4, MiB])
      await assertRefused(client, { ...payload(512), length, payload: Buffer.alloc(length, 0x21) }, EINVAL)
  })

  test('is EINVAL where the range that it names is beyond the end, or empty', async (t) => {
    const { client, id } = await ready(t)
    for (const length of [0, size + 1, 2n ** 63n, 2n ** 64n - 1n])
      await assertRefused(client, payload(length, id('x-test:a')), EINVAL)
    await assertRefused(client, { ...payload(512, id('x-test:a')), offset: size }, EINVAL)
  })

  test('is EINVAL where no context was negotiated', async (t) => {
    const client = serve(t, new Disk({ device })).connect()
    await client.go({ extended: true })
    await assertRefused(client, payload(512, 1), EINVAL)
  })

  test('of no bytes asks for nothing', async (t) => {
    const { client } = await ready(t)
    await assertRefused(client, { type: STATUS, flags: PAYLOAD_LEN, length: 0 }, EINVAL)
  })
})

test('what follows DISC is not looked at', async (t) => {
  const { disk, client, server } = await connected(t, 'simple')
  client.sendRequest({ type: DISC })
  client.sendRequest({ type: WRITE, length: 4, payload: Buffer.alloc(4) })
  client.send(Buffer.from('garbage'))
  assert.equal((await client.rest()).length, 0)
  assert.deepEqual(disk.calls, [])
  await server.shutdown()
  assert.equal(disk.closed, 1)
})
