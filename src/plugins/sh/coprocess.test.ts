import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  NBD_CMD_DISC,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_EIO,
  NBD_ESHUTDOWN,
} from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { connectTo, keptLog } from '../../testing/connect.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import sh from './sh.js'

/**
 * A Node script that answers calls. `methods` is source code: an object of functions that take a tag and
 * words, and may use `ok`, `output`, `say` and `disk`.
 */
async function newScript(t: TestContext, methods: string) {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-coprocess-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const script = join(directory, 'script.js')
  const source = `#!${process.execPath}
const { appendFileSync, readSync, writeSync } = require('fs')
const log = ${JSON.stringify(join(directory, 'log'))}
const note = (text) => { try { appendFileSync(log, text + '\\n') } catch {} }
if (process.argv[2] !== 'coprocess') process.exit(2)
note(process.argv.slice(2).join(' '))
const say = (text) => writeSync(1, text)
const ok = (tag) => say(tag + ' ok\\n')
const output = (tag, bytes) => say(Buffer.concat([Buffer.from(tag + ' ok ' + bytes.length + '\\n'), bytes]))
const disk = Buffer.alloc(65536)
const byte = Buffer.alloc(1)
const readLine = () => {
  let line = ''
  while (readSync(0, byte) === 1) { if (byte[0] === 10) return line; line += byte.toString('latin1') }
}
const readBytes = (n) => {
  const bytes = Buffer.alloc(n)
  for (let at = 0; at < n; ) at += readSync(0, bytes, at, n - at, null)
  return bytes
}
const methods = {
  get_size: (tag) => output(tag, Buffer.from('64k')),
  can_write: ok, can_flush: ok, flush: ok, close: ok,
  pread: (tag, h, count, offset) => output(tag, disk.subarray(+offset, +offset + +count)),
  pwrite: (tag, h, count, offset) => { readBytes(+count).copy(disk, +offset); ok(tag) },
  ...(${methods}),
}
for (let line; (line = readLine()) !== undefined; ) {
  const [tag, method, ...words] = line.split(' ')
  if (methods[method]) methods[method](tag, ...words)
  else say(tag + ' missing\\n')
}
note('end of input')
`
  await writeFile(script, source, { mode: 0o755 })
  const lines = async () => (await readFile(join(directory, 'log'), 'utf8')).split('\n').slice(0, -1)
  return { script, lines }
}

const layer = (script: string) => sh({ script, coprocess: true })

async function served(t: TestContext, methods: string) {
  const { errors, log } = keptLog()
  const { script, lines } = await newScript(t, methods)
  const server = createServer({ plugin: layer(script), log })
  // Where the server does not stop, the test has noticed already.
  t.after(() => server.shutdown({ graceMs: 0 }).catch(() => {}))
  const connect = () => connectTo(server)
  return { server, errors, lines, connect }
}

test('sh with coprocess serves what one process for each client reads and writes', async (t) => {
  const { script, lines } = await newScript(t, '{}')
  const device = await openDevice(layer(script), [], { exportName: 'a b' })
  await deviceContract(device, { steps: 100 })
  await device.close()
  assert.deepEqual(await lines(), ['coprocess false a b false', 'end of input'])
})

test('sh with coprocess takes answers in any order', async (t) => {
  const late = '{ pread: (tag, h, count) => methods.late ? (output(tag, Buffer.alloc(+count, 2)), '
  const { script } = await newScript(
    t,
    `${late} output(methods.late, Buffer.alloc(+count, 1))) : (methods.late = tag) }`,
  )
  const device = await openDevice(layer(script))
  const both = await Promise.all([readBytes(device, 0, 512), readBytes(device, 512, 512)])
  assert.deepEqual(
    both.map((bytes) => bytes[0]),
    [1, 2],
  )
  await device.close()
})

test('sh with coprocess fails one request that is answered wrongly, and goes on', async (t) => {
  const { script } = await newScript(
    t,
    '{ pread: (tag, h, count, at) => output(tag, Buffer.alloc(at === "0" ? +count - 1 : at === "512" ? +count + 1 : +count)) }',
  )
  const device = await openDevice(layer(script))
  await assert.rejects(readBytes(device, 0, 512), { code: 'EIO', message: /expected 512 bytes, got 511/ })
  await assert.rejects(readBytes(device, 512, 512), { code: 'EIO', message: /answered 513 bytes/ })
  assert.equal((await readBytes(device, 1024, 512)).length, 512)
  await device.close()
})

test('sh with coprocess does not open where the script does not know it', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-coprocess-'))
  t.after(() => rm(directory, { recursive: true }))
  const script = join(directory, 'script.sh')
  await writeFile(script, '#!/bin/sh\nexit 2\n', { mode: 0o755 })
  await assert.rejects(openDevice(layer(script)), { message: /script.sh: it ended with status 2/ })
})

test('sh with coprocess: its end fails what waits for it and all that follows, of that client alone', async (t) => {
  const { connect, errors } = await served(
    t,
    '{ pread: (tag, h, count, at) => at === "512" ? process.kill(process.pid, "SIGKILL") : output(tag, Buffer.alloc(+count)) }',
  )
  const [one, two] = [await connect(), await connect()]
  for (const offset of [0, 512, 1024])
    one.client.sendRequest({ type: NBD_CMD_READ, cookie: offset, offset, length: 512 })
  const replies = [await one.client.reply(), await one.client.reply(), await one.client.reply()]
  assert.deepEqual(
    replies.map(({ cookie, error }) => [cookie, error]),
    [[0, 0], ...[512, 1024].map((cookie) => [cookie, NBD_EIO])],
  )
  const [later] = await one.client.request({ type: NBD_CMD_READ, length: 512 })
  assert.equal(later?.error, NBD_EIO)
  const [other] = await two.client.request({ type: NBD_CMD_READ, length: 512 })
  assert.equal(other?.error, 0)
  assert.ok(errors.some((text) => text.endsWith('script.js: it was killed by SIGKILL')))
})

test('sh with coprocess kills a process that breaks the protocol, and says how', async (t) => {
  const { connect, errors } = await served(t, '{ pread: () => say("hello\\n") }')
  const { client } = await connect()
  const [part] = await client.request({ type: NBD_CMD_READ, length: 512 })
  assert.equal(part?.error, NBD_EIO)
  assert.ok(errors.some((text) => text.includes('it broke the protocol: a line that is none')))
})

test('sh with coprocess drops its client softly: the write at hand succeeds, all that follow are refused', async (t) => {
  const { connect, lines } = await served(
    t,
    `{ pwrite: (tag, h, n) => { readBytes(+n); say('disconnect ' + h + ' soft\\n'); ok(tag) } }`,
  )
  const { client, connection } = await connect()
  const write = { type: NBD_CMD_WRITE, length: 512, payload: Buffer.alloc(512) }
  assert.equal((await client.request(write))[0]?.error, 0)
  assert.equal((await client.request(write))[0]?.error, NBD_ESHUTDOWN)
  client.sendRequest({ type: NBD_CMD_DISC })
  await connection.closed
  assert.equal((await lines()).at(-1), 'end of input')
})

test('sh with coprocess drops its client by force, and another not', async (t) => {
  const { connect } = await served(
    t,
    `{ pread: (tag, h, n, at) => { if (at === "512") say('disconnect ' + h + ' force\\n'); output(tag, Buffer.alloc(+n)) } }`,
  )
  const [one, two] = [await connect(), await connect()]
  one.client.sendRequest({ type: NBD_CMD_READ, offset: 512, length: 512 })
  await one.connection.closed
  assert.equal((await two.client.request({ type: NBD_CMD_READ, length: 512 }))[0]?.error, 0)
})

test('sh with coprocess stops the server, and answers what is on the way', async (t) => {
  const { connect, server } = await served(t, '{ flush: (tag) => { say("shutdown\\n"); ok(tag) } }')
  const { client } = await connect()
  assert.equal((await client.request({ type: 3 }))[0]?.error, 0)
  await server.stopping
  client.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('sh with coprocess gives up a process that never answers, by name', async (t) => {
  const { connect, server, lines } = await served(t, '{ pread: () => note("pid " + process.pid) }')
  const { client } = await connect()
  client.sendRequest({ type: NBD_CMD_READ, length: 512 })
  const pid = async () => (await lines()).find((line) => line.startsWith('pid'))?.slice(4)
  while ((await pid()) === undefined) await sleep(5)
  await assert.rejects(server.shutdown({ graceMs: 10 }), /sh: read was called/)
  process.kill(Number(await pid()))
})

test('sh with coprocess serves the script of the page about it', async (t) => {
  const page = await readFile(new URL('../../../../docs/coprocess.md', import.meta.url), 'utf8')
  const [, source = ''] = /^```sh\n(.*?)^```$/ms.exec(page) ?? []
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-coprocess-'))
  t.after(() => rm(directory, { recursive: true }))
  const script = join(directory, 'script.sh')
  await writeFile(script, source, { mode: 0o755 })
  const device = await openDevice(layer(script))
  assert.equal(device.size, 64 * 2 ** 20)
  assert.ok((await readBytes(device, 4096, 70_000)).every((byte) => byte === 0))
  await device.close()
})
