import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { DeviceInit } from '../api/device.js'
import { complete } from '../chain/complete.js'
import { Running } from '../chain/running.js'
import * as nbd from '../protocol/constants.js'
import { emptyRequest, type Request } from '../protocol/request.js'
import { maximumPayload, type Terms, transmissionFlags } from './agreement.js'
import { commandName, payloadBytes, refusal } from './validate.js'

const MiB = 2 ** 20
const size = 200 * MiB
const everything: DeviceInit = {
  size,
  read: (_offset, length) => new Uint8Array(length),
  ...{ write() {}, flush() {}, trim() {}, zero() {}, cache() {} },
  can: { fastZero: true },
}

function terms(init: Partial<DeviceInit> = {}, more: Partial<Terms> = {}): Terms {
  const device = complete('disk', 'plugin', { ...everything, ...init }, new Running())
  return { device, readOnly: !device.can.write, mode: 'structured', contextCount: 1, ...more }
}

function request(type: number, more: Partial<Request> = {}): Request {
  return { ...emptyRequest(), type, length: type === nbd.NBD_CMD_FLUSH ? 0 : 512, ...more }
}

/** The error that a request gets, or 0. */
function error(of: Request, on: Terms = terms()): number {
  return refusal(of, on)?.error ?? 0
}

const commands = [
  ...[nbd.NBD_CMD_READ, nbd.NBD_CMD_WRITE, nbd.NBD_CMD_FLUSH, nbd.NBD_CMD_TRIM],
  ...[nbd.NBD_CMD_CACHE, nbd.NBD_CMD_WRITE_ZEROES, nbd.NBD_CMD_BLOCK_STATUS],
]
const ranged = commands.filter((type) => type !== nbd.NBD_CMD_FLUSH)
const writing = [nbd.NBD_CMD_WRITE, nbd.NBD_CMD_TRIM, nbd.NBD_CMD_WRITE_ZEROES]

describe('a request', () => {
  for (const type of commands)
    test(`is taken where the export supports it: ${commandName(type)}`, () =>
      assert.equal(error(request(type)), 0))

  for (const type of ranged)
    test(`may reach the last byte, and no further: ${commandName(type)}`, () => {
      assert.equal(error(request(type, { offset: size - 512 })), 0)
      const beyond = writing.includes(type) && type !== nbd.NBD_CMD_TRIM ? nbd.NBD_ENOSPC : nbd.NBD_EINVAL
      for (const offset of [size - 511, size, 2 ** 53 - 1, Number.POSITIVE_INFINITY])
        assert.equal(error(request(type, { offset })), beyond, `at ${offset}`)
      assert.equal(error(request(type, { length: Number.POSITIVE_INFINITY })), beyond)
    })

  for (const type of ranged)
    test(`of no bytes is EINVAL, wherever it is: ${commandName(type)}`, () => {
      for (const offset of [0, size, 2 * size])
        assert.equal(error(request(type, { length: 0, offset })), nbd.NBD_EINVAL)
    })

  test('to flush has no range', () => {
    assert.equal(error(request(nbd.NBD_CMD_FLUSH, { length: 1 })), nbd.NBD_EINVAL)
    assert.equal(error(request(nbd.NBD_CMD_FLUSH, { offset: 1 })), nbd.NBD_EINVAL)
  })

  for (const type of [8, 9, 255, 65535])
    test(`of an unknown type is EINVAL: ${type}`, () => {
      assert.equal(error(request(type)), nbd.NBD_EINVAL)
      assert.equal(commandName(type), `unknown command ${type}`)
    })
})

describe('a flag', () => {
  const F = { fua: 1, noHole: 2, df: 4, one: 8, fast: 16, payload: 32 }
  const taken: Record<number, number> = {
    [nbd.NBD_CMD_READ]: F.fua | F.df,
    [nbd.NBD_CMD_WRITE]: F.fua,
    [nbd.NBD_CMD_FLUSH]: F.fua,
    [nbd.NBD_CMD_TRIM]: F.fua,
    [nbd.NBD_CMD_CACHE]: F.fua,
    [nbd.NBD_CMD_WRITE_ZEROES]: F.fua | F.noHole | F.fast,
    [nbd.NBD_CMD_BLOCK_STATUS]: F.fua | F.one,
  }
  for (const type of commands)
    test(`is taken or EINVAL, bit by bit: ${commandName(type)}`, () => {
      for (let bit = 0; bit < 16; bit++) {
        const flags = 1 << bit
        const expected = (taken[type] ?? 0) & flags ? 0 : nbd.NBD_EINVAL
        assert.equal(error(request(type, { flags })), expected, `bit ${bit}`)
      }
    })

  for (const type of commands)
    test(`that tells of a payload is for two commands, after extended headers: ${commandName(type)}`, () => {
      const may = type === nbd.NBD_CMD_WRITE || type === nbd.NBD_CMD_BLOCK_STATUS
      const of = request(type, { flags: F.payload })
      assert.equal(error(of, terms({}, { mode: 'extended' })), may ? 0 : nbd.NBD_EINVAL)
      assert.equal(error(of, terms({}, { mode: 'simple' })), nbd.NBD_EINVAL)
    })

  test('DF needs structured replies', () =>
    assert.equal(
      error(request(nbd.NBD_CMD_READ, { flags: F.df }), terms({}, { mode: 'simple' })),
      nbd.NBD_EINVAL,
    ))

  test('FUA is EINVAL on every command where it was not offered', () => {
    for (const type of commands)
      assert.equal(error(request(type, { flags: F.fua }), terms({ can: { fua: 'none' } })), nbd.NBD_EINVAL)
  })

  test('FAST_ZERO is EINVAL where it was not offered', () => {
    const of = request(nbd.NBD_CMD_WRITE_ZEROES, { flags: F.fast })
    assert.equal(error(of, terms({ can: { fastZero: false } })), nbd.NBD_EINVAL)
  })
})

describe('an export', () => {
  test('that is read-only answers writes with EPERM, and the rest as ever', () => {
    for (const on of [terms({}, { readOnly: true }), terms({ can: { write: false } })])
      for (const type of commands) {
        const expected = writing.includes(type) ? nbd.NBD_EPERM : 0
        assert.equal(error(request(type), on), expected, commandName(type))
      }
  })

  test('that lacks a command answers it with EINVAL', () => {
    const lacks: [type: number, can: NonNullable<DeviceInit['can']>][] = [
      [nbd.NBD_CMD_FLUSH, { flush: false, fua: 'none' }],
      [nbd.NBD_CMD_TRIM, { trim: false }],
      [nbd.NBD_CMD_CACHE, { cache: 'none' }],
      [nbd.NBD_CMD_WRITE_ZEROES, { zero: 'none' }],
    ]
    for (const [type, can] of lacks) assert.equal(error(request(type), terms({ can })), nbd.NBD_EINVAL)
  })

  test('without metadata contexts answers block status with EINVAL', () =>
    assert.equal(error(request(nbd.NBD_CMD_BLOCK_STATUS), terms({}, { contextCount: 0 })), nbd.NBD_EINVAL))

  test('with a minimum block size answers what is not aligned with EINVAL', () => {
    const on = terms({ blockSize: { minimum: 4096 } })
    for (const type of ranged) {
      assert.equal(error(request(type, { offset: 4096, length: 8192 }), on), 0)
      assert.equal(error(request(type, { offset: 512, length: 4096 }), on), nbd.NBD_EINVAL)
      assert.equal(error(request(type, { offset: 4096, length: 4097 }), on), nbd.NBD_EINVAL)
    }
  })

  test('with an advisory block size leaves the check to the device, but for the limit of the server', () => {
    const on = terms({ blockSize: { minimum: 4096, maximum: 65536, advisory: true } })
    for (const type of ranged) {
      assert.equal(error(request(type, { offset: 1, length: 1 }), on), 0)
      assert.equal(error(request(type, { offset: 0, length: 64 * MiB }), on), 0)
    }
    assert.equal(error(request(nbd.NBD_CMD_WRITE, { length: 64 * MiB + 1 }), on), nbd.NBD_EINVAL)
  })

  test('takes 64 MiB in one READ or WRITE, and more in what has no payload', () => {
    for (const type of ranged) assert.equal(error(request(type, { length: 64 * MiB })), 0)
    for (const mode of ['simple', 'structured', 'extended'] as const) {
      const on = terms({}, { mode })
      const read = mode === 'simple' ? nbd.NBD_EINVAL : nbd.NBD_EOVERFLOW
      for (const type of ranged) {
        const expected = { [nbd.NBD_CMD_READ]: read, [nbd.NBD_CMD_WRITE]: nbd.NBD_EINVAL }[type] ?? 0
        assert.equal(
          error(request(type, { length: 64 * MiB + 1 }), on),
          expected,
          `${mode} ${commandName(type)}`,
        )
      }
    }
  })

  test('may take less, where the device says so', () => {
    const on = terms({ blockSize: { maximum: MiB } })
    assert.equal(maximumPayload(on.device), MiB)
    assert.equal(maximumPayload(terms().device), 64 * MiB)
    assert.equal(error(request(nbd.NBD_CMD_WRITE, { length: MiB + 1 }), on), nbd.NBD_EINVAL)
    assert.equal(error(request(nbd.NBD_CMD_TRIM, { length: MiB + 1 }), on), 0)
  })
})

describe('transmission flags', () => {
  const flags = (init: Partial<DeviceInit>, more: Partial<Terms> = {}) => transmissionFlags(terms(init, more))
  const all =
    nbd.NBD_FLAG_HAS_FLAGS |
    nbd.NBD_FLAG_SEND_FLUSH |
    nbd.NBD_FLAG_SEND_FUA |
    nbd.NBD_FLAG_SEND_TRIM |
    nbd.NBD_FLAG_SEND_WRITE_ZEROES |
    nbd.NBD_FLAG_SEND_DF |
    nbd.NBD_FLAG_SEND_CACHE |
    nbd.NBD_FLAG_SEND_FAST_ZERO

  test('tell of all that the export supports', () => assert.equal(flags({}), all))

  const changes: [means: string, init: Partial<DeviceInit>, more: Partial<Terms>, flags: number][] = [
    ['no DF without structured replies', {}, { mode: 'simple' }, all & ~nbd.NBD_FLAG_SEND_DF],
    ['no FUA', { can: { fua: 'none', fastZero: true } }, {}, all & ~nbd.NBD_FLAG_SEND_FUA],
    ['no fast zero', { can: { fastZero: false } }, {}, all & ~nbd.NBD_FLAG_SEND_FAST_ZERO],
    [
      'no fast zero without zero',
      { can: { zero: 'none', fastZero: true } },
      {},
      all & ~(nbd.NBD_FLAG_SEND_WRITE_ZEROES | nbd.NBD_FLAG_SEND_FAST_ZERO),
    ],
    ['a spinning disk', { rotational: true }, {}, all | nbd.NBD_FLAG_ROTATIONAL],
    [
      'several connections',
      { can: { multiConn: true, fastZero: true } },
      {},
      all | nbd.NBD_FLAG_CAN_MULTI_CONN,
    ],
    ['block status with a payload', {}, { mode: 'extended' }, all | nbd.NBD_FLAG_BLOCK_STATUS_PAYLOAD],
    ['none of that without contexts', {}, { mode: 'extended', contextCount: 0 }, all],
    [
      'a read-only export, which takes no command that writes',
      {},
      { readOnly: true },
      nbd.NBD_FLAG_HAS_FLAGS |
        nbd.NBD_FLAG_READ_ONLY |
        nbd.NBD_FLAG_SEND_FLUSH |
        nbd.NBD_FLAG_SEND_DF |
        nbd.NBD_FLAG_SEND_CACHE,
    ],
  ]
  for (const [means, init, more, expected] of changes)
    test(`tell of ${means}`, () => assert.equal(flags(init, more), expected))
})

describe('the payload of a request', () => {
  const flagged = { flags: nbd.NBD_CMD_FLAG_PAYLOAD_LEN }

  test('follows a WRITE, with or without the flag that tells of it', () => {
    for (const mode of ['simple', 'structured', 'extended'] as const)
      for (const more of [{}, flagged])
        assert.equal(payloadBytes(request(nbd.NBD_CMD_WRITE, more), mode), 512)
  })

  test('follows any command with the flag, and only after extended headers', () => {
    for (const type of [...commands, 77].filter((one) => one !== nbd.NBD_CMD_WRITE)) {
      const of = request(type, { ...flagged, length: 12 })
      assert.equal(payloadBytes(of, 'extended'), 12)
      assert.equal(payloadBytes(of, 'structured'), 0)
      assert.equal(payloadBytes(request(type, { length: 12 }), 'extended'), 0)
    }
  })
})
