/**
 * Clients that break the rules of the handshake: each is told so or closed, and the server serves the others.
 */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import * as nbd from '../../src/protocol/constants.js'
import { optionBytesMax, optionDrainBytesMax, optionsMax, queriesMax } from '../../src/protocol/limits.js'
import { infoData, metaContextData, type RawClient } from '../../src/testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../../src/testing/served-disk.js'

const { NBD_OPT_EXPORT_NAME: EXPORT_NAME, NBD_OPT_LIST: LIST, NBD_OPT_INFO: INFO, NBD_OPT_GO: GO } = nbd
const { NBD_OPT_LIST_META_CONTEXT: LIST_META, NBD_OPT_SET_META_CONTEXT: SET_META, NBD_OPT_ABORT: ABORT } = nbd
const { NBD_REP_ACK: ACK, NBD_REP_ERR_INVALID: INVALID, NBD_REP_ERR_TOO_BIG: TOO_BIG } = nbd
const { NBD_REP_ERR_UNSUP: UNSUP } = nbd

/** A client that has greeted and speaks structured replies, and a way to see that the server lives. */
async function greeted(t: TestContext, options: DiskOptions = {}) {
  const served = serve(t, new Disk(options))
  const client = served.connect()
  await client.greet()
  await client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
  return { client, assertServes: async () => assert.equal((await served.connect().go()).size, 65536) }
}

async function answer(client: RawClient, option: number, data?: Uint8Array): Promise<number | undefined> {
  return (await client.option(option, data)).at(-1)?.type
}

async function assertInStep(client: RawClient): Promise<void> {
  assert.equal(await answer(client, INFO, infoData('')), ACK)
}

describe('a wrong magic', () => {
  const wrong = Buffer.from('49484156454f5055' + '00000003' + '00000000', 'hex')

  test('in the first option ends the connection, and no other', async (t) => {
    const { client, assertServes } = await greeted(t)
    client.send(wrong)
    assert.equal((await client.rest()).length, 0)
    await assertServes()
  })

  test('in a later option ends the connection', async (t) => {
    const { client, assertServes } = await greeted(t)
    await assertInStep(client)
    client.send(wrong)
    assert.equal((await client.rest()).length, 0)
    await assertServes()
  })

  test('is what a request is before an export is chosen, and an option after', async (t) => {
    const { client, assertServes } = await greeted(t)
    client.send(Buffer.from(`25609513${'00'.repeat(24)}`, 'hex'))
    assert.equal((await client.rest()).length, 0)
    const { client: other } = await greeted(t)
    await other.option(GO, infoData(''))
    other.sendOption(LIST, Buffer.alloc(20))
    assert.equal((await other.rest()).length, 0)
    await assertServes()
  })

  test('is what another protocol begins with', async (t) => {
    const { connect } = serve(t, new Disk())
    for (const hello of [
      'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
      'EHLO a\r\n',
    ]) {
      const client = connect()
      await client.take(18)
      client.send(Buffer.from(hello, 'latin1'))
      assert.equal((await client.rest()).length, 0)
    }
    assert.equal((await connect().go()).size, 65536)
  })
})

describe('option data that lies about its lengths', () => {
  const whole: [option: number, data: Buffer][] = [
    [INFO, infoData('disk', [1, 2, 3])],
    [GO, infoData('disk', [1, 2, 3])],
    [LIST_META, metaContextData('disk', ['base:allocation', 'x-a:'])],
    [SET_META, metaContextData('disk', ['base:allocation', 'x-a:'])],
  ]
  for (const [option, data] of whole) {
    test(`is ERR_INVALID wherever it is cut, and the stream stays in step: option ${option}`, async (t) => {
      const { client } = await greeted(t)
      for (let length = 0; length < data.length; length++)
        assert.equal(await answer(client, option, data.subarray(0, length)), INVALID, `cut to ${length}`)
      await assertInStep(client)
    })

    test(`is ERR_INVALID where more follows: option ${option}`, async (t) => {
      const { client } = await greeted(t)
      for (const more of [1, 2, 3, 100])
        assert.equal(await answer(client, option, Buffer.concat([data, Buffer.alloc(more)])), INVALID)
      await assertInStep(client)
    })

    test(`is never more than an error, with any length at any place: option ${option}`, async (t) => {
      const { client } = await greeted(t)
      for (let at = 0; at + 4 <= data.length; at++)
        for (const length of [0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff, data.length]) {
          const lying = Buffer.from(data)
          lying.writeUInt32BE(length, at)
          // Where it hits a name, a query or an id it may even be right: what matters is that an answer
          // comes.
          if (option !== GO) assert.ok(await answer(client, option, lying), `${length} at ${at}`)
        }
      await assertInStep(client)
    })
  }
})

describe('a string that is none', () => {
  const strings: [means: string, bytes: Buffer][] = [
    ['a NUL', Buffer.from('disk\0')],
    ['a NUL in front', Buffer.from('\0disk')],
    ['bytes that are not UTF-8', Buffer.from('6469ff6b', 'hex')],
    ['half a character', Buffer.from('c3', 'hex')],
    ['4097 bytes', Buffer.alloc(4097, 'a')],
  ]
  const counted = (bytes: Buffer) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  for (const [means, bytes] of strings) {
    test(`is ERR_INVALID in every option that can answer, and opens nothing: ${means}`, async (t) => {
      const disk = new Disk()
      const client = serve(t, disk).connect()
      await client.greet()
      await client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
      for (const option of [INFO, GO])
        assert.equal(await answer(client, option, Buffer.concat([counted(bytes), Buffer.alloc(2)])), INVALID)
      for (const option of [LIST_META, SET_META]) {
        assert.equal(await answer(client, option, Buffer.concat([counted(bytes), Buffer.alloc(4)])), INVALID)
        const query = Buffer.concat([counted(Buffer.alloc(0)), Buffer.from([0, 0, 0, 1]), counted(bytes)])
        assert.equal(await answer(client, option, query), INVALID)
      }
      assert.equal(disk.opened.length, 0)
      await assertInStep(client)
    })

    test(`ends the connection as the name of NBD_OPT_EXPORT_NAME: ${means}`, async (t) => {
      const { client, assertServes } = await greeted(t)
      client.sendOption(EXPORT_NAME, bytes)
      assert.equal((await client.rest()).length, 0)
      await assertServes()
    })
  }

  test('is not what a name of 4096 bytes is', async (t) => {
    const disk = new Disk()
    const client = serve(t, disk).connect()
    await client.greet()
    assert.equal(await answer(client, INFO, infoData('é'.repeat(2048))), ACK)
    assert.equal(disk.opened[0]?.exportName.length, 2048)
  })
})

describe('more data than an option can need', () => {
  const tooLong = Buffer.alloc(optionBytesMax + 1)
  const options: [option: number, error: number][] = [
    [INFO, TOO_BIG],
    [GO, TOO_BIG],
    [LIST_META, TOO_BIG],
    [SET_META, TOO_BIG],
    [LIST, INVALID],
    [nbd.NBD_OPT_STRUCTURED_REPLY, INVALID],
    [nbd.NBD_OPT_EXTENDED_HEADERS, INVALID],
    [99, UNSUP],
  ]
  for (const [option, error] of options)
    test(`is refused, and the stream stays in step: option ${option}`, async (t) => {
      const { client } = await greeted(t)
      assert.equal(await answer(client, option, tooLong), error)
      await assertInStep(client)
    })

  test('is read to the end as far as 32 MiB', async (t) => {
    const { client } = await greeted(t)
    for (const length of [optionBytesMax, 2 * optionBytesMax, 1_000_000, optionDrainBytesMax])
      assert.equal(await answer(client, 99, Buffer.alloc(length, 0x49)), UNSUP, `${length} bytes`)
    await assertInStep(client)
  })

  for (const length of [optionDrainBytesMax + 1, 0x80000000, 0xffffffff])
    test(`ends the connection before it is sent: ${length} bytes`, async (t) => {
      for (const option of [INFO, LIST, ABORT, EXPORT_NAME, 99]) {
        const { client, assertServes } = await greeted(t)
        client.sendOption(option, Buffer.alloc(0), length)
        assert.equal((await client.rest()).length, 0)
        await assertServes()
      }
    })

  test('ends the connection as the name of NBD_OPT_EXPORT_NAME', async (t) => {
    const { client, assertServes } = await greeted(t)
    client.sendOption(EXPORT_NAME, tooLong)
    assert.equal((await client.rest()).length, 0)
    await assertServes()
  })
})

describe('too many', () => {
  test('options end the connection', async (t) => {
    const { client, assertServes } = await greeted(t)
    // One was sent already.
    for (let count = 1; count < optionsMax; count++) client.sendOption(LIST)
    for (let count = 1; count < optionsMax; count++)
      for (let last = false; !last; ) last = (await client.optionReply()).type === ACK
    client.sendOption(LIST)
    assert.equal((await client.rest()).length, 0)
    await assertServes()
  })

  test('queries are ERR_TOO_BIG, and as many as may be are taken', async (t) => {
    const { client } = await greeted(t)
    for (const option of [LIST_META, SET_META]) {
      const most = Array.from({ length: queriesMax }, (_, index) => `x-${index}:a`)
      assert.equal(await answer(client, option, metaContextData('', most)), ACK)
      assert.equal(await answer(client, option, metaContextData('', [...most, 'x:a'])), TOO_BIG)
    }
    await assertInStep(client)
  })

  test('information requests are passed over', async (t) => {
    const { client } = await greeted(t)
    const requests = Array.from({ length: 30_000 }, (_, index) => index)
    const replies = await client.option(INFO, infoData('', requests))
    assert.equal(replies.at(-1)?.type, ACK)
    assert.ok(replies.length < 6)
  })
})

test('a message that repeats what the client said has at most 4096 bytes, and no half character', async (t) => {
  const { client } = await greeted(t)
  for (const query of ['€'.repeat(1365), `a${'€'.repeat(1365)}`, `aa${'é'.repeat(2047)}`]) {
    const [reply] = await client.option(SET_META, metaContextData('', [query]))
    assert.equal(reply?.type, INVALID)
    assert.ok((reply?.data.length ?? 0) <= 4096)
    new TextDecoder('utf-8', { fatal: true }).decode(reply?.data)
  }
})

test('an option that is asked a hundred times opens each export once at a time', async (t) => {
  const disk = new Disk()
  const client = serve(t, disk).connect()
  await client.greet()
  for (let count = 0; count < 100; count++) await client.option(INFO, infoData(count % 10 === 0 ? 'b' : 'a'))
  assert.equal(disk.opened.length - disk.closed, 1)
})
