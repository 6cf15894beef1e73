/** A client that dies in a large write to a disk in memory, and others who use the same range. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLog } from '../../src/api/log.js'
import type { Layer } from '../../src/index.js'
import data from '../../src/plugins/data/data.js'
import memory from '../../src/plugins/memory/memory.js'
import {
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/protocol/constants.js'
import { createServer } from '../../src/server/server.js'
import { pair, RawClient } from '../../src/testing/index.js'
import { encodeRequest } from '../../src/testing/raw-client.js'

const length = 64 * 1024
const range = { offset: 0, length }

const disks: [name: string, plugin: () => Layer<'plugin'>][] = [
  ['memory', () => memory({ size: '8M' })],
  ['memory in one piece', () => memory({ size: '8M', allocator: 'malloc' })],
  ['data', () => data({ data: '', size: '8M' })],
]

async function setUp(t: TestContext, plugin: Layer<'plugin'>) {
  const server = createServer({ plugin, log: silentLog })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const connect = async () => {
    const [ours, theirs] = pair()
    await server.serve(ours)
    const client = new RawClient(theirs)
    await client.go()
    return client
  }
  const [dying, living] = [await connect(), await connect()]
  const ask = async (type: number, payload?: Buffer, at: { offset: number; length: number } = range) => {
    const [reply] = await living.request({ type, ...at, ...(payload && { payload }) })
    assert.equal(reply?.error, 0)
    return reply.data
  }
  /** The first bytes of a large write, and then some more. */
  const begin = () =>
    dying.send(encodeRequest({ type: NBD_CMD_WRITE, ...range, payload: Buffer.alloc(100, 'x') }))
  const goOn = () => dying.send(Buffer.alloc(40_000, 'x'))
  const die = async () => {
    dying.stream.destroy()
    while (server.connections.size > 1) await turn()
  }
  return { ask, begin, goOn, die }
}

for (const [name, plugin] of disks)
  describe(`a client that dies in a large write to ${name}`, () => {
    for (const [what, type] of [
      ['zeroed', NBD_CMD_WRITE_ZEROES],
      ['trimmed', NBD_CMD_TRIM],
    ] as const)
      it(`leaves a range that was ${what} meanwhile as it is, whatever is written next`, async (t) => {
        const { ask, begin, goOn, die } = await setUp(t, plugin())
        await ask(NBD_CMD_WRITE, Buffer.alloc(512, 'k'), { offset: 600_000, length: 512 })
        begin()
        await ask(type)
        goOn()
        await turn()
        await die()
        await ask(NBD_CMD_WRITE, Buffer.from('1'), { offset: 100, length: 1 })
        const expected = Buffer.alloc(length)
        expected.write('1', 100)
        assert.ok((await ask(NBD_CMD_READ)).equals(expected))
        const long = await ask(NBD_CMD_READ, undefined, { offset: 0, length: 700_000 })
        assert.ok(long.subarray(0, length).equals(expected))
      })

    it('leaves what others wrote before and meanwhile, and nobody reads of it', async (t) => {
      const { ask, begin, goOn, die } = await setUp(t, plugin())
      const expected = Buffer.alloc(length, 'a')
      await ask(NBD_CMD_WRITE, expected)
      begin()
      assert.ok((await ask(NBD_CMD_READ)).equals(expected))
      expected.fill('b', 0, 5000)
      await ask(NBD_CMD_WRITE, expected.subarray(0, 5000), { offset: 0, length: 5000 })
      goOn()
      assert.ok((await ask(NBD_CMD_READ)).equals(expected))
      await die()
      assert.ok((await ask(NBD_CMD_READ)).equals(expected))
    })

    it('leaves an acknowledged write to a disk that was zeroed as a whole meanwhile', async (t) => {
      const { ask, begin, goOn, die } = await setUp(t, plugin())
      await ask(NBD_CMD_WRITE, Buffer.alloc(length, 'a'))
      begin()
      await ask(NBD_CMD_WRITE_ZEROES, undefined, { offset: 0, length: 8 * 2 ** 20 })
      const expected = Buffer.alloc(length, 'b')
      await ask(NBD_CMD_WRITE, expected)
      goOn()
      await turn()
      await die()
      assert.ok((await ask(NBD_CMD_READ)).equals(expected))
    })
  })
