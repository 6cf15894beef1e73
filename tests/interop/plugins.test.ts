/** Plugins that make up their bytes, and examples, beside nbdkit's own of the same name. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FUA,
  NBD_REP_ERR_UNKNOWN,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
} from '../../src/protocol/constants.js'
import { errorName } from '../../src/protocol/errno.js'
import { RawClient, type RawRequest, type ReplyPart } from '../../src/testing/index.js'
import {
  assertSame,
  needs,
  needsVersion,
  output,
  type Serving,
  serve,
  serveWithNbdkit,
  temporary,
} from './helpers.js'
import { common, info } from './nbdinfo.js'

const together = { concurrency: 2 }

/** What nbdinfo says of the export, as far as nbdkit and we have it in common. */
async function factsOf(server: Serving): Promise<Record<string, unknown>> {
  return { ...common(await info(server)).exports[0] }
}

async function connect(server: Serving, name: string): Promise<{ client: RawClient; flags: number }> {
  const client = await RawClient.connect({ path: server.socket })
  const { flags } = await client.go({ name, structured: true, contexts: ['base:allocation'] })
  return { client, flags }
}

/** The data of a READ, whichever parts of it came as holes. */
function dataOf(parts: readonly ReplyPart[], offset: number, length: number): Buffer {
  const data = Buffer.alloc(length)
  for (const part of parts) {
    assert.equal(part.error, 0, part.message)
    if (part.type === NBD_REPLY_TYPE_OFFSET_DATA)
      part.data.copy(data, Number(part.data.readBigUInt64BE()) - offset, 8)
    else assert.equal(part.type, NBD_REPLY_TYPE_OFFSET_HOLE)
  }
  return data
}

/** All that a server holds. */
async function content(server: Serving, name = ''): Promise<Buffer> {
  const client = await RawClient.connect({ path: server.socket })
  try {
    const { size } = await client.go({ name, structured: true })
    const pieces: Buffer[] = []
    for (let at = 0; at < size; at += 2 ** 20) {
      const length = Math.min(2 ** 20, size - at)
      const parts = await client.request({ type: NBD_CMD_READ, offset: at, length, cookie: at })
      pieces.push(dataOf(parts, at, length))
    }
    return Buffer.concat(pieces)
  } finally {
    client.stream.destroy()
  }
}

/** Each command, and what a server makes of it. */
async function answers(server: Serving, name: string): Promise<Record<string, string>> {
  const { client, flags } = await connect(server, name)
  const there = await client.request({ type: NBD_CMD_READ, offset: 512, length: 512, cookie: 1 })
  const before = there[0]?.error === 0 ? dataOf(there, 512, 512) : Buffer.alloc(512)
  const range = { offset: 512, length: 512 }
  const requests: Record<string, RawRequest> = {
    'read of one byte': { type: NBD_CMD_READ, length: 1 },
    'read past the end': { type: NBD_CMD_READ, offset: 2 ** 40, length: 512 },
    'write of what is there': { type: NBD_CMD_WRITE, ...range, payload: before },
    'write of something else': { type: NBD_CMD_WRITE, ...range, payload: Buffer.alloc(512, 'x') },
    'write past the end': { type: NBD_CMD_WRITE, offset: 2 ** 40, length: 512, payload: Buffer.alloc(512) },
    flush: { type: NBD_CMD_FLUSH },
    trim: { type: NBD_CMD_TRIM, ...range },
    zero: { type: NBD_CMD_WRITE_ZEROES, ...range },
    ...(flags & NBD_FLAG_SEND_FUA && {
      'write with FUA': { type: NBD_CMD_WRITE, flags: NBD_CMD_FLAG_FUA, ...range, payload: before },
    }),
    ...(flags & NBD_FLAG_SEND_FAST_ZERO && {
      'zero fast': { type: NBD_CMD_WRITE_ZEROES, flags: NBD_CMD_FLAG_FAST_ZERO, ...range },
    }),
    cache: { type: NBD_CMD_CACHE, length: 1 },
    'block status': { type: NBD_CMD_BLOCK_STATUS, length: 1 },
  }
  const found: Record<string, string> = { flags: `0x${flags.toString(16)}` }
  for (const [what, request] of Object.entries(requests)) {
    const parts = await client.request({ ...request, cookie: 2 })
    const error = parts.find((part) => part.error !== 0)?.error ?? 0
    found[what] = error === 0 ? 'done' : errorName(error)
    // How far it goes beyond what was asked for is each server's own business.
    if (what === 'block status' && error === 0) found[what] = parts[0]?.data.toString('hex', 8) ?? ''
  }
  client.stream.destroy()
  return found
}

interface Case {
  readonly args: readonly string[]
  readonly exportName?: string
  /** Its manual page says so, or they are of the moment. */
  readonly otherBytes?: true
  /** The version of nbdkit that brought it, where that is not in every one that we compare with. */
  readonly since?: string
}

const cases: Record<string, Case> = {
  pattern: { args: ['pattern', '1M'] },
  'pattern of an odd size': { args: ['pattern', '1000001'] },
  zero: { args: ['zero'] },
  full: { args: ['full', '1M'] },
  random: { args: ['random', '1M', 'seed=1'], otherBytes: true },
  'info of the export name': { args: ['info'], exportName: 'hello' },
  'info without an export name': { args: ['info', 'exportname'] },
  'info of a name in base64': { args: ['info', 'base64exportname'], exportName: 'aGVsbG8=' },
  'info of the address': { args: ['info', 'mode=address'] },
  'info of the time': { args: ['info', 'time'], otherBytes: true },
  'info of the time it is up': { args: ['info', 'uptime'], otherBytes: true },
  'info of the time since it was opened': { args: ['info', 'conntime'], otherBytes: true },
  example1: { args: ['example1'], otherBytes: true },
  example3: { args: ['example3', 'size=1M'] },
  ones: { args: ['ones', '1M'], since: '1.36' },
  'ones of another byte': { args: ['ones', '1M', 'byte=0x55'], since: '1.36' },
}

describe('of us and of nbdkit, nbdinfo says the same, and commands have the same result:', together, () => {
  for (const [what, { args, exportName = '', otherBytes = false, since = '1.32' }] of Object.entries(cases))
    test(what, needsVersion('nbdkit', since, 'nbdinfo'), async (t) => {
      const all = exportName === '' ? args : ['-e', exportName, ...args]
      await compare(t, all, exportName, otherBytes)
    })

  test('example2', needs('nbdkit', 'nbdinfo'), async (t) => {
    const file = join(temporary(t), 'disk')
    writeFileSync(file, 'a line\n'.repeat(1000))
    await compare(t, ['example2', `file=${file}`], '', false)
  })
})

async function compare(
  t: TestContext,
  args: readonly string[],
  name: string,
  otherBytes: boolean,
): Promise<void> {
  const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
  const [found, expected] = [await factsOf(ours), await factsOf(theirs)]
  if (otherBytes) for (const one of [found, expected]) delete one.content
  assert.deepEqual(found, expected)
  if (!otherBytes) assertSame(await content(ours, name), await content(theirs, name), 'content')
  assert.deepEqual(await answers(ours, name), await answers(theirs, name))
}

test('a copy of pattern is the same from us as from nbdkit', needs('nbdkit', 'nbdcopy'), async (t) => {
  const args = ['pattern', '12345678']
  const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
  const directory = temporary(t)
  const [one, other] = [join(directory, 'one'), join(directory, 'other')]
  await output('nbdcopy', [ours.uri, one])
  await output('nbdcopy', [theirs.uri, other])
  assertSame(readFileSync(one), readFileSync(other), 'copy')
})

for (const fast of [false, true])
  test(`random is copied onto itself${fast ? ' when it is fast' : ''}`, needs('nbdcopy'), async (t) => {
    const { uri } = await serve(t, 'random', '20M', `fast=${fast}`)
    await output('nbdcopy', [uri, uri])
  })

test('random refuses a copy of something else', needs('nbdcopy'), async (t) => {
  const [one, other] = [await serve(t, 'random', '1M', 'seed=1'), await serve(t, 'random', '1M', 'seed=2')]
  await assert.rejects(output('nbdcopy', [one.uri, other.uri]), /Input\/output error/)
  assert.match(other.log(), /the byte at \d+ is not what is read there/)
})

test('full refuses a copy', needs('nbdcopy'), async (t) => {
  const [from, to] = [await serve(t, 'ones', '1M'), await serve(t, 'full', '1M')]
  await assert.rejects(output('nbdcopy', [from.uri, to.uri]), /No space left on device/)
})

test('info refuses a name that is not base64, as nbdkit does', needs('nbdkit'), async (t) => {
  const args = ['info', 'base64exportname']
  for (const server of [await serve(t, ...args), await serveWithNbdkit(t, ...args)])
    await assert.rejects(content(server, 'aGVsbG8'), new RegExp(NBD_REP_ERR_UNKNOWN.toString(16)))
})

test('a name of several lines is base64 for us as for nbdkit', needs('nbdkit'), async (t) => {
  const exportName = 'aGVs\nbG8=\n'
  const args = ['info', 'base64exportname']
  for (const server of [await serve(t, ...args), await serveWithNbdkit(t, ...args)])
    assert.equal((await content(server, exportName)).toString(), 'hello')
})

test('example1 has a partition table that others read', needs('nbdinfo'), async (t) => {
  assert.match(String((await factsOf(await serve(t, 'example1'))).content), /^DOS\/MBR boot sector/)
})
