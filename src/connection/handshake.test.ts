import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ConfigError, NbdError } from '../api/errors.js'
import * as nbd from '../protocol/constants.js'
import { everySplit } from '../testing/every-split.js'
import { infoData, metaContextData, type OptionReply, type RawClient } from '../testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../testing/served-disk.js'

/** Replies in readable form: type, and data as text. */
function told(replies: readonly OptionReply[]): string[] {
  return replies.map(({ type, data }) => `${types[type] ?? type} ${data.toString('latin1')}`.trimEnd())
}
const types: Record<number, string> = {
  [nbd.NBD_REP_ACK]: 'ACK',
  [nbd.NBD_REP_SERVER]: 'SERVER',
  [nbd.NBD_REP_INFO]: 'INFO',
  [nbd.NBD_REP_META_CONTEXT]: 'META_CONTEXT',
  [nbd.NBD_REP_ERR_UNSUP]: 'ERR_UNSUP',
  [nbd.NBD_REP_ERR_INVALID]: 'ERR_INVALID',
  [nbd.NBD_REP_ERR_PLATFORM]: 'ERR_PLATFORM',
  [nbd.NBD_REP_ERR_UNKNOWN]: 'ERR_UNKNOWN',
  [nbd.NBD_REP_ERR_TOO_BIG]: 'ERR_TOO_BIG',
  [nbd.NBD_REP_ERR_EXT_HEADER_REQD]: 'ERR_EXT_HEADER_REQD',
}

/** The type of the last reply to an option. */
async function answer(client: RawClient, option: number, data?: Uint8Array): Promise<string> {
  const last = (await client.option(option, data)).at(-1)
  return types[last?.type ?? 0] ?? `${last?.type}`
}

/** Asserts that the stream is in step: the next option is answered correctly. */
async function assertInStep(client: RawClient): Promise<void> {
  assert.equal(await answer(client, nbd.NBD_OPT_INFO, infoData('')), 'ACK')
}

/** A client that has answered the greeting. */
async function greeted(t: Parameters<typeof serve>[0], options: DiskOptions = {}, server = {}) {
  const disk = new Disk(options)
  const served = serve(t, disk, server)
  const client = served.connect()
  await client.greet()
  return { disk, client, ...served }
}

const contextsOf = (replies: readonly OptionReply[]) =>
  replies
    .filter(({ type }) => type === nbd.NBD_REP_META_CONTEXT)
    .map(({ data }) => [data.readUInt32BE(0), data.toString('utf8', 4)])

describe('the greeting', () => {
  test('offers fixed newstyle, and no zeroes', async (t) => {
    const client = serve(t, new Disk()).connect()
    assert.equal((await client.take(18)).toString('hex'), '4e42444d4147494349484156454f50540003')
  })

  test('offers what the mask lets through', async (t) => {
    for (const maskHandshake of [0, 1, 2, 3]) {
      const client = serve(t, new Disk(), { maskHandshake }).connect()
      assert.equal(await client.greet(maskHandshake), maskHandshake)
      client.sendOption(nbd.NBD_OPT_EXPORT_NAME)
      assert.equal((await client.take(10)).readBigUInt64BE(), 65536n)
      if (!(maskHandshake & 2)) assert.deepEqual(await client.take(124), Buffer.alloc(124))
    }
  })

  for (const [means, mask, flags] of [
    ['unknown', 3, 4],
    ['unknown, of the upper half', 3, 0x80000003],
    ['not offered', 1, 2],
    ['not offered, as none is', 0, 1],
  ] as const)
    test(`ends the connection where the client sets a flag that is ${means}`, async (t) => {
      const client = serve(t, new Disk(), { maskHandshake: mask }).connect()
      await client.greet(flags)
      assert.equal((await client.rest()).length, 0)
    })

  test('of a client without fixed newstyle leaves it one option', async (t) => {
    const { connect } = serve(t, new Disk())
    const good = connect()
    await good.greet(0)
    good.sendOption(nbd.NBD_OPT_EXPORT_NAME)
    assert.equal((await good.take(134)).readBigUInt64BE(), 65536n)
    const bad = connect()
    await bad.greet(0)
    bad.sendOption(nbd.NBD_OPT_LIST)
    assert.equal((await bad.rest()).length, 0)
  })
})

describe('the oldstyle handshake', () => {
  test('is the size, the flags and zeroes, and then requests', async (t) => {
    const client = serve(t, new Disk(), { oldstyle: true }).connect()
    const hello = await client.take(152)
    assert.equal(hello.toString('latin1', 0, 8), 'NBDMAGIC')
    assert.equal(hello.toString('hex', 8, 16), '0000420281861253')
    assert.equal(hello.readBigUInt64BE(16), 65536n)
    assert.equal(hello.readUInt32BE(24) & nbd.NBD_FLAG_HAS_FLAGS, 1)
    assert.equal(hello.readUInt32BE(24) >>> 16, 0, 'no handshake flags')
    assert.deepEqual(hello.subarray(28), Buffer.alloc(124))
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
    assert.equal(reply?.data.length, 4)
  })

  test('ends at once where the export cannot be opened', async (t) => {
    const client = serve(t, new Disk({ refuses: () => true }), { oldstyle: true }).connect()
    assert.equal((await client.rest()).length, 0)
  })
})

describe('NBD_OPT_EXPORT_NAME', () => {
  for (const [flags, length] of [
    [3, 10],
    [1, 134],
  ] as const)
    test(`is answered with ${length} bytes after client flags ${flags}`, async (t) => {
      const client = serve(t, new Disk()).connect()
      await client.greet(flags)
      client.sendOption(nbd.NBD_OPT_EXPORT_NAME, Buffer.from('any'))
      const hello = await client.take(length)
      assert.equal(hello.readBigUInt64BE(), 65536n)
      assert.equal(hello.readUInt16BE(8) & nbd.NBD_FLAG_HAS_FLAGS, 1)
      const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
      assert.equal(reply?.data.length, 4)
    })

  test('opens the export of that name', async (t) => {
    const { disk, client } = await greeted(t)
    client.sendOption(nbd.NBD_OPT_EXPORT_NAME, Buffer.from('größe'))
    await client.take(10)
    assert.deepEqual(
      disk.opened.map(({ exportName }) => exportName),
      ['größe'],
    )
  })

  test('ends the connection where there is no such export', async (t) => {
    const { client } = await greeted(t, { refuses: () => true })
    client.sendOption(nbd.NBD_OPT_EXPORT_NAME, Buffer.from('other'))
    assert.equal((await client.rest()).length, 0)
  })

  test('uses what was negotiated before', async (t) => {
    const { client } = await greeted(t)
    await client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
    client.sendOption(nbd.NBD_OPT_EXPORT_NAME)
    assert.equal((await client.take(10)).readUInt16BE(8) & nbd.NBD_FLAG_SEND_DF, nbd.NBD_FLAG_SEND_DF)
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
    assert.equal(reply?.type, nbd.NBD_REPLY_TYPE_OFFSET_DATA)
  })
})

describe('NBD_OPT_ABORT', () => {
  for (const length of [0, 5, 100_000])
    test(`is acknowledged, and the connection closed, with ${length} bytes of data`, async (t) => {
      const { client } = await greeted(t)
      client.sendOption(nbd.NBD_OPT_ABORT, Buffer.alloc(length))
      assert.deepEqual(told([await client.optionReply()]), ['ACK'])
      assert.equal((await client.rest()).length, 0)
    })

  test('from a client that does not wait for the answer disturbs nobody', async (t) => {
    const { client, connect, errors } = await greeted(t)
    client.sendOption(nbd.NBD_OPT_ABORT)
    client.stream.destroy()
    assert.equal((await connect().go()).size, 65536)
    assert.deepEqual(errors, [])
  })
})

describe('NBD_OPT_LIST', () => {
  test('of a plugin without a list is the default export', async (t) => {
    const { client } = await greeted(t)
    assert.deepEqual(told(await client.option(nbd.NBD_OPT_LIST)), ['SERVER \0\0\0\0', 'ACK'])
  })

  test('has every export with its description, in order', async (t) => {
    const exports = () => [{ name: 'b', description: 'second' }, { name: 'a' }, { name: '' }]
    const { client } = await greeted(t, { plugin: { exports } })
    const expected = ['SERVER \0\0\0\x01bsecond', 'SERVER \0\0\0\x01a', 'SERVER \0\0\0\0', 'ACK']
    assert.deepEqual(told(await client.option(nbd.NBD_OPT_LIST)), expected)
  })

  test('opens no export', async (t) => {
    const { disk, client } = await greeted(t)
    await client.option(nbd.NBD_OPT_LIST)
    assert.equal(disk.opened.length, 0)
  })

  test('with data is ERR_INVALID', async (t) => {
    const { client } = await greeted(t)
    assert.equal(await answer(client, nbd.NBD_OPT_LIST, Buffer.alloc(1)), 'ERR_INVALID')
    await assertInStep(client)
  })

  test('is an error with its message where the plugin throws, and the connection goes on', async (t) => {
    const exports = () => {
      throw new NbdError('EIO', 'the catalogue is torn')
    }
    const { client } = await greeted(t, { plugin: { exports } })
    const [reply, ...others] = await client.option(nbd.NBD_OPT_LIST)
    assert.ok((reply?.type ?? 0) >= 0x80000000)
    assert.equal(reply?.data.toString(), 'the catalogue is torn')
    assert.deepEqual(others, [])
    await assertInStep(client)
  })
})

describe('NBD_OPT_INFO and NBD_OPT_GO', () => {
  const everything = [0, 1, 2, 3]
  const described: DiskOptions = {
    device: { description: 'a disk', blockSize: { minimum: 512, preferred: 4096, maximum: 65536 } },
    plugin: { defaultExport: () => 'main' },
  }
  /** Infos by type, in hex. */
  const infos = (replies: readonly OptionReply[]) =>
    new Map(
      replies
        .filter(({ type }) => type === nbd.NBD_REP_INFO)
        .map(({ data }) => [data.readUInt16BE(), data.toString('hex', 2)]),
    )

  test('tell the size and the flags without being asked', async (t) => {
    const { client } = await greeted(t)
    const replies = await client.option(nbd.NBD_OPT_INFO, infoData(''))
    assert.deepEqual([...infos(replies).keys()], [nbd.NBD_INFO_EXPORT])
    assert.equal(infos(replies).get(nbd.NBD_INFO_EXPORT)?.slice(0, 16), '0000000000010000')
    assert.equal(types[replies.at(-1)?.type ?? 0], 'ACK')
  })

  test('tell all that is asked for', async (t) => {
    const { client } = await greeted(t, described)
    const found = infos(await client.option(nbd.NBD_OPT_INFO, infoData('', everything)))
    assert.deepEqual([...found.keys()].sort(), everything)
    assert.equal(found.get(nbd.NBD_INFO_NAME), Buffer.from('main').toString('hex'))
    assert.equal(found.get(nbd.NBD_INFO_DESCRIPTION), Buffer.from('a disk').toString('hex'))
    assert.equal(found.get(nbd.NBD_INFO_BLOCK_SIZE), '00000200' + '00001000' + '00010000')
  })

  test('tell the name that the client gave, where it gave one', async (t) => {
    const { client } = await greeted(t, described)
    const found = infos(await client.option(nbd.NBD_OPT_INFO, infoData('other', [nbd.NBD_INFO_NAME])))
    assert.equal(found.get(nbd.NBD_INFO_NAME), Buffer.from('other').toString('hex'))
  })

  test('tell no description and no block size of a device that has none', async (t) => {
    const { client } = await greeted(t)
    const found = infos(await client.option(nbd.NBD_OPT_INFO, infoData('', everything)))
    assert.deepEqual([...found.keys()].sort(), [nbd.NBD_INFO_EXPORT, nbd.NBD_INFO_NAME])
  })

  test('tell a block size that a device names, also where it is what holds without', async (t) => {
    const named = { device: { blockSize: { minimum: 1, preferred: 4096, maximum: 0xffffffff } } }
    const { client } = await greeted(t, named)
    const found = infos(await client.option(nbd.NBD_OPT_INFO, infoData('', everything)))
    assert.equal(found.get(nbd.NBD_INFO_BLOCK_SIZE), '00000001' + '00001000' + '04000000')
  })

  test('pass over what they do not know, and tell nothing twice', async (t) => {
    const { client } = await greeted(t, described)
    const asked = [77, 2, 0xffff, 2, 0, 0]
    const replies = await client.option(nbd.NBD_OPT_INFO, infoData('', asked))
    assert.equal(types[replies.at(-1)?.type ?? 0], 'ACK')
    assert.deepEqual(
      replies.slice(0, -1).map(({ data }) => data.readUInt16BE()),
      [nbd.NBD_INFO_EXPORT, nbd.NBD_INFO_DESCRIPTION],
    )
  })

  test('give the same answer one after the other, and open the export once', async (t) => {
    const { disk, client } = await greeted(t, described)
    const data = infoData('disk', everything)
    const info = await client.option(nbd.NBD_OPT_INFO, data)
    const go = await client.option(nbd.NBD_OPT_GO, data)
    assert.deepEqual(told(go), told(info))
    assert.equal(disk.opened.length, 1)
    assert.equal(disk.closed, 0)
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 512 })
    assert.equal(reply?.error, 0)
  })

  test('of another name close the export that was open', async (t) => {
    const { disk, client } = await greeted(t)
    for (const name of ['a', 'b', 'a']) await client.option(nbd.NBD_OPT_INFO, infoData(name))
    assert.deepEqual(
      disk.opened.map(({ exportName }) => exportName),
      ['a', 'b', 'a'],
    )
    assert.equal(disk.closed, 2)
  })

  test('open the default export by the name that the plugin gives it', async (t) => {
    const { disk, client } = await greeted(t, described)
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    assert.equal(disk.opened[0]?.exportName, 'main')
  })

  for (const option of [nbd.NBD_OPT_INFO, nbd.NBD_OPT_GO])
    test(`are ERR_UNKNOWN with the message where the plugin refuses, and another name works: option ${option}`, async (t) => {
      const { client } = await greeted(t, { refuses: (name) => name !== 'good' })
      const [reply, ...others] = await client.option(option, infoData('bad'))
      assert.deepEqual(told([reply as OptionReply]), ['ERR_UNKNOWN there is no disk "bad"'])
      assert.deepEqual(others, [])
      assert.equal(await answer(client, nbd.NBD_OPT_GO, infoData('good')), 'ACK')
      const [read] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
      assert.equal(read?.error, 0)
    })

  const mistakes: [what: string, thrown: unknown, toClient: string][] = [
    ['what a layer says on purpose', new NbdError('EPERM', 'not today'), 'not today'],
    ['what is wrong with its configuration', new ConfigError('no such disk'), 'no such disk'],
    [
      'the words of a script, which give a code',
      Object.assign(new Error('full'), { code: 'ENOSPC' }),
      'full',
    ],
    [
      'of the system only the code',
      Object.assign(new Error('ENOENT: /srv/secret'), { code: 'ENOENT', syscall: 'open' }),
      'ENOENT',
    ],
    ['of a mistake only the name', new TypeError('cannot read /srv/secret'), 'TypeError'],
    [
      "of a mistake of Node's only the name",
      Object.assign(new RangeError('x'), { code: 'ERR_X' }),
      'RangeError',
    ],
    ['of what is no error nothing', '/srv/secret', 'Error'],
    ['of what has no text nothing', Object.create(null), 'Error'],
  ]
  for (const [what, thrown, toClient] of mistakes)
    test(`tell the client ${what}`, async (t) => {
      const { client } = await greeted(t, { plugin: { open: () => Promise.reject(thrown) } })
      const [reply] = await client.option(nbd.NBD_OPT_GO, infoData(''))
      assert.equal(reply?.data.toString(), toClient)
    })

  test('cut the message of a refusal at 4096 bytes, between characters', async (t) => {
    const open = () => Promise.reject(new NbdError('EIO', '€'.repeat(3000)))
    const { client } = await greeted(t, { plugin: { open } })
    const [reply] = await client.option(nbd.NBD_OPT_GO, infoData(''))
    assert.equal(reply?.data.length, 4095)
  })
})

describe('NBD_OPT_STRUCTURED_REPLY and NBD_OPT_EXTENDED_HEADERS', () => {
  test('are acknowledged, and change what the client reads', async (t) => {
    for (const [extended, magic] of [
      [false, nbd.NBD_STRUCTURED_REPLY_MAGIC],
      [true, nbd.NBD_EXTENDED_REPLY_MAGIC],
    ] as const) {
      const { client } = await greeted(t)
      assert.equal(await answer(client, nbd.NBD_OPT_STRUCTURED_REPLY), 'ACK')
      if (extended) assert.equal(await answer(client, nbd.NBD_OPT_EXTENDED_HEADERS), 'ACK')
      client.extended = extended
      assert.equal(await answer(client, nbd.NBD_OPT_GO, infoData('')), 'ACK')
      client.sendRequest({ type: nbd.NBD_CMD_READ, length: 4 })
      assert.equal((await client.take(4)).readUInt32BE(), magic)
    }
  })

  test('may be asked for twice: the second time succeeds or is ERR_INVALID, and changes nothing', async (t) => {
    const { client } = await greeted(t)
    await client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
    assert.match(await answer(client, nbd.NBD_OPT_STRUCTURED_REPLY), /^(ACK|ERR_INVALID)$/)
    await client.option(nbd.NBD_OPT_EXTENDED_HEADERS)
    assert.match(await answer(client, nbd.NBD_OPT_EXTENDED_HEADERS), /^(ACK|ERR_INVALID)$/)
    client.extended = true
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
    assert.equal(reply?.type, nbd.NBD_REPLY_TYPE_OFFSET_DATA)
  })

  test('extended headers need no structured replies before them, and refuse them after', async (t) => {
    const { client } = await greeted(t)
    assert.equal(await answer(client, nbd.NBD_OPT_EXTENDED_HEADERS), 'ACK')
    assert.equal(await answer(client, nbd.NBD_OPT_STRUCTURED_REPLY), 'ERR_EXT_HEADER_REQD')
    client.extended = true
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
    assert.equal(reply?.type, nbd.NBD_REPLY_TYPE_OFFSET_DATA)
  })

  for (const option of [nbd.NBD_OPT_STRUCTURED_REPLY, nbd.NBD_OPT_EXTENDED_HEADERS])
    test(`are ERR_INVALID with data, and then not in force: option ${option}`, async (t) => {
      const { client } = await greeted(t)
      assert.equal(await answer(client, option, Buffer.alloc(1)), 'ERR_INVALID')
      await client.option(nbd.NBD_OPT_GO, infoData(''))
      const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
      assert.equal(reply?.type, undefined)
    })

  test('are unknown to a server that was told so, and metadata contexts cannot be had', async (t) => {
    const { client } = await greeted(t, {}, { structuredReplies: false })
    assert.equal(await answer(client, nbd.NBD_OPT_STRUCTURED_REPLY), 'ERR_UNSUP')
    assert.equal(await answer(client, nbd.NBD_OPT_EXTENDED_HEADERS), 'ERR_UNSUP')
    const data = metaContextData('', ['base:allocation'])
    assert.equal(await answer(client, nbd.NBD_OPT_SET_META_CONTEXT, data), 'ERR_INVALID')
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    const [reply] = await client.request({ type: nbd.NBD_CMD_READ, length: 4 })
    assert.equal(reply?.type, undefined)
  })
})

describe('metadata contexts', () => {
  const named: DiskOptions = {
    device: {
      extents: (_offset, length, context) => [{ length, type: context === 'x-disk:dirty' ? 9 : 4 }],
      contexts: ['x-disk:dirty', 'x-disk:parity'],
    },
  }
  const list = nbd.NBD_OPT_LIST_META_CONTEXT
  const set = nbd.NBD_OPT_SET_META_CONTEXT

  async function structured(t: Parameters<typeof serve>[0], options: DiskOptions = named, server = {}) {
    const all = await greeted(t, options, server)
    await all.client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
    return all
  }

  /** Sends a block status request. Returns the context ids of the chunks, or the error. */
  async function statusIds(client: RawClient): Promise<number[] | number> {
    const parts = await client.request({ type: nbd.NBD_CMD_BLOCK_STATUS, length: 512 })
    return parts[0]?.error ? parts[0].error : parts.map(({ data }) => data.readUInt32BE())
  }

  test('are all listed where there is no query, with ids of 0', async (t) => {
    const { client } = await structured(t)
    assert.deepEqual(contextsOf(await client.option(list, metaContextData('', []))), [
      [0, 'base:allocation'],
      [0, 'x-disk:dirty'],
      [0, 'x-disk:parity'],
    ])
  })

  test('are listed by namespace', async (t) => {
    const { client } = await structured(t)
    const replies = await client.option(list, metaContextData('', ['base:', 'qemu:']))
    assert.deepEqual(contextsOf(replies), [[0, 'base:allocation']])
  })

  test('that nobody has are passed over, and the answer is one ACK', async (t) => {
    const { client } = await structured(t)
    for (const option of [list, set]) {
      const data = metaContextData(
        '',
        ['qemu:dirty-bitmap:a', 'base:dirty', 'x-disk:'].slice(0, option === set ? 3 : 2),
      )
      assert.deepEqual(told(await client.option(option, data)), ['ACK'])
    }
  })

  test('have ids of their own where they are set, and block status has a chunk for each', async (t) => {
    const { client } = await structured(t)
    const replies = contextsOf(
      await client.option(set, metaContextData('', ['x-disk:parity', 'base:allocation'])),
    )
    assert.deepEqual(replies.map(([, name]) => name).sort(), ['base:allocation', 'x-disk:parity'])
    const ids = replies.map(([id]) => id as number)
    assert.equal(new Set(ids).size, 2)
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    assert.deepEqual(await statusIds(client), ids)
  })

  test('set with a wildcard, or with no query, are none', async (t) => {
    for (const queries of [[], ['base:'], ['x-disk:']]) {
      const { client } = await structured(t)
      assert.deepEqual(told(await client.option(set, metaContextData('', queries))), ['ACK'])
      await client.option(nbd.NBD_OPT_GO, infoData(''))
      assert.equal(await statusIds(client), nbd.NBD_EINVAL)
    }
  })

  test('hold where the same export is opened by the same name', async (t) => {
    const { client } = await structured(t)
    await client.option(set, metaContextData('disk', ['base:allocation']))
    await client.option(nbd.NBD_OPT_INFO, infoData('other'))
    await client.option(nbd.NBD_OPT_GO, infoData('disk'))
    assert.deepEqual(await statusIds(client), [1])
  })

  test('do not hold for an export of another name', async (t) => {
    for (const option of [nbd.NBD_OPT_GO, nbd.NBD_OPT_EXPORT_NAME]) {
      const { client } = await structured(t)
      await client.option(set, metaContextData('disk', ['base:allocation']))
      if (option === nbd.NBD_OPT_GO) await client.option(option, infoData('other'))
      else {
        client.sendOption(option, Buffer.from('other'))
        await client.take(10)
      }
      assert.equal(await statusIds(client), nbd.NBD_EINVAL)
    }
  })

  test('are replaced by the last that were set', async (t) => {
    const { client } = await structured(t)
    await client.option(set, metaContextData('', ['base:allocation', 'x-disk:dirty']))
    const [context] = contextsOf(await client.option(set, metaContextData('', ['x-disk:parity'])))
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    assert.deepEqual(await statusIds(client), [context?.[0]])
  })

  const failing: [means: string, data: Buffer, error: string][] = [
    ['a query without a colon', metaContextData('', ['base:allocation', 'allocation']), 'ERR_INVALID'],
    ['a query of no bytes', metaContextData('', ['']), 'ERR_INVALID'],
    [
      'a query that is not UTF-8',
      Buffer.from('00000000' + '00000001' + '00000003' + '613aff', 'hex'),
      'ERR_INVALID',
    ],
    ['data that ends in the middle', metaContextData('', ['base:allocation']).subarray(0, 20), 'ERR_INVALID'],
    ['too many queries', metaContextData('', Array(200).fill('a:b')), 'ERR_TOO_BIG'],
  ]
  for (const [means, data, error] of failing)
    test(`are cleared by a set that fails, with ${means}`, async (t) => {
      const { client } = await structured(t)
      await client.option(set, metaContextData('', ['base:allocation']))
      assert.equal(await answer(client, set, data), error)
      await client.option(nbd.NBD_OPT_GO, infoData(''))
      assert.equal(await statusIds(client), nbd.NBD_EINVAL)
    })

  test('are not cleared by a list, whether it fails or not', async (t) => {
    const { client } = await structured(t)
    await client.option(set, metaContextData('', ['base:allocation']))
    await client.option(list, metaContextData('', ['x-disk:']))
    assert.equal(await answer(client, list, metaContextData('', ['none'])), 'ERR_INVALID')
    await client.option(nbd.NBD_OPT_GO, infoData(''))
    assert.deepEqual(await statusIds(client), [1])
  })

  test('are ERR_INVALID before structured replies', async (t) => {
    const { client } = await greeted(t, named)
    for (const option of [list, set])
      assert.equal(await answer(client, option, metaContextData('', ['base:allocation'])), 'ERR_INVALID')
    await assertInStep(client)
  })

  test('are ERR_UNKNOWN with the message where there is no such export', async (t) => {
    const { client } = await structured(t, { refuses: () => true })
    for (const option of [list, set])
      assert.deepEqual(told(await client.option(option, metaContextData('a', ['base:allocation']))), [
        'ERR_UNKNOWN there is no disk "a"',
      ])
  })

  test('are unknown to a server that was told so', async (t) => {
    const { client } = await structured(t, named, { metaContexts: false })
    for (const option of [list, set])
      assert.equal(await answer(client, option, metaContextData('', ['base:allocation'])), 'ERR_UNSUP')
    await assertInStep(client)
  })
})

describe('an option that the server does not have', () => {
  for (const [means, option, length] of [
    ['STARTTLS without TLS', nbd.NBD_OPT_STARTTLS, 0],
    ['the withdrawn PEEK_EXPORT', 4, 0],
    ['one of the future', 12, 0],
    ['one with data', 0xffffffff, 1000],
    ['0', 0, 0],
  ] as const)
    test(`is ERR_UNSUP, and the stream stays in step: ${means}`, async (t) => {
      const { client } = await greeted(t)
      const [reply] = await client.option(option, Buffer.alloc(length, 'I'))
      assert.equal(reply?.option, option)
      assert.equal(types[reply?.type ?? 0], 'ERR_UNSUP')
      await assertInStep(client)
    })
})

test('a whole handshake is answered the same however its bytes come', async (t) => {
  const options: [option: number, data: Buffer][] = [
    [nbd.NBD_OPT_STRUCTURED_REPLY, Buffer.alloc(0)],
    [nbd.NBD_OPT_LIST, Buffer.alloc(0)],
    [99, Buffer.from('data of an option that nobody knows')],
    [nbd.NBD_OPT_LIST_META_CONTEXT, metaContextData('a', [])],
    [nbd.NBD_OPT_SET_META_CONTEXT, metaContextData('a', ['base:allocation'])],
    [nbd.NBD_OPT_INFO, infoData('b', [1, 2, 3])],
    [nbd.NBD_OPT_GO, infoData('a', [1])],
  ]
  const sent: Uint8Array[] = [Buffer.from('00000003', 'hex')]
  for (const [option, data] of options) {
    const header = Buffer.from(`49484156454f5054${'00'.repeat(8)}`, 'hex')
    header.writeUInt32BE(option, 8)
    header.writeUInt32BE(data.length, 12)
    sent.push(header, data)
  }
  const disconnect = Buffer.alloc(28)
  disconnect.writeUInt32BE(nbd.NBD_REQUEST_MAGIC, 0)
  disconnect.writeUInt16BE(nbd.NBD_CMD_DISC, 6)
  const { connect, errors } = serve(t, new Disk({ device: { description: 'a disk' } }))
  const run = (pieces: readonly Uint8Array[]) => {
    const client = connect()
    for (const piece of pieces) client.send(piece)
    return client.rest()
  }
  const bytes = Buffer.concat([...sent, disconnect])
  const whole = await run([bytes])
  assert.ok(whole.length > 400)
  for (const pieces of everySplit(bytes))
    assert.ok((await run(pieces)).equals(whole), `cut after ${pieces[0]?.length} bytes`)
  assert.deepEqual(errors, [])
})

describe('a client that does not read', () => {
  const many = Array.from({ length: 10_000 }, (_, index) => ({ name: `${index}`.padStart(1000, '0') }))

  test('holds a part of its list: others are listed, and it is told at the end', async (t) => {
    const { connectSocket } = serve(t, new Disk({ plugin: { exports: () => many } }))
    const slow = await Promise.all(Array.from({ length: 5 }, connectSocket))
    for (const client of slow) {
      await client.greet()
      client.stream.pause()
      client.sendOption(nbd.NBD_OPT_LIST)
    }
    const quick = await connectSocket()
    await quick.greet()
    assert.equal((await quick.option(nbd.NBD_OPT_LIST)).length, many.length + 1)
    // Five lists exceed the limit.
    const ends: string[] = []
    for (const client of slow) {
      client.stream.resume()
      let last = await client.optionReply()
      for (; last.type === nbd.NBD_REP_SERVER; last = await client.optionReply());
      ends.push(types[last.type] ?? '')
      await assertInStep(client)
    }
    assert.deepEqual([...new Set(ends)].sort(), ['ACK', 'ERR_PLATFORM'])
  })

  test('is read no further, and its options are answered when it reads', async (t) => {
    const { connectSocket } = serve(t, new Disk({}))
    const client = await connectSocket()
    await client.greet()
    client.stream.pause()
    const count = 500
    for (let sent = 0; sent < count; sent++)
      client.sendOption(nbd.NBD_OPT_INFO, infoData('x'.repeat(4000), [nbd.NBD_INFO_NAME]))
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    assert.ok(client.stream.writableLength > 0, 'the server has taken all of it')
    client.stream.resume()
    for (let sent = 0; sent < count; sent++)
      for (let type = 0; type !== nbd.NBD_REP_ACK; ) ({ type } = await client.optionReply())
  })
})
