/** Requests that run on a device, without a socket: the calls of the device, and the reply to each result. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { Log } from '../api/log.js'
import { silentLog } from '../api/log.js'
import { complete } from '../chain/complete.js'
import { Running } from '../chain/running.js'
import * as nbd from '../protocol/constants.js'
import { emptyRequest, type Request } from '../protocol/request.js'
import { pair } from '../testing/pair.js'
import { BufferPool } from './buffer-pool.js'
import { Commands, readBudget } from './commands.js'
import { Gate } from './concurrency.js'
import { MemoryBudget, MemoryShare } from './memory-budget.js'
import { ReplyQueue } from './reply-queue.js'
import { inFlightBytesMax, largeBytesMin } from './tuning.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_WRITE_ZEROES: ZERO } = nbd

function requestOf(type: number, more: Partial<Request> = {}): Request {
  return { ...emptyRequest(), type, cookieLow: 7, length: 512, ...more }
}

/** Commands on a device of 64 KiB, with the errors of their simple replies and all that they report. */
function commandsOn(init: Partial<DeviceInit>) {
  const [ours, theirs] = pair()
  const pool = new BufferPool()
  const errors: number[] = []
  theirs.on('data', (chunk: Buffer) => errors.push(chunk.readUInt32BE(4)))
  const replies = new ReplyQueue({ stream: ours, copies: false }, pool, 'simple', () => {})
  const logged: string[] = []
  const log: Log = { ...silentLog, error: (message) => logged.push(message) }
  const base: DeviceInit = { size: 65536, read: (_, length, alloc) => alloc(length) }
  const device = complete('disk', 'plugin', { ...base, ...init }, new Running())
  const share = new MemoryShare(new MemoryBudget(), { movedBytes: () => 0, stalled() {} })
  let settled = 0
  const bugs: unknown[] = []
  const commands = new Commands({
    agreement: { device, readOnly: false, mode: 'simple', contextCount: 0, exportName: '', contexts: [] },
    ...{ replies, pool, share, log },
    gate: new Gate(2),
    waitingBytesMax: Number.POSITIVE_INFINITY,
    events: { settled: () => settled++, bug: (error) => bugs.push(error) },
  })
  /** The errors of all replies, when they have arrived. */
  const answered = async () => {
    replies.flush()
    await turn()
    return errors
  }
  return { commands, logged, bugs, answered, settledCount: () => settled }
}

describe('a request', () => {
  it('reaches the method of its type, with its flags', () => {
    const calls: unknown[][] = []
    const note =
      (name: string) =>
      (...args: unknown[]) =>
        void calls.push([name, ...args])
    const { commands } = commandsOn({
      write: (offset, data, flags) => note('write')(offset, data.length, flags),
      flush: note('flush'),
      trim: note('trim'),
      zero: note('zero'),
      cache: note('cache'),
      can: { fua: 'native' },
    })
    const none = new Uint8Array(0)
    commands.run(requestOf(WRITE, { offset: 5, flags: nbd.NBD_CMD_FLAG_FUA }), new Uint8Array(512))
    commands.run(requestOf(nbd.NBD_CMD_FLUSH), none)
    commands.run(requestOf(nbd.NBD_CMD_TRIM), none)
    commands.run(requestOf(ZERO, { flags: nbd.NBD_CMD_FLAG_NO_HOLE }), none)
    commands.run(requestOf(nbd.NBD_CMD_CACHE, { offset: 9 }), none)
    assert.deepEqual(calls, [
      ['write', 5, 512, { fua: true }],
      ['flush'],
      ['trim', 0, 512, { fua: false }],
      ['zero', 0, 512, { fua: false, mayTrim: false, fast: false }],
      ['cache', 9, 512],
    ])
  })

  it('that is done at once is counted and never in flight', async () => {
    const { commands, answered } = commandsOn({ write() {} })
    assert.equal(commands.run(requestOf(READ), new Uint8Array(0)), undefined)
    assert.equal(commands.run(requestOf(WRITE), new Uint8Array(512)), undefined)
    assert.equal(commands.inFlight, 0)
    assert.deepEqual(commands.counts, { requests: 2, bytesRead: 512, bytesWritten: 512 })
    assert.equal((await answered())[0], 0)
  })

  it('that waits is in flight until its device has settled', async () => {
    const { commands, settledCount } = commandsOn({ read: () => turn(new Uint8Array(512)) })
    const first = commands.run(requestOf(READ), new Uint8Array(0))
    assert.equal(commands.full, false)
    const second = commands.run(requestOf(READ), new Uint8Array(0))
    assert.deepEqual([commands.inFlight, commands.full], [2, true])
    await Promise.all([first, second])
    assert.deepEqual([commands.inFlight, commands.full, settledCount()], [0, false, 2])
  })

  it('makes others wait where its bytes fill the memory for requests in flight', async () => {
    const { commands } = commandsOn({ size: inFlightBytesMax, read: () => turn([]) })
    const waiting = commands.run(requestOf(READ, { length: inFlightBytesMax }), new Uint8Array(0))
    assert.equal(commands.full, true)
    await waiting
    assert.equal(commands.full, false)
  })

  it('that a device returned wrongly is a bug, and no second reply', async () => {
    const { commands, bugs, answered } = commandsOn({ read: () => turn(5 as never) })
    await commands.run(requestOf(READ), new Uint8Array(0))
    assert.equal(bugs.length, 0, 'the chain refuses the value before the reply begins')
    assert.deepEqual(await answered(), [nbd.NBD_EIO])
  })
})

describe('a request that fails in the device', () => {
  const failures: [what: string, error: unknown, type: number, flags: number, expected: number][] = [
    ['an NbdError gives its own error', new NbdError('ENOSPC', 'full'), WRITE, 0, nbd.NBD_ENOSPC],
    ['any other exception gives EIO', new TypeError('x is not a function'), WRITE, 0, nbd.NBD_EIO],
    ['ENOTSUP is EINVAL', new NbdError('ENOTSUP', 'never'), WRITE, 0, nbd.NBD_EINVAL],
    [
      'ENOTSUP stays where the client asked for a fast zero',
      new NbdError('ENOTSUP', 'slow'),
      ZERO,
      nbd.NBD_CMD_FLAG_FAST_ZERO,
      nbd.NBD_ENOTSUP,
    ],
    ['EOVERFLOW is EINVAL in a simple reply', new NbdError('EOVERFLOW', 'long'), READ, 0, nbd.NBD_EINVAL],
  ]
  for (const [what, error, type, flags, expected] of failures)
    for (const when of ['at once', 'later'] as const)
      it(`${when}: ${what}`, async () => {
        const fail = (): never | Promise<never> => {
          if (when === 'at once') throw error
          return turn().then(() => {
            throw error
          })
        }
        const { commands, logged, answered } = commandsOn({ read: fail, write: fail, zero: fail })
        await commands.run(requestOf(type, { flags }), new Uint8Array(type === WRITE ? 512 : 0))
        assert.deepEqual(await answered(), [expected])
        assert.equal(logged.length, 1)
        assert.match(logged[0] ?? '', /^(disk: )?(read|write|zero) 512 at 0: .*: E[A-Z]+$/)
      })
})

describe('muted commands', () => {
  it('queue no reply, and give lent memory back', async () => {
    const lent = new Uint8Array(65536)
    const released: Uint8Array[] = []
    const { commands, answered } = commandsOn({
      read: () => turn(new Uint8Array(512)),
      write() {},
      window: () => lent,
      release: (memory) => void released.push(memory),
    })
    const waiting = commands.run(requestOf(READ), new Uint8Array(0))
    assert.equal(commands.window(requestOf(WRITE, { length: 65536 })), lent)
    commands.mute()
    await waiting
    assert.deepEqual(released, [lent])
    assert.deepEqual(await answered(), [])
    assert.equal(commands.counts.requests, 1)
  })
})

describe('memory that the device lends for a payload', () => {
  it('is given back once, when the write is done, whatever becomes of the write', async () => {
    for (const write of [
      () => {},
      () => turn(),
      () => {
        throw new Error('no')
      },
      () => turn().then(() => Promise.reject(new Error('no'))),
    ]) {
      let released = 0
      const lent = new Uint8Array(65536)
      const { commands } = commandsOn({ write, window: () => lent, release: () => void released++ })
      const request = requestOf(WRITE, { length: 65536 })
      commands.window(request)
      await commands.run(request, lent)
      assert.equal(released, 1)
    }
  })

  it('is not lent where the device throws, and the log has the reason', () => {
    const { commands, logged } = commandsOn({
      write() {},
      window() {
        throw new RangeError('no window')
      },
    })
    assert.equal(commands.window(requestOf(WRITE, { length: 65536 })), undefined)
    assert.match(logged.join(), /no window/)
  })
})

it('only a large READ takes memory of the budget before it runs', () => {
  assert.equal(readBudget(requestOf(READ, { length: largeBytesMin })), largeBytesMin)
  assert.equal(readBudget(requestOf(READ, { length: largeBytesMin - 1 })), 0)
  assert.equal(readBudget(requestOf(WRITE, { length: largeBytesMin })), 0)
})
