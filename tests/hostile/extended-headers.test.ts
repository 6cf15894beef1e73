/**
 * Extended headers as bytes: whatever a client asks for, rightly or wrongly, it gets one answer that it can
 * tell from the others. A client with no timer of its own waits forever for one that does not come.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import * as nbd from '../../src/protocol/constants.js'
import { errorName } from '../../src/protocol/errno.js'
import { encodeRequest, type RawClient, type RawRequest } from '../../src/testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../../src/testing/served-disk.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_FLUSH: FLUSH } = nbd
const { NBD_CMD_FLAG_PAYLOAD_LEN: PAYLOAD_LEN, NBD_EINVAL: EINVAL } = nbd
const size = 65536
const commands = {
  read: READ,
  write: WRITE,
  flush: FLUSH,
  trim: nbd.NBD_CMD_TRIM,
  cache: nbd.NBD_CMD_CACHE,
  zero: nbd.NBD_CMD_WRITE_ZEROES,
  'block status': nbd.NBD_CMD_BLOCK_STATUS,
  'an unknown command': 77,
}
type CommandName = keyof typeof commands

async function connected(t: TestContext, options: DiskOptions = {}) {
  const disk = new Disk(options)
  const client = serve(t, disk).connect()
  await client.go({ extended: true, contexts: ['base:allocation'] })
  return { disk, client }
}

interface Chunk {
  readonly cookie: number
  readonly offset: bigint
  readonly error: number
  readonly done: boolean
}

/** The next chunk, of which every field stands where the protocol has it. */
async function chunk(client: RawClient): Promise<Chunk> {
  const header = await client.take(32)
  assert.equal(header.readUInt32BE(0), nbd.NBD_EXTENDED_REPLY_MAGIC)
  const payload = await client.take(Number(header.readBigUInt64BE(24)))
  const type = header.readUInt16BE(6)
  assert.equal(type === nbd.NBD_REPLY_TYPE_NONE, payload.length === 0)
  return {
    cookie: Number(header.readBigUInt64BE(8)),
    offset: header.readBigUInt64BE(16),
    error: type >= 0x8000 ? payload.readUInt32BE(0) : 0,
    done: (header.readUInt16BE(4) & nbd.NBD_REPLY_FLAG_DONE) !== 0,
  }
}

/** Sends them all at once, as one write, and gives the error of each; every one has to be answered once. */
async function errorsOf(client: RawClient, requests: readonly RawRequest[]): Promise<number[]> {
  client.send(Buffer.concat(requests.map((request, cookie) => encodeRequest({ ...request, cookie }, true))))
  const errors: number[] = []
  for (let open = requests.length; open > 0; ) {
    const { cookie, offset, error, done } = await chunk(client)
    assert.equal(errors[cookie], undefined, `request ${cookie} was answered before`)
    assert.equal(offset, BigInt(requests[cookie]?.offset ?? 0))
    if (done) {
      errors[cookie] = error
      open--
    }
  }
  return errors
}

/** A request of this command. A WRITE brings its bytes, and says so. */
function request(command: CommandName, offset: number | bigint, length: number, flags = 0): RawRequest {
  const type = commands[command]
  if (type !== WRITE) return { type, flags, offset, length }
  return { type, flags: flags | PAYLOAD_LEN, offset, length, payload: Buffer.alloc(length, 0x25) }
}

const everyCommand = Object.keys(commands) as CommandName[]

describe('with extended headers', () => {
  for (const command of everyCommand)
    test(`${command} is answered once, with its cookie and its offset, wherever it is`, async (t) => {
      const { client } = await connected(t)
      const places: [offset: number | bigint, length: number][] = [
        [0, 512],
        [size - 512, 512],
        [size - 511, 512],
        [size, 1],
        [0, 0],
        [size, 0],
        [size + 1, 0],
        [2n ** 53n, 512],
        [2n ** 62n, 512],
        [2n ** 63n - 1n, 512],
        [2n ** 64n - 100n, 512],
        [3, 5],
      ]
      const errors = await errorsOf(
        client,
        places.map(([offset, length]) => request(command, offset, length)),
      )
      const takesRanges = command !== 'flush' && command !== 'an unknown command'
      const isGood = ([offset, length]: [number | bigint, number]) =>
        takesRanges
          ? length > 0 && Number(offset) + length <= size
          : command === 'flush' && !offset && !length
      assert.deepEqual(
        errors.map((error) => error === 0),
        places.map(isGood),
      )
    })

  for (const command of everyCommand)
    test(`${command} is answered once whichever flags it has, but for a payload that does not come`, async (t) => {
      const { client } = await connected(t)
      const length = command === 'flush' ? 0 : 512
      const flags = [1, 2, 4, 8, 16, 64, 128, 256, 0x4000, 0x8000, 0xffdf]
      const errors = await errorsOf(
        client,
        flags.map((flag) => request(command, 0, length, flag)),
      )
      assert.equal(errors.length, flags.length)
      for (const [index, flag] of flags.entries())
        if (flag >= 64) assert.equal(errors[index], EINVAL, `flags ${flag}`)
    })

  for (const command of everyCommand.filter((name) => name !== 'write' && name !== 'block status'))
    test(`${command} that tells of a payload is refused once it has come, and none of it is a request`, async (t) => {
      const { disk, client } = await connected(t)
      const flush = encodeRequest({ type: FLUSH, cookie: 99 }, true)
      const requests: RawRequest[] = [16, 1].map((count) => ({
        type: commands[command],
        flags: PAYLOAD_LEN,
        offset: 512,
        length: count * flush.length,
        payload: Buffer.concat(Array.from({ length: count }, () => flush)),
      }))
      assert.deepEqual(await errorsOf(client, [...requests, request('flush', 0, 0)]), [EINVAL, EINVAL, 0])
      assert.deepEqual(disk.calls, ['flush'])
    })

  const codes = ['EPERM', 'EIO', 'ENOMEM', 'EINVAL', 'ENOSPC', 'EOVERFLOW', 'ENOTSUP', 'ESHUTDOWN']
  /** The protocol has EOVERFLOW for reads alone, and ENOTSUP for zeroes that have to be fast. */
  const told = (command: CommandName, code: string) =>
    code === 'ENOTSUP' || (code === 'EOVERFLOW' && command !== 'read') ? 'EINVAL' : code
  for (const command of everyCommand.filter((name) => name !== 'an unknown command'))
    test(`${command} is answered once with whatever error the device has for it`, async (t) => {
      // ENOTSUP from zero is no failure: the zeroes are written.
      const given = codes.filter((code) => command !== 'zero' || code !== 'ENOTSUP')
      let count = 0
      const fail = () => {
        const code = given[count++ % given.length]
        throw Object.assign(new Error('it fails'), { code })
      }
      const device = {
        read: fail,
        write: fail,
        flush: fail,
        trim: fail,
        zero: fail,
        cache: fail,
        extents: fail,
      }
      const { client } = await connected(t, { device })
      const range: [number, number] = command === 'flush' ? [0, 0] : [512, 512]
      const errors = await errorsOf(
        client,
        given.map(() => request(command, ...range)),
      )
      assert.deepEqual(
        errors.map(errorName),
        given.map((code) => told(command, code)),
      )
    })

  test('every command is answered once with ESHUTDOWN after a soft disconnect', async (t) => {
    const { disk, client } = await connected(t)
    disk.opened[0]?.connection.disconnect(false)
    const errors = await errorsOf(
      client,
      everyCommand.map((command) => request(command, 0, command === 'flush' ? 0 : 512)),
    )
    assert.deepEqual(
      errors.map(errorName),
      everyCommand.map(() => 'ESHUTDOWN'),
    )
    assert.deepEqual(disk.calls, [])
  })
})
