/** Devices that break their promise: the request in hand fails with an error, and everything else goes on. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Data, DeviceInit, Extent } from '../../src/api/device.js'
import { NbdError } from '../../src/api/errors.js'
import * as nbd from '../../src/protocol/constants.js'
import { descriptorsMax, exportsMax } from '../../src/protocol/limits.js'
import { infoData, metaContextData, type RawClient } from '../../src/testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../../src/testing/served-disk.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_TRIM: TRIM, NBD_CMD_FLUSH: FLUSH } = nbd
const { NBD_CMD_CACHE: CACHE, NBD_CMD_WRITE_ZEROES: ZERO, NBD_CMD_BLOCK_STATUS: STATUS } = nbd
const { NBD_EIO: EIO, NBD_EINVAL: EINVAL, NBD_ENOSPC: ENOSPC } = nbd

async function connected(t: TestContext, device: Partial<DeviceInit>, structured = true) {
  const disk = new Disk({ device })
  const served = serve(t, disk)
  const client = served.connect()
  await client.go({ structured, contexts: structured ? ['base:allocation'] : [] })
  return { disk, client, ...served }
}

/** The client still gets answers. */
async function assertLives(client: RawClient): Promise<void> {
  const [part] = await client.request({ type: FLUSH, cookie: 1 })
  assert.deepEqual([part?.cookie, part?.error], [1, 0])
}

describe('a read that gives', () => {
  const wrong: [means: string, data: (length: number) => unknown][] = [
    ['too little', (length) => new Uint8Array(length - 1)],
    ['nothing', () => new Uint8Array(0)],
    ['too much', (length) => new Uint8Array(length + 1)],
    ['too little in pieces', (length) => [new Uint8Array(length - 2), new Uint8Array(1)]],
    ['no pieces', () => []],
    ['undefined', () => undefined],
    ['null', () => null],
    ['a number', (length) => length],
    ['a string', (length) => 'a'.repeat(length)],
    ['an array of strings', (length) => ['a'.repeat(length)]],
    ['an array of numbers', (length) => Array(length).fill(7)],
    ['words in place of bytes', (length) => [new Uint16Array(length)]],
    ['an ArrayBuffer', (length) => new ArrayBuffer(length)],
  ]
  for (const [means, data] of wrong)
    test(`${means} is EIO, at once or later, and nothing of it is sent`, async (t) => {
      for (const later of [false, true])
        for (const structured of [false, true]) {
          const read = (_offset: number, length: number) => {
            const given = data(length) as Data
            return later ? turn().then(() => given) : given
          }
          const { client, errors } = await connected(t, { read }, structured)
          const parts = await client.request({ type: READ, cookie: 7, offset: 100, length: 512 })
          assert.deepEqual(
            parts.map(({ cookie, error }) => [cookie, error]),
            [[7, EIO]],
          )
          assert.match(errors[0] ?? '', /read 512 at 100/)
          await assertLives(client)
        }
    })
})

describe('what a device throws', () => {
  const thrown: [means: string, what: unknown, error: number, message: string][] = [
    ['a mistake', new TypeError('torn'), EIO, 'TypeError'],
    ['an error with a code', new NbdError('ENOSPC', 'full'), ENOSPC, 'full'],
    [
      'an error of the system',
      Object.assign(new Error('no such file'), { code: 'ENOENT' }),
      EIO,
      'no such file',
    ],
    ['an error of quota', Object.assign(new Error('quota'), { code: 'EDQUOT' }), ENOSPC, 'quota'],
    ['a string', 'torn', EIO, 'Error'],
    ['undefined', undefined, EIO, 'Error'],
    ['null', null, EIO, 'Error'],
    ['a number', 28, EIO, 'Error'],
    ['an object with a code', { code: 'EINVAL' }, EINVAL, '[object Object]'],
    ['a code that is none', Object.assign(new Error('odd'), { code: 'valueOf' }), EIO, 'Error'],
  ]
  const operations: [name: string, type: number, (fail: () => never) => Partial<DeviceInit>][] = [
    ['read', READ, (read) => ({ read })],
    ['write', WRITE, (write) => ({ write })],
    ['flush', FLUSH, (flush) => ({ flush })],
    ['trim', TRIM, (trim) => ({ trim })],
    ['zero', ZERO, (zero) => ({ zero })],
    ['cache', CACHE, (cache) => ({ cache })],
    ['extents', STATUS, (extents) => ({ extents })],
  ]
  for (const [means, what, error, message] of thrown)
    test(`fails that request alone, and what was said on purpose is told: ${means}`, async (t) => {
      for (const later of [false, true])
        for (const [name, type, device] of operations) {
          const fail = (
            later
              ? () => Promise.reject(what)
              : () => {
                  throw what
                }
          ) as () => never
          const { client } = await connected(t, device(fail))
          const length = type === FLUSH ? 0 : 512
          const payload = type === WRITE ? { payload: Buffer.alloc(512) } : {}
          const [part] = await client.request({ type, cookie: 5, length, ...payload })
          assert.deepEqual([part?.cookie, part?.error, part?.message], [5, error, message], name)
          const other = type === READ ? TRIM : READ
          assert.equal((await client.request({ type: other, length: 512 })).at(-1)?.error, 0)
        }
    })

  test('may have a message of any length and content', async (t) => {
    for (const message of ['', '€'.repeat(5000), 'two\nlines', '\ud800', 'a\0b']) {
      const read = () => {
        throw new Error(message)
      }
      const { client } = await connected(t, { read })
      const [part] = await client.request({ type: READ, length: 512 })
      assert.equal(part?.error, EIO)
      assert.ok((part?.data.length ?? 0) <= 6 + 4096)
      assert.equal(part?.message.includes('\0'), false, 'a string of the spec holds no NUL')
      new TextDecoder('utf-8', { fatal: true }).decode(part?.data.subarray(6))
      await assertLives(client)
    }
  })

  test('is no concern of other clients, even where it is an assertion', async (t) => {
    const read = () => assert.fail('this cannot be')
    const { client, connect } = await connected(t, { read })
    const other = connect()
    await other.go()
    client.sendRequest({ type: READ, length: 512 })
    await turn()
    await assertLives(other)
  })
})

describe('a device that does not answer', () => {
  test('one request answers the others', async (t) => {
    const waiting: (() => void)[] = []
    const read = () => new Promise<Uint8Array>((resolve) => waiting.push(() => resolve(new Uint8Array(0))))
    t.after(() => {
      for (const answer of waiting) answer()
    })
    const { client } = await connected(t, { read })
    client.sendRequest({ type: READ, cookie: 9, length: 512 })
    for (let count = 0; count < 20; count++) await assertLives(client)
    assert.equal(waiting.length, 1)
  })
})

describe('extents that', () => {
  const wrong: [means: string, extents: unknown][] = [
    ['are none', []],
    ['are a generator of none', (function* () {})()],
    ['are no list', undefined],
    ['are a number', 7],
    ['have a run of no bytes', [{ length: 0, type: 0 }]],
    ['have a run of less', [{ length: -5, type: 0 }]],
    ['have a run of half a byte', [{ length: 0.5, type: 0 }]],
    ['have a run that is none', [null]],
    ['have a run without a type', [{ length: 5 }]],
    [
      'throw in the middle',
      (function* () {
        yield { length: 10, type: 0 }
        throw new Error('torn')
      })(),
    ],
    [
      'are given by an asynchronous generator',
      (async function* () {
        yield { length: 512, type: 0 }
      })(),
    ],
  ]
  for (const [means, given] of wrong)
    test(`${means} are EIO`, async (t) => {
      const { client } = await connected(t, { extents: () => given as Iterable<Extent> })
      const parts = await client.request({ type: STATUS, length: 4096 })
      assert.deepEqual(
        parts.map(({ error }) => error),
        [EIO],
      )
      await assertLives(client)
    })

  const cut: [means: string, extents: () => Iterable<Extent>, runs: number[]][] = [
    ['go beyond the end of the disk', () => [{ length: 2 ** 50, type: 3 }], [65536, 3]],
    ['end early', () => [{ length: 5, type: 0 }], [5, 0]],
    [
      'say more after the end',
      () => [
        { length: 65536, type: 0 },
        { length: 1, type: 3 },
      ],
      [65536, 0],
    ],
    [
      'never end',
      function* () {
        for (;;) yield { length: 1, type: 3 }
      },
      [4096, 3],
    ],
  ]
  for (const [means, extents, runs] of cut)
    test(`${means} are cut to what is there`, async (t) => {
      const { client } = await connected(t, { extents })
      const [part] = await client.request({ type: STATUS, length: 4096 })
      const numbers: number[] = []
      for (let at = 4; at < (part?.data.length ?? 0); at += 4) numbers.push(part?.data.readUInt32BE(at) ?? 0)
      assert.deepEqual(numbers, runs)
    })

  test('are crumbs are answered up to a limit', async (t) => {
    function* extents() {
      for (let type = 0; ; type ^= 1) yield { length: 1, type }
    }
    const { client } = await connected(t, { extents, size: 2 ** 30 })
    const [part] = await client.request({ type: STATUS, length: 2 ** 30 })
    assert.equal(part?.data.length, 4 + 8 * descriptorsMax)
  })

  test('have other bits than HOLE and ZERO show none of them in base:allocation', async (t) => {
    const { client } = await connected(t, { extents: () => [{ length: 512, type: 0xff }] })
    const [part] = await client.request({ type: STATUS, length: 512 })
    assert.equal(part?.data.readUInt32BE(8), 3)
  })
})

describe('a plugin that', () => {
  async function refused(t: TestContext, options: DiskOptions): Promise<[number, string]> {
    const client = serve(t, new Disk(options)).connect()
    await client.greet()
    const reply = (await client.option(nbd.NBD_OPT_GO, infoData(''))).at(-1)
    assert.notEqual(reply?.type, nbd.NBD_REP_ACK)
    assert.equal((await client.option(99)).at(-1)?.type, nbd.NBD_REP_ERR_UNSUP)
    return [reply?.type ?? 0, reply?.data.toString() ?? '']
  }
  const unknown = nbd.NBD_REP_ERR_UNKNOWN

  test('opens a device of an impossible size is told to the log, and the client that there is an error', async (t) => {
    assert.deepEqual(await refused(t, { device: { size: -1 } }), [unknown, 'Error'])
  })

  test('opens a device that claims too much is refused', async (t) => {
    const claims = { without: ['trim'], device: { can: { trim: true } } } as const
    assert.deepEqual(await refused(t, claims), [unknown, 'Error'])
  })

  for (const [means, given] of [
    ['nothing', undefined],
    ['null', null],
    ['a number', 5],
    ['an object without a size', {}],
    ['a device without read', { size: 512 }],
  ] as const)
    test(`opens ${means} in place of a device is refused`, async (t) => {
      assert.equal((await refused(t, { plugin: { open: () => given as never } }))[0], unknown)
    })

  test('throws a string when it opens is not quoted', async (t) => {
    const open = () => {
      throw 'not today'
    }
    assert.deepEqual(await refused(t, { plugin: { open } }), [unknown, 'Error'])
  })

  test('cannot name its default export refuses it, and serves others', async (t) => {
    const defaultExport = () => {
      throw new Error('which?')
    }
    const client = serve(t, new Disk({ plugin: { defaultExport } })).connect()
    await client.greet()
    assert.equal((await client.option(nbd.NBD_OPT_GO, infoData(''))).at(-1)?.type, unknown)
    assert.equal((await client.option(nbd.NBD_OPT_GO, infoData('a'))).at(-1)?.type, nbd.NBD_REP_ACK)
  })

  test('cannot name its default export when it is asked again still answers', async (t) => {
    let asked = 0
    const defaultExport = () => {
      if (++asked > 1) throw new Error('which?')
      return 'main'
    }
    const client = serve(t, new Disk({ plugin: { defaultExport } })).connect()
    await client.greet()
    const last = (await client.option(nbd.NBD_OPT_INFO, infoData('', [nbd.NBD_INFO_NAME]))).at(-1)
    assert.ok(last !== undefined)
    assert.equal((await client.option(99)).at(-1)?.type, nbd.NBD_REP_ERR_UNSUP)
  })

  for (const [means, given] of [
    ['a list of nothing', [undefined]],
    ['a list of names', ['a', 'b']],
    ['a list with a name that is none', [{ name: 5 }]],
  ] as const)
    test(`gives ${means} makes an error of that option, and no more`, async (t) => {
      const client = serve(t, new Disk({ plugin: { exports: () => given as never } })).connect()
      await client.greet()
      const last = (await client.option(nbd.NBD_OPT_LIST)).at(-1)
      assert.ok((last?.type ?? 0) >= 0x80000000)
      assert.equal((await client.option(nbd.NBD_OPT_GO, infoData(''))).at(-1)?.type, nbd.NBD_REP_ACK)
    })

  test('lists exports without end is stopped at the limit', async (t) => {
    function* exports() {
      for (let count = 0; ; count++) yield { name: `${count}` }
    }
    const client = serve(t, new Disk({ plugin: { exports } })).connect()
    await client.greet()
    assert.equal((await client.option(nbd.NBD_OPT_LIST)).length, exportsMax + 1)
  })

  test('refuses a client in accept closes it without a word, and serves the next', async (t) => {
    let clients = 0
    const accept = () => {
      if (++clients === 1) throw new Error('not this one')
    }
    const { connect } = serve(t, new Disk({ plugin: { accept } }))
    assert.equal((await connect().rest()).length, 0)
    assert.equal((await connect().go()).size, 65536)
  })

  test('throws when it closes is no trouble to anybody', async (t) => {
    const close = () => {
      throw new Error('jammed')
    }
    const { client, connect, errors } = await connected(t, { close })
    client.sendRequest({ type: nbd.NBD_CMD_DISC })
    assert.equal((await client.rest()).length, 0)
    assert.equal((await connect().go()).size, 65536)
    assert.equal(errors.length, 1)
    assert.match(errors[0] ?? '', /^close: jammed \(devices\.test\.js:\d+\)$/)
  })

  test('names a context that cannot be is refused', async (t) => {
    const client = serve(t, new Disk({ device: { extents: () => [], contexts: ['base:mine'] } })).connect()
    await client.greet()
    await client.option(nbd.NBD_OPT_STRUCTURED_REPLY)
    const last = (await client.option(nbd.NBD_OPT_SET_META_CONTEXT, metaContextData('', ['base:mine']))).at(
      -1,
    )
    assert.equal(last?.type, unknown)
  })
})

describe('memory that a device was given for a read', () => {
  test('may be returned in part, in several views, or not at all', async (t) => {
    const own = Buffer.alloc(65536, 'o')
    let turnOf = 0
    const read: DeviceInit['read'] = (_offset, length, alloc) => {
      const memory = alloc(length).fill(0x61)
      switch (turnOf++ % 4) {
        case 0:
          return memory
        case 1:
          return own.subarray(0, length)
        case 2:
          return [memory.subarray(0, 10), own.subarray(0, 10), memory.subarray(20)]
        default:
          return alloc(2 * length)
            .fill(0x62)
            .subarray(length)
      }
    }
    const { client } = await connected(t, { read }, false)
    for (const length of [512, 5000, 60_000])
      for (const expected of [
        'a'.repeat(length),
        'o'.repeat(length),
        `${'a'.repeat(10)}${'o'.repeat(10)}${'a'.repeat(length - 20)}`,
        'b'.repeat(length),
      ]) {
        const [part] = await client.request({ type: READ, length })
        assert.equal(part?.data.toString(), expected)
      }
  })

  test('is not given to another read before its bytes are sent', async (t) => {
    const read: DeviceInit['read'] = async (offset, length, alloc) => {
      const memory = alloc(length).fill(offset & 0xff)
      await turn()
      return memory
    }
    const { connectSocket } = await connected(t, { read }, false)
    const client = await connectSocket()
    await client.go()
    for (let round = 0; round < 20; round++) {
      for (let cookie = 0; cookie < 30; cookie++)
        client.sendRequest({ type: READ, cookie, offset: cookie + 1, length: 20_000 + 1000 * cookie })
      for (let count = 0; count < 30; count++) {
        const { cookie, data } = await client.reply()
        assert.ok(data.every((byte) => byte === cookie + 1))
      }
    }
  })
})
