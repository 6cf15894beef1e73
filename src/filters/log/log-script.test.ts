import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { HOLE } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { silentLog } from '../../api/log.js'
import { isPromise } from '../../api/maybe.js'
import { NBD_CMD_READ, NBD_OPT_LIST } from '../../protocol/constants.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import log from './log.js'
import { logScript } from './log-script.js'

/** The name of a file for a script to write to, and a function that reads its lines. */
async function newFile(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-log-script-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'said')
  await writeFile(file, '')
  return { directory, file, lines: async () => (await readFile(file, 'utf8')).split('\n').slice(0, -1) }
}

const no = { fua: false, mayTrim: false, fast: false }

test('log runs the script for each line, in order, with the fields as variables', async (t) => {
  const { file, lines } = await newFile(t)
  const script = `echo "$type|$act|$connection|$id|$offset|$count|$fua|$trim|$return|$error" >> ${file}`
  const flush = () => {
    throw new NbdError('ENOSPC', 'for tests')
  }
  const device = await openDevice(new Disk({ device: { flush } }).plugin, [log({ script })])
  await readBytes(device, 0, 512)
  await device.zero(4096, 8192, { ...no, mayTrim: true })
  assert.throws(() => device.flush(), { code: 'ENOSPC' })
  await device.close()
  assert.deepEqual(await lines(), [
    'PRINT|Ready||||||||',
    'PRINT|Connect|1||||1|1||',
    'ENTER|Read|1|1|0x0|0x200||||',
    'LEAVE|Read|1|1|||||0|',
    'ENTER|Zero|1|2|0x1000|0x2000|0|1||',
    'LEAVE|Zero|1|2|||||0|',
    'ENTER|Flush|1|3||||||',
    'LEAVE|Flush|1|3|||||-1|ENOSPC',
    'PRINT|Disconnect|1|||||||',
  ])
})

test('log tells the script of clients, and of exports as words for the shell', async (t) => {
  const { file, lines } = await newFile(t)
  const script = `
    eval "set -- $exports"
    echo "$type $act $id $readonly $tls $export $thread_model $#:$2" >> ${file}`
  const exports = () => [{ name: '' }, { name: "it's `a` disk" }]
  const { server, connect } = serve(t, new Disk({ plugin: { exports } }), { filters: [log({ script })] })
  const client = connect()
  await client.greet()
  await client.option(NBD_OPT_LIST)
  await server.shutdown({ graceMs: 0 })
  assert.deepEqual(await lines(), [
    'PRINT Ready     3 0:',
    'PRINT Preconnect 1 0    0:',
    'ENTER ListExports 1 0 0   0:',
    "LEAVE ListExports 1     2:it's `a` disk",
  ])
})

test('log tells the script of extents as words, three for each run', async (t) => {
  const { file, lines } = await newFile(t)
  const script = `test "$act$type" != ExtentsLEAVE || { eval "set -- $extents"; printf '<%s>\\n' "$@" >> ${file}; }`
  const extents = () => [
    { length: 512, type: 0 },
    { length: 512, type: HOLE },
  ]
  const device = await openDevice(new Disk({ device: { extents } }).plugin, [log({ script })])
  for (const _ of await device.extents(0, 1024));
  await device.close()
  assert.deepEqual(await lines(), ['<0x0>', '<0x200>', '<>', '<0x200>', '<0x200>', '<hole>'])
})

test('log gives an export name to the script as it is, whatever a client puts in it', async (t) => {
  const { file } = await newFile(t)
  const exportName = 'a $(touch /nowhere)\n"b" \'c\''
  const script = `test "$act" != Connect || printf %s "$export" > ${file}`
  await (await openDevice(new Disk().plugin, [log({ script })], { exportName })).close()
  assert.equal(await readFile(file, 'utf8'), exportName)
})

test('log does not show the script variables of its own environment', async (t) => {
  const { file, lines } = await newFile(t)
  t.after(() => delete process.env.offset)
  process.env.offset = '12'
  await (await openDevice(new Disk().plugin, [log({ script: `echo "<$offset>" >> ${file}` })])).close()
  assert.deepEqual(await lines(), ['<>', '<>', '<>'])
})

test('log writes the file beside the script', async (t) => {
  const { directory, file, lines } = await newFile(t)
  const both = { file: join(directory, 'log'), script: `echo "$act" >> ${file}` }
  await (await openDevice(new Disk().plugin, [log(both)])).close()
  assert.deepEqual(await lines(), ['Ready', 'Connect', 'Disconnect'])
  const written = (await readFile(both.file, 'utf8')).split('\n')
  assert.deepEqual(
    written.slice(0, -1).map((line) => line.split(' ').at(2)),
    ['Ready', 'connection=1', 'connection=1'],
  )
})

test('log answers at once, also while the script runs', async (t) => {
  const { directory, file, lines } = await newFile(t)
  const go = join(directory, 'go')
  const script = `while ! test -e ${go}; do sleep 0.01; done; echo "$act" >> ${file}`
  const device = await openDevice(new Disk().plugin, [log({ script })])
  assert.equal(isPromise(device.write(0, new Uint8Array(512), no)), false)
  assert.deepEqual(await lines(), [])
  await writeFile(go, '')
  await device.close()
  assert.deepEqual(await lines(), ['Ready', 'Connect', 'Write', 'Write', 'Disconnect'])
})

test('log lets requests wait where the script is far behind, and runs it for each in order', async (t) => {
  const { file, lines } = await newFile(t)
  const script = logScript(`echo $id >> ${file}`, silentLog, 2)
  const answers = [1, 2, 3, 4].map((id) => script.run({ id: `${id}` }))
  assert.deepEqual(answers.map(isPromise), [false, false, true, true])
  await answers[2]
  assert.deepEqual((await lines()).slice(0, 3), ['1', '2', '3'])
  await script.close()
  assert.deepEqual(await lines(), ['1', '2', '3', '4'])
  assert.equal(isPromise(script.run({ id: '5' })), false)
  await script.close()
  assert.deepEqual((await lines()).length, 4)
})

test('log begins a request that had to wait when the script is done, and ends it as any other', async (t) => {
  const disk = new Disk()
  const { connect, server } = serve(t, disk, { filters: [log({ script: 'exit 1' })] })
  const client = connect()
  await client.go()
  const count = 600
  for (let cookie = 1; cookie <= count; cookie++)
    client.sendRequest({ type: NBD_CMD_READ, cookie, offset: 0, length: 512 })
  for (let cookie = 1; cookie <= count; cookie++) assert.equal((await client.reply()).error, 0)
  assert.equal(disk.calls.length, count)
  // That many scripts take time to end.
  await server.shutdown({ graceMs: 60_000 })
})

test('log goes on with a script that cannot be run, and says so once', async () => {
  const errors: string[] = []
  const script = logScript('true', { ...silentLog, error: (message) => errors.push(message) })
  for (let times = 0; times < 3; times++) script.run({ extents: 'x'.repeat(2 ** 23) })
  await script.close()
  assert.equal(errors.length, 1)
  assert.match(errors[0] ?? '', /^cannot run the script, events are missing from here on: spawn E2BIG/)
})

test('log with a script meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [log({ script: 'exit 1' })])
  await deviceContract(device, { steps: 50 })
  await device.close()
})
