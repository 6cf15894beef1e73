import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { HOLE, ZERO } from '../../api/device.js'
import { silentLog } from '../../api/log.js'
import type { OpenRequest } from '../../api/plugin.js'
import { noConnection, noServer } from '../../chain/setup.js'
import { NBD_CMD_READ } from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { connectTo } from '../../testing/connect.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import sh from './sh.js'

/** A script in a directory that is removed after the test. `$log` is a file in it. */
async function newScript(t: TestContext, text: string) {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-sh-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const script = join(directory, 'script.sh')
  const log = join(directory, 'log')
  await writeFile(script, `#!/bin/sh\nlog=${log}\n${text}`, { mode: 0o755 })
  const lines = () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [])
  return { directory, script, lines }
}

/** A script that answers the given methods, and serves 64 KiB of zeroes. */
async function cases(t: TestContext, methods: Readonly<Record<string, string>>) {
  const all = { get_size: 'echo 64k', pread: 'head -c "$3" /dev/zero', ...methods }
  const branches = Object.entries(all).map(([method, body]) => `${method}) ${body};;\n`)
  return newScript(t, `case "$1" in\n${branches.join('')}*) exit 2;;\nesac\n`)
}

const disk = {
  get_ready: 'truncate -s 64k "$tmpdir/disk"',
  can_write: '',
  can_flush: '',
  can_zero: '',
  pread: 'dd if="$tmpdir/disk" skip="$4" count="$3" iflag=skip_bytes,count_bytes status=none',
  pwrite: 'dd of="$tmpdir/disk" seek="$4" conv=notrunc oflag=seek_bytes status=none',
  zero: 'echo EOPNOTSUPP >&2; exit 1',
  flush: '',
}

test('sh serves what a script reads and writes', async (t) => {
  const { script } = await cases(t, disk)
  const device = await openDevice(sh({ script }))
  assert.equal(device.size, 65536)
  await deviceContract(device, { steps: 40 })
  await device.close()
})

test('sh calls each method with its words, in the order of nbdkit', async (t) => {
  const { script, lines } = await newScript(
    t,
    `echo "$*" >> $log
    case "$1" in
      get_size) echo 1M;; open) echo "handle $3";; pread) head -c $3 /dev/zero;;
      can_write|can_trim|can_zero|can_flush|can_extents|pwrite|trim|zero|flush|cache|close) ;;
      can_fua|can_cache) echo native;; config|load|unload) ;; magic_config_key) echo bare;;
      extents) echo 0 1M hole;;
      *) exit 2;;
    esac\n`,
  )
  const settings = [
    ['a', '1'],
    ['a', '2 3'],
    [undefined, 'word'],
  ] as const
  const device = await openDevice(sh({ script, settings }), [], { exportName: 'x' })
  await readBytes(device, 512, 1024)
  await device.write(0, Buffer.alloc(512), { fua: true })
  await device.write(0, Buffer.alloc(512), { fua: false })
  await device.trim(0, 4096, { fua: false })
  await device.zero(0, 8192, { fua: true, mayTrim: true, fast: false })
  await device.flush()
  await device.cache(512, 512)
  await device.extents(0, 4096)
  await device.close()
  const h = 'handle x'
  assert.deepEqual(lines(), [
    ...['load', 'config a 1', 'config a 2 3', 'magic_config_key', 'config bare word', 'config_complete'],
    ...['thread_model', 'get_ready', 'after_fork', 'open false x false'],
    ...['export_description', 'get_size', 'block_size', 'is_rotational'].map((name) => `${name} ${h}`),
    ...['can_write', 'can_zero', 'can_fast_zero', 'can_trim', 'can_flush'].map((name) => `${name} ${h}`),
    ...['can_fua', 'can_multi_conn', 'can_cache', 'can_extents'].map((name) => `${name} ${h}`),
    `pread ${h} 1024 512`,
    `pwrite ${h} 512 0 fua`,
    `pwrite ${h} 512 0 `,
    `trim ${h} 4096 0 `,
    `zero ${h} 8192 0 fua,may_trim`,
    `flush ${h}`,
    `cache ${h} 512 512`,
    `extents ${h} 4096 0 `,
    `close ${h}`,
    'unload',
  ])
})

test('sh writes zeroes where a script cannot zero in another way, unless it is to be fast', async (t) => {
  const { script, lines } = await cases(t, {
    can_write: '',
    can_flush: '',
    flush: '',
    can_fua: 'echo native',
    can_zero: '',
    can_fast_zero: '',
    zero: 'echo ENOTSUP >&2; exit 1',
    pwrite: 'echo "$1 $3 $4 $5" >> $log; [ "$(tr -d "\\0" | wc -c)" = 0 ]',
  })
  const device = await openDevice(sh({ script }))
  await device.zero(512, 8192, { fua: true, mayTrim: true, fast: false })
  assert.deepEqual(lines(), ['pwrite 8192 512 fua'])
  await assert.rejects(async () => device.zero(0, 512, { fua: false, mayTrim: true, fast: true }), {
    code: 'ENOTSUP',
  })
  assert.equal(lines().length, 1)
  await device.close()
})

test('sh asks nothing about writing where nothing may be written', async (t) => {
  const { script, lines } = await cases(t, { can_write: 'echo asked >> $log', can_trim: 'exit 1' })
  const device = await openDevice(sh({ script }), [], { readOnly: true })
  assert.equal(device.can.write, false)
  assert.deepEqual(lines(), [])
  await device.close()
})

test('sh takes what a script says it can do', async (t) => {
  const { script } = await cases(t, {
    export_description: 'echo a disk',
    block_size: 'echo 512 4096 1M',
    is_rotational: '',
    can_write: '',
    can_trim: 'exit 3',
    can_zero: 'exit 3',
    can_multi_conn: '',
    can_cache: 'echo emulate',
    can_extents: '',
    extents: `printf '# first\\n\\n0 512\\n512 1G hole,zero\\n'`,
  })
  const device = await openDevice(sh({ script }))
  const { description, blockSize, rotational, can } = device
  assert.deepEqual(
    { description, blockSize, rotational },
    {
      description: 'a disk',
      blockSize: { minimum: 512, preferred: 4096, maximum: 2 ** 20 },
      rotational: true,
    },
  )
  assert.deepEqual(can, {
    ...{ write: true, flush: false, trim: false, extents: true, fastZero: true, multiConn: true },
    ...{ zero: 'emulate', fua: 'none', cache: 'emulate' },
  })
  assert.deepEqual(
    [...(await device.extents(256, 4096))],
    [
      { length: 256, type: 0 },
      { length: 2 ** 30, type: HOLE | ZERO },
    ],
  )
  await device.close()
})

/** Each case: what `pread` does, and what its client gets. */
const failures: [what: string, pread: string, expected: { code: string; message: RegExp }][] = [
  ['with an errno name', 'echo "ENOSPC it is full" >&2; exit 1', { code: 'ENOSPC', message: /^it is full$/ }],
  ['with a name in small letters', 'echo "erofs" >&2; exit 1', { code: 'EROFS', message: /status 1$/ }],
  ['with a message alone', 'echo "error: no" >&2; exit 16', { code: 'EIO', message: /^error: no$/ }],
  ['without a word', 'exit 255', { code: 'EIO', message: /pread: it ended with status 255$/ }],
  ['with a status that is not used yet', 'exit 9', { code: 'EIO', message: /status 9$/ }],
  ['with no', 'exit 3', { code: 'EIO', message: /expected 512 bytes, got false/ }],
  ['with too few bytes', 'printf 1234', { code: 'EIO', message: /expected 512 bytes, got 4/ }],
  ['without a byte', 'exit 0', { code: 'EIO', message: /expected 512 bytes, got 0/ }],
  ['with too many bytes', 'head -c 513 /dev/zero', { code: 'EIO', message: /it printed 513 bytes or more/ }],
  ['by a flood', 'cat /dev/zero', { code: 'EIO', message: /bytes or more, and was killed/ }],
  ['by a signal', 'kill -SEGV $$', { code: 'EIO', message: /it was killed by SIGSEGV/ }],
  ['with many lines', `printf 'a\\nb\\n' >&2; exit 1`, { code: 'EIO', message: /^a; b$/ }],
]
for (const [what, pread, expected] of failures)
  test(`sh tells of a read that ends ${what}, and goes on`, async (t) => {
    const { script } = await cases(t, { pread: `[ "$4" -gt 0 ] && exec head -c "$3" /dev/zero\n${pread}` })
    const device = await openDevice(sh({ script }))
    await assert.rejects(readBytes(device, 0, 512), expected)
    assert.equal((await readBytes(device, 512, 512)).length, 512)
    await device.close()
  })

test('sh tells of a script that is gone, or cannot be executed any more', async (t) => {
  const { script } = await cases(t, {})
  const device = await openDevice(sh({ script }))
  await rm(script)
  await assert.rejects(readBytes(device, 0, 512), {
    code: 'EIO',
    message: /cannot be run: there is no program/,
  })
  await writeFile(script, '', { mode: 0o755 })
  await assert.rejects(readBytes(device, 0, 512), { code: 'EIO' })
  await device.close()
})

test('sh gives a write that its script does not read to it all the same', async (t) => {
  const { script } = await cases(t, { can_write: '', pwrite: 'exec < /dev/null' })
  const device = await openDevice(sh({ script }))
  await device.write(0, Buffer.alloc(65536), { fua: false })
  await device.close()
})

test('sh gives scripts pipes, which can be opened by their names', async (t) => {
  const { script, lines } = await cases(t, {
    can_write: '',
    pread: 'head -c "$3" /dev/zero > /dev/stdout',
    pwrite: 'cat /dev/stdin | wc -c >> $log',
  })
  const device = await openDevice(sh({ script }))
  assert.equal((await readBytes(device, 0, 4096)).length, 4096)
  await device.write(0, Buffer.alloc(40_000), { fua: false })
  assert.deepEqual(lines(), ['40000'])
  await device.close()
})

const refusals: [what: string, methods: Readonly<Record<string, string>>, message: RegExp][] = [
  ['load fails', { load: 'echo no >&2; exit 1' }, /script.sh: load: no$/],
  ['config refuses', { config: 'echo "EINVAL no $2" >&2; exit 1' }, /script.sh: config: no key$/],
  ['there is no config', {}, /unknown parameter "key": it has no method "config"/],
  ['config_complete fails', { config: '', config_complete: 'exit 1' }, /config_complete: .* status 1$/],
  ['get_ready fails', { config: '', get_ready: 'echo not yet >&2; exit 1' }, /get_ready: not yet$/],
  ['after_fork fails', { config: '', after_fork: 'exit 1' }, /after_fork: /],
]
for (const [what, methods, message] of refusals)
  test(`sh does not start where ${what}`, async (t) => {
    const { script } = await cases(t, methods)
    await assert.rejects(openDevice(sh({ script, settings: [['key', 'value']] })), {
      name: 'ConfigError',
      message,
    })
  })

test('sh does not start without a script that can be executed', async (t) => {
  const { script, directory } = await newScript(t, '')
  await writeFile(join(directory, 'plain'), '', { mode: 0o644 })
  const wrong: [script: string, message: RegExp][] = [
    ['', /the name of the script is empty/],
    [`${script}.gone`, /there is no such file$/],
    [directory, /it is not a file/],
    [join(directory, 'plain'), /is not executable: make it so with "chmod \+x/],
  ]
  for (const [name, message] of wrong)
    await assert.rejects(openDevice(sh({ script: name })), { name: 'ConfigError', message }, name)
})

test('sh does not start with a bare word that has no key', async (t) => {
  const { script } = await cases(t, { config: '' })
  await assert.rejects(openDevice(sh({ script, settings: [[undefined, 'word']] })), {
    message: /"word": it takes no bare word/,
  })
})

test('sh does not open where an answer makes no sense', async (t) => {
  const wrong: [Readonly<Record<string, string>>, RegExp][] = [
    [{ get_size: 'exit 2' }, /get_size: there is no such method/],
    [{ get_size: 'echo big' }, /get_size: could not parse size "big"/],
    [{ open: 'echo "EPERM go away" >&2; exit 1' }, /^go away$/],
    [{ can_fua: 'echo maybe', can_write: '' }, /can_fua: expected none, emulate or native/],
    [{ can_write: 'echo no >&2; exit 1' }, /^no$/],
  ]
  for (const [methods, message] of wrong) {
    const { script, lines } = await cases(t, { close: 'echo closed >> $log', ...methods })
    await assert.rejects(openDevice(sh({ script })), { message })
    // The opened handle is closed again.
    assert.deepEqual(lines(), methods.open ? [] : ['closed'])
  }
})

test('sh removes its directory when it ends, and when it could not begin', async (t) => {
  const { script, lines } = await cases(t, { load: 'echo $tmpdir >> $log', config: 'exit 1' })
  const device = await openDevice(sh({ script }))
  await device.close()
  await assert.rejects(openDevice(sh({ script, settings: [['a', 'b']] })))
  assert.equal(lines().length, 2)
  for (const directory of lines()) assert.equal(existsSync(directory), false, directory)
})

const request: OpenRequest = { exportName: '', readOnly: false, tls: false, connection: noConnection }
const context = { ...noServer, log: silentLog }

test('sh lists exports as its script prints them', async (t) => {
  const { script } = await cases(t, {
    list_exports: `printf 'INTERLEAVED\\na\\nfirst\\n'; [ "$2 $3" = 'false false' ]`,
    default_export: 'printf "a\\nb\\n"',
  })
  const instance = await sh.definition.setup({ script, coprocess: false, settings: [] }, context)
  assert.deepEqual(await instance.exports?.(request), [{ name: 'a', description: 'first' }])
  assert.equal(await instance.defaultExport?.(request), 'a')
  await instance.close?.()
})

test('sh keeps the thread model that its script prints', async (t) => {
  const models = { 'echo parallel': 'parallel', 'exit 2': 'serialize-all-requests', 'echo a': undefined }
  for (const [thread_model, expected = 'serialize-all-requests'] of Object.entries(models)) {
    const { script } = await cases(t, { thread_model })
    const instance = await sh.definition.setup({ script, coprocess: false, settings: [] }, context)
    assert.equal(instance.concurrency, expected)
    await instance.close?.()
  }
})

test('sh refuses a client where preconnect fails', async (t) => {
  const { script } = await cases(t, { preconnect: '[ "$2" = true ] || exit 1' })
  const instance = await sh.definition.setup({ script, coprocess: false, settings: [] }, context)
  await assert.rejects(async () => instance.accept?.(noConnection), /status 1$/)
  await instance.close?.()
})

test('sh kills a script that hangs when its client is dropped, with what it started', async (t) => {
  const { script, lines } = await cases(t, {
    pread: 'echo $$ >> $log; sleep 1000',
    close: 'echo closed >> $log',
  })
  const server = createServer({ plugin: sh({ script }) })
  const { client, connection } = await connectTo(server)
  client.sendRequest({ type: NBD_CMD_READ, length: 512 })
  while (lines().length === 0) await sleep(5)
  connection.disconnect(true)
  await connection.closed
  const [pid, closed] = lines()
  assert.equal(closed, 'closed')
  const processes = spawnSync('ps', ['-eo', 'pgid=,stat=,args='], { encoding: 'utf8' }).stdout
  // Dead processes may wait for another parent to reap them.
  const alive = processes.split('\n').filter((line) => new RegExp(`^ *${pid} +[^Z]`).test(line))
  assert.deepEqual(alive, [])
  await server.shutdown()
})

const hasProc = { skip: existsSync('/proc/self/fd') ? false : 'there is no /proc to look into' }

test('sh leaves neither descriptors nor processes behind, however scripts end', hasProc, async (t) => {
  const pread =
    'case "$4" in 0) exit 1;; 512) kill -9 $$;; 1024) cat /dev/zero;; 1536) printf 1;; esac; head -c "$3" /dev/zero'
  const { script } = await cases(t, { can_write: '', pwrite: 'exec < /dev/null', pread })
  const device = await openDevice(sh({ script }))
  const descriptors = () => readdirSync('/proc/self/fd').length
  const touch = async () => {
    for (const offset of [0, 512, 1024, 1536]) await assert.rejects(readBytes(device, offset, 512))
    await readBytes(device, 2048, 512)
    await device.write(0, Buffer.alloc(65536), { fua: false })
  }
  await touch()
  const before = descriptors()
  for (let round = 0; round < 5; round++) await touch()
  // Descriptors may close a moment later.
  for (let waits = 0; descriptors() > before && waits < 100; waits++) await sleep(10)
  assert.equal(descriptors(), before)
  const children = spawnSync('ps', ['-o', 'stat=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
  assert.deepEqual(
    children.stdout.split('\n').filter((line) => !/ps -o|^$/.test(line)),
    [],
  )
  await device.close()
})

test('sh runs as many scripts at once as there are requests on the way, without a warning', async (t) => {
  const { script } = await cases(t, { thread_model: 'echo parallel' })
  const warnings: Error[] = []
  const warn = (warning: Error) => warnings.push(warning)
  process.on('warning', warn)
  t.after(() => process.off('warning', warn))
  const connection = { ...noConnection, signal: new AbortController().signal }
  const device = await openDevice(sh({ script }), [], { connection })
  await Promise.all(Array.from({ length: 16 }, (_, index) => readBytes(device, index * 512, 512)))
  await device.close()
  assert.deepEqual(warnings, [])
})
