/** fio writes patterns with checksums and reads them back (its engine is libnbd). */
import assert from 'node:assert/strict'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fio, needs, serve, temporary } from './helpers.js'

const jobs: [what: string, ...options: string[]][] = [
  ['4 KiB at random, 16 in flight', '--rw=randwrite', '--bs=4k', '--iodepth=16', '--size=16m'],
  ['reads and writes at random, 64 in flight', '--rw=randrw', '--bs=4k', '--iodepth=64', '--size=16m'],
  ['one after the other, 256 KiB', '--rw=write', '--bs=256k', '--iodepth=16', '--size=64m'],
  ['one in flight', '--rw=randwrite', '--bs=4k', '--iodepth=1', '--size=2m'],
  [
    'sizes that are no block',
    '--rw=randwrite',
    '--bsrange=512-64k',
    '--bs_unaligned',
    '--iodepth=16',
    '--size=8m',
  ],
  [
    'on four connections, each to a quarter',
    ...['--rw=randwrite', '--bs=4k', '--iodepth=16', '--numjobs=4', '--size=4m', '--offset_increment=16m'],
  ],
]

for (const plugin of ['memory', 'file'])
  describe(`fio verifies what it wrote to ${plugin}`, () => {
    for (const [what, ...options] of jobs)
      test(what, needs('fio'), async (t) => {
        const server = await serve(t, ...emptyDisk(t, plugin))
        await fio(server.uri, ...options)
      })
  })

test('fio notices that null forgets what it is given', needs('fio'), async (t) => {
  const server = await serve(t, 'null', '64M')
  await assert.rejects(fio(server.uri, '--rw=write', '--bs=4k', '--size=1m'), /verify/)
})

test('fio verifies what it wrote through filters that wait and write a log', needs('fio'), async (t) => {
  const log = join(temporary(t), 'log')
  const filters = ['--filter=log', '--filter=delay', '--filter=offset']
  const args = ['memory', '65M', 'offset=1M', `logfile=${log}`, 'rdelay=1ms', 'wdelay=1ms']
  const server = await serve(t, ...filters, ...args)
  await fio(server.uri, '--rw=randrw', '--bs=4k', '--iodepth=64', '--size=8m')
})

function emptyDisk(t: TestContext, plugin: string): string[] {
  if (plugin === 'memory') return ['memory', '64M']
  const image = join(temporary(t), 'image')
  writeFileSync(image, '')
  truncateSync(image, 64 * 2 ** 20)
  return ['file', image]
}
