import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { NBD_CMD_DISC, NBD_CMD_READ } from '../../protocol/constants.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import { until } from '../../testing/until.js'
import exitwhen from './exitwhen.js'

type Inputs = NonNullable<Parameters<typeof exitwhen>[0]>

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-exitwhen-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

/** A server that listens, unless it was stopped before. */
async function start(t: TestContext, inputs: Inputs) {
  const served = serve(t, new Disk(), { filters: [exitwhen(inputs)] })
  await served.server.listen({ path: join(await newDirectory(t), 'socket') })
  return served
}

test('exitwhen stops an idle server after the file was created', async (t) => {
  const fileCreated = join(await newDirectory(t), 'stop')
  const { server } = await start(t, { fileCreated, poll: 5 })
  await writeFile(fileCreated, '')
  await server.stopped
})

test('exitwhen stops an idle server after the file was deleted', async (t) => {
  const fileDeleted = join(await newDirectory(t), 'stop')
  await writeFile(fileDeleted, '')
  const { server } = await start(t, { fileDeleted, poll: 5 })
  assert.equal(server.state, 'serving')
  await rm(fileDeleted)
  await server.stopped
})

test('exitwhen keeps a server from serving when it has happened already', async (t) => {
  const directory = await newDirectory(t)
  const gone = join(directory, 'gone')
  for (const inputs of [{ fileCreated: directory }, { fileDeleted: gone }, { script: 'exit 88' }]) {
    const { server } = await start(t, inputs)
    await server.stopped
    assert.deepEqual(server.addresses, [])
  }
})

test('exitwhen lets clients go on after the event, refuses others, and stops after the last', async (t) => {
  const fileCreated = join(await newDirectory(t), 'stop')
  const { server, connect, errors } = await start(t, { fileCreated })
  const [one, two] = [connect(), connect()]
  await one.go()
  await two.go()
  await writeFile(fileCreated, '')
  const late = connect()
  await assert.rejects(late.greet())
  assert.deepEqual(errors, ['exitwhen: the server is about to stop, and takes no more clients'])
  one.sendRequest({ type: NBD_CMD_DISC })
  await one.closed
  const [part] = await two.request({ type: NBD_CMD_READ, cookie: 1, length: 512 })
  assert.equal(part?.error, 0)
  assert.equal(server.state, 'serving')
  two.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitwhen remembers an event that a client had seen, also when it is undone', async (t) => {
  const fileCreated = join(await newDirectory(t), 'stop')
  const { server, connect } = await start(t, { fileCreated })
  const client = connect()
  await client.go()
  await writeFile(fileCreated, '')
  await assert.rejects(connect().greet())
  await rm(fileCreated)
  await assert.rejects(connect().greet())
  client.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitwhen looks when the last client goes', async (t) => {
  const fileCreated = join(await newDirectory(t), 'stop')
  const { server, connect } = await start(t, { fileCreated })
  const client = connect()
  await client.go()
  await writeFile(fileCreated, '')
  client.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitwhen stops the server after the process has ended, also where nobody has asked for its status', async (t) => {
  const child = spawn('sleep', ['1000'])
  t.after(() => child.kill())
  assert.ok(child.pid)
  const { server } = await start(t, { processExits: child.pid, poll: 5 })
  child.kill()
  await server.stopped
})

test('exitwhen does not wait for the first process of a number', async () => {
  const child = spawn('true')
  await once(child, 'exit')
  await assert.rejects(openDevice(new Disk().plugin, [exitwhen({ processExits: child.pid ?? 0 })]), {
    name: 'ConfigError',
    message: `exitwhen: exit-when-process-exits: there is no process ${child.pid}`,
  })
})

/** Both ends of a pipe. */
async function newPipe(t: TestContext): Promise<[reader: number, writer: number]> {
  const path = join(await newDirectory(t), 'pipe')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return [reader, openSync(path, constants.O_WRONLY)]
}

test('exitwhen stops an idle server as soon as the pipe is closed, whatever came through it', async (t) => {
  const [reader, writer] = await newPipe(t)
  const { server } = await start(t, { pipeClosed: reader })
  writeSync(writer, Buffer.alloc(1000))
  closeSync(writer)
  await server.stopped
})

test('exitwhen lets clients go on after the pipe was closed', async (t) => {
  const [reader, writer] = await newPipe(t)
  const { server, connect } = await start(t, { pipeClosed: reader })
  const client = connect()
  await client.go()
  closeSync(writer)
  for (let taken = true; taken; ) {
    const other = connect()
    taken = await other.greet().then(
      () => true,
      () => false,
    )
    other.stream.destroy()
    // A change of the pipe is noticed when there is no other work.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const [part] = await client.request({ type: NBD_CMD_READ, cookie: 1, length: 512 })
  assert.equal(part?.error, 0)
  client.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitwhen closes its end of the pipe with the server', async (t) => {
  const [reader, writer] = await newPipe(t)
  const device = await openDevice(new Disk().plugin, [exitwhen({ pipeClosed: reader })])
  await device.close()
  const broken = () => {
    try {
      writeSync(writer, 'x')
      return false
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EPIPE')
      return true
    }
  }
  await until(broken)
  closeSync(writer)
})

test('exitwhen stops the server when the script exits with 88', async (t) => {
  const file = join(await newDirectory(t), 'stop')
  const { server } = await start(t, { script: `test ! -e ${file} || exit 88`, poll: 5 })
  assert.equal(server.state, 'serving')
  await writeFile(file, '')
  await server.stopped
})

test('exitwhen logs what a script exits with that is neither 0 nor 88, and goes on', async (t) => {
  for (const [script, how] of [
    ['exit 1', 'status 1'],
    ['exit 89', 'status 89'],
    ['kill -KILL $$', 'SIGKILL'],
  ] as const) {
    const { server, errors } = await start(t, { script })
    assert.equal(server.state, 'serving')
    assert.deepEqual(errors, [`exit-when-script: it ended with ${how}, expected 0 or 88`])
  }
})

test('exitwhen logs a script that cannot be run, and goes on', async (t) => {
  const { server, errors } = await start(t, { script: 'x'.repeat(2 ** 23) })
  assert.equal(server.state, 'serving')
  assert.match(errors[0] ?? '', /^exit-when-script: it cannot be run: spawn E2BIG/)
})

test('exitwhen logs when it cannot tell whether the file exists, and goes on', async (t) => {
  const directory = await newDirectory(t)
  const loop = join(directory, 'loop')
  await symlink(loop, loop)
  for (const inputs of [{ fileCreated: join(loop, 'stop') }, { fileDeleted: join(loop, 'stop') }]) {
    const { server, errors } = await start(t, inputs)
    assert.equal(server.state, 'serving')
    assert.match(errors[0] ?? '', /^cannot tell whether .*loop\/stop exists: ELOOP/)
  }
})

test('exitwhen stops the server after the first of several events', async (t) => {
  const directory = await newDirectory(t)
  const inputs = {
    fileCreated: join(directory, 'stop'),
    fileDeleted: directory,
    processExits: process.pid,
    script: 'exit 0',
    poll: 5,
  }
  const { server } = await start(t, inputs)
  assert.equal(server.state, 'serving')
  await mkdir(inputs.fileCreated)
  await server.stopped
})

test('exitwhen does nothing without an event', async () => {
  const device = await openDevice(new Disk().plugin, [exitwhen({ poll: 1 })])
  await device.close()
})

test('exitwhen looks no more after the server has stopped', async (t) => {
  const said = join(await newDirectory(t), 'said')
  const { server } = await start(t, { script: `echo >> ${said}`, poll: 1 })
  await server.shutdown()
  const before = readFileSync(said).length
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(readFileSync(said).length <= before + 1, 'a look that had begun may end, and no other begin')
})

test('exitwhen meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [exitwhen({ fileCreated: '/nonexistent' })])
  await deviceContract(device)
  await device.close()
})

test('exitwhen refuses what cannot be waited for, and names the key', async (t) => {
  const file = join(await newDirectory(t), 'file')
  await writeFile(file, '')
  const fd = openSync(file, 'r')
  t.after(() => closeSync(fd))
  for (const [inputs, message] of [
    [{ pipeClosed: fd }, `exitwhen: exit-when-pipe-closed: file descriptor ${fd} is not a pipe of ours`],
    [{ pipeClosed: 99999 }, 'exitwhen: exit-when-pipe-closed: file descriptor 99999 is not a pipe of ours'],
    [{ pipeClosed: -1 }, /^exitwhen: exit-when-pipe-closed: -1 is out of range/],
    [{ processExits: 0 }, /^exitwhen: exit-when-process-exits: 0 is out of range/],
    [{ fileCreated: '' }, 'exitwhen: exit-when-file-created: the file name is empty'],
    [{ poll: 0 }, 'exitwhen: exit-when-poll: 0 ms is too short: at least 1 ms'],
  ] as const)
    await assert.rejects(openDevice(new Disk().plugin, [exitwhen(inputs)]), { name: 'ConfigError', message })
})
