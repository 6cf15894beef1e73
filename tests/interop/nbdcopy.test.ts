/** Disks copied in and out by libnbd's nbdcopy, and compared bit for bit. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { assertSame, needs, output, pattern, serve, temporary } from './helpers.js'

const mebibyte = 2 ** 20

/** Data, holes of some pages and one of megabytes, and data at the end. */
const disk = pattern(
  24 * mebibyte,
  (page) => page % 7 === 3 || (page >= 1000 && page < 3000) || (page >= 5000 && page % 64 < 32),
)

/** Each copies the same disk in and out again. */
const ways: [what: string, ...options: string[]][] = [
  ['on one connection', '--connections=1'],
  ['on four connections', '--connections=4'],
  ['on one connection, 4 KiB at a time', '--connections=1', '--request-size=4096'],
  ['on four connections, 4 KiB at a time', '--connections=4', '--request-size=4096'],
  ['on one connection, 32 MiB at a time', '--connections=1', '--request-size=33554432'],
  [
    'on four connections, 1 MiB at a time, 64 at once',
    '--connections=4',
    '--request-size=1048576',
    '--requests=64',
  ],
  ['without asking for extents', '--no-extents'],
  ['writing zeroes as data', '--allocated'],
  ['one request after the other', '--synchronous'],
]

for (const plugin of ['memory', 'file'])
  describe(`nbdcopy copies in and out of ${plugin}`, { concurrency: 2 }, () => {
    for (const [what, ...options] of ways)
      test(what, needs('nbdcopy'), async (t) => {
        const directory = temporary(t)
        const [source, copy] = [join(directory, 'source'), join(directory, 'copy')]
        writeFileSync(source, disk)
        const { uri } = await serve(t, ...target(t, plugin, disk.length))
        await output('nbdcopy', ['--flush', ...options, source, uri])
        await output('nbdcopy', [...options, uri, copy])
        assertSame(readFileSync(copy), disk, what)
      })
  })

function target(t: TestContext, plugin: string, size: number): string[] {
  if (plugin === 'memory') return ['memory', String(size)]
  const image = join(temporary(t), 'image')
  writeFileSync(image, '')
  truncateSync(image, size)
  return ['file', image]
}

for (const plugin of ['memory', 'file'])
  test(`nbdcopy copies in and out of ${plugin}, served by three threads`, needs('nbdcopy'), async (t) => {
    const directory = temporary(t)
    const [source, copy] = [join(directory, 'source'), join(directory, 'copy')]
    writeFileSync(source, disk)
    const { uri } = await serve(t, '--workers=3', ...target(t, plugin, disk.length))
    await output('nbdcopy', ['--flush', '--connections=4', source, uri])
    await output('nbdcopy', ['--connections=4', uri, copy])
    assertSame(readFileSync(copy), disk, 'the copy')
  })

test(
  'nbdcopy copies from one of our servers to another, four connections each',
  needs('nbdcopy'),
  async (t) => {
    const image = join(temporary(t), 'image')
    writeFileSync(image, disk)
    const source = await serve(t, '-r', 'file', image)
    const target = await serve(t, 'memory', String(disk.length))
    const copy = join(temporary(t), 'copy')
    await output('nbdcopy', ['--connections=4', source.uri, target.uri])
    await output('nbdcopy', [target.uri, copy])
    assertSame(readFileSync(copy), disk, 'the copy of the copy')
  },
)

test('nbdcopy overwrites what was there, also where the new disk has holes', needs('nbdcopy'), async (t) => {
  const directory = temporary(t)
  const [before, after, copy] = ['before', 'after', 'copy'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(before, Buffer.alloc(disk.length, 0xaa))
  writeFileSync(after, disk)
  const { uri } = await serve(t, 'memory', String(disk.length))
  for (const source of [before, after]) await output('nbdcopy', [source, uri])
  await output('nbdcopy', [uri, copy])
  assertSame(readFileSync(copy), disk, 'the second disk')
})

test('nbdcopy copies a disk whose size is no multiple of a block', needs('nbdcopy'), async (t) => {
  const directory = temporary(t)
  const [source, copy] = [join(directory, 'source'), join(directory, 'copy')]
  const odd = disk.subarray(0, 1234567)
  writeFileSync(source, odd)
  const { uri } = await serve(t, 'memory', String(odd.length))
  await output('nbdcopy', [source, uri])
  await output('nbdcopy', [uri, copy])
  assertSame(readFileSync(copy), odd, 'the copy')
})

test('nbdcopy without structured replies gets the same bytes', needs('nbdcopy'), async (t) => {
  const directory = temporary(t)
  const [source, copy] = [join(directory, 'source'), join(directory, 'copy')]
  writeFileSync(source, disk)
  const { uri } = await serve(t, '--no-sr', 'file', source)
  await output('nbdcopy', [uri, copy])
  assertSame(readFileSync(copy), disk, 'the copy')
})
