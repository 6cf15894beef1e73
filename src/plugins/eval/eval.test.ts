import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import evalPlugin from './eval.js'

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-eval-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

const zeroes = { get_size: 'echo 64k', pread: 'head -c $3 /dev/zero' }

test('eval serves what its scripts read and write, and knows what they can do', async () => {
  const device = await openDevice(
    evalPlugin({
      get_ready: 'truncate -s 64k $tmpdir/disk',
      get_size: 'stat -c %s $tmpdir/disk',
      pread: 'dd if=$tmpdir/disk skip=$4 count=$3 iflag=skip_bytes,count_bytes status=none',
      pwrite: 'dd of=$tmpdir/disk seek=$4 conv=notrunc oflag=seek_bytes status=none',
      flush: 'sync $tmpdir/disk',
    }),
  )
  const { write, flush, trim, fua, zero } = device.can
  assert.deepEqual(
    { write, flush, trim, fua, zero },
    {
      ...{ write: true, flush: true, trim: false },
      ...{ fua: 'emulate', zero: 'emulate' },
    },
  )
  await deviceContract(device, { steps: 20 })
  await device.close()
})

test('eval lets a script say that something is not to be done', async () => {
  const scripts = { ...zeroes, pwrite: '', can_write: 'exit 3' }
  const device = await openDevice(evalPlugin(scripts))
  assert.equal(device.can.write, false)
  await device.close()
})

test('eval gives each other key to config, and a bare word to the key that is printed for it', async (t) => {
  const log = join(await newDirectory(t), 'log')
  const device = await openDevice(
    evalPlugin({
      ...zeroes,
      config: `echo "$1 $2 $3" >> ${log}`,
      magic_config_key: 'echo bare',
      settings: [
        ['a', 'b c'],
        [undefined, 'word'],
      ],
    }),
  )
  await device.close()
  assert.equal(await readFile(log, 'utf8'), 'config a b c\nconfig bare word\n')
})

test('eval calls the script for all others where none is given', async (t) => {
  const log = join(await newDirectory(t), 'log')
  const missing = `echo $1 >> ${log}; case $1 in get_size) echo 512;; *) exit 2;; esac`
  const device = await openDevice(evalPlugin({ pread: zeroes.pread, missing }))
  assert.equal(device.size, 512)
  assert.equal((await readBytes(device, 0, 512)).length, 512)
  await device.close()
  const asked = (await readFile(log, 'utf8')).split('\n')
  assert.ok(asked.includes('config_complete') && asked.includes('can_write') && asked.includes('unload'))
  assert.ok(!asked.includes('pread'))
})

test('eval does not start without get_size', async () => {
  await assert.rejects(openDevice(evalPlugin({ pread: '' })), {
    message: 'eval: get_size=SCRIPT is required',
  })
})

test('eval starts without pread, and reads say that there is none', async () => {
  const device = await openDevice(evalPlugin({ get_size: 'echo 1M' }))
  assert.equal(device.size, 2 ** 20)
  await assert.rejects(readBytes(device, 0, 512), {
    code: 'EIO',
    message: 'pread: the plugin has no such method',
  })
  await device.close()
})

test('eval does not start where config is missing, or refuses', async () => {
  const settings = [['file', 'x']] as const
  await assert.rejects(openDevice(evalPlugin({ ...zeroes, settings })), {
    name: 'ConfigError',
    message: 'eval: unknown parameter "file": it has no method "config"',
  })
  await assert.rejects(openDevice(evalPlugin({ ...zeroes, settings, config: 'echo bad >&2; exit 1' })), {
    name: 'ConfigError',
    message: 'eval: config: bad',
  })
})

test('eval removes its directory when it ends', async (t) => {
  const log = join(await newDirectory(t), 'log')
  const device = await openDevice(evalPlugin({ ...zeroes, unload: `echo $tmpdir > ${log}` }))
  await device.close()
  const directory = (await readFile(log, 'utf8')).trim()
  assert.match(directory, /nbdkiteval/)
  assert.equal(existsSync(directory), false)
})
