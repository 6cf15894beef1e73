/** qemu as a client: with the headers that Debian's speaks, and with extended ones. */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import {
  assertSame,
  needs,
  needsNewQemu,
  output,
  pattern,
  type Serving,
  serve,
  temporary,
} from './helpers.js'

const mebibyte = 2 ** 20
const NBD_OPT_EXTENDED_HEADERS = 11
const disk = pattern(
  24 * mebibyte,
  (page) => page % 5 === 2 || (page >= 1000 && page < 3000) || (page > 5000 && page % 64 < 32),
)

/** That the client asked for extended headers, and was not refused. */
function assertExtended(server: Serving, expected: boolean): void {
  const option = `option ${NBD_OPT_EXTENDED_HEADERS}`
  assert.equal(server.log().includes(`${option}, 0 bytes`), expected, server.log())
  assert.ok(!server.log().includes(`${option} refused`), server.log())
}

for (const { name, needed, newQemu } of [
  { name: "Debian's own qemu", needed: needs('qemu-img', 'qemu-io'), newQemu: false },
  { name: 'qemu with extended headers', needed: needsNewQemu(), newQemu: true },
])
  describe(name, () => {
    const qemuImg = (...args: string[]) => output('qemu-img', args, { newQemu })
    const qemuIo = (format: string, uri: string, ...commands: string[]) =>
      output('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), uri], { newQemu })

    for (const plugin of ['memory', 'file'])
      test(`qemu-img converts into ${plugin}, from there to qcow2 and back`, needed, async (t) => {
        const directory = temporary(t)
        const [source, qcow2, back] = files(directory, 'source', 'qcow2', 'back')
        writeFileSync(source, disk)
        const server = await serve(t, ...emptyDisk(t, plugin, disk.length))
        await qemuImg('convert', '-n', '-W', '-m', '16', '-f', 'raw', '-O', 'raw', source, server.uri)
        await qemuImg('compare', '-f', 'raw', '-F', 'raw', source, server.uri)
        await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', server.uri, qcow2)
        await qemuImg('compare', '-f', 'raw', '-F', 'qcow2', server.uri, qcow2)
        await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', qcow2, back)
        assertSame(readFileSync(back), disk, 'the disk that came back')
        if (newQemu) assertExtended(server, true)
      })

    test('qemu-img compare sees one byte that differs', needed, async (t) => {
      const [source] = files(temporary(t), 'source')
      writeFileSync(source, disk)
      const server = await serve(t, 'memory', String(disk.length))
      await qemuImg('convert', '-n', '-f', 'raw', '-O', 'raw', source, server.uri)
      await qemuIo('raw', server.uri, 'write -P 0xee 23000001 1')
      await assert.rejects(
        qemuImg('compare', '-f', 'raw', '-F', 'raw', source, server.uri),
        /Content mismatch at offset 22999552/,
      )
    })

    test('qemu-io writes, zeroes, discards and reads patterns', needed, async (t) => {
      const server = await serve(t, 'memory', '64M')
      await qemuIo(
        'raw',
        server.uri,
        'write -P 0x5a 1M 2M',
        'write -z 2M 64k',
        'write -z -u 0 512',
        'write -f -P 0x33 4M 4k',
        'read -P 0x5a 1M 1M',
        'read -P 0 2M 64k',
        'read -P 0x5a 2162688 983040',
        'read -P 0x33 4M 4k',
        'discard 1M 1M',
        'write -P 0x77 64k 40M',
        'read -P 0x77 64k 40M',
        'write -P 1 67108863 1',
        'read -P 1 67108863 1',
        'flush',
      )
    })

    test('qemu-io has many requests in flight', needed, async (t) => {
      const server = await serve(t, 'memory', '64M')
      const places = Array.from({ length: 40 }, (_, index) => index)
      await qemuIo(
        'raw',
        server.uri,
        ...places.map((place) => `aio_write -q -P ${place + 1} ${place}M 1M`),
        'aio_flush',
        ...places.map((place) => `aio_read -q -P ${place + 1} ${place}M 1M`),
        'aio_flush',
      )
    })

    test('a qcow2 image lives on our disk, and is sound', needed, async (t) => {
      const server = await serve(t, 'memory', '64M')
      await qemuImg('create', '-f', 'qcow2', server.uri, '40M')
      await qemuIo(
        'qcow2',
        server.uri,
        'write -P 9 0 8M',
        'write -z 1M 1M',
        'discard 4M 1M',
        'write -P 8 30M 1M',
      )
      await qemuIo('qcow2', server.uri, 'read -P 9 0 1M', 'read -P 0 1M 1M', 'read -P 8 30M 1M')
      assert.match(await qemuImg('check', '-f', 'qcow2', server.uri), /No errors were found/)
    })
  })

test('extended headers carry more than 4 GiB in one request', needsNewQemu(), async (t) => {
  const logFile = join(temporary(t), 'log')
  const server = await serve(t, '--filter=log', 'memory', '64G', `logfile=${logFile}`)
  const newQemu = true
  const map = await output('qemu-img', ['map', '-f', 'raw', '--output=json', server.uri], { newQemu })
  assert.deepEqual(
    (JSON.parse(map) as { start: number; length: number; zero: boolean }[]).map(({ start, length, zero }) => {
      return { start, length, zero }
    }),
    [{ start: 0, length: 64 * 2 ** 30, zero: true }],
  )
  await output('qemu-io', ['-f', 'raw', '-c', 'write -z -n 1G 6G', server.uri], { newQemu })
  assertExtended(server, true)
  // On a slow disk lines are written some time after the request.
  await server.stop()
  const log = readFileSync(logFile, 'utf8')
  assert.match(log, /Extents id=\d+ offset=0x0 count=0x1000000000 /)
  assert.match(log, /Zero id=\d+ offset=0x40000000 count=0x180000000 /)
})

test('without extended headers qemu splits what is longer', needsNewQemu(), async (t) => {
  const logFile = join(temporary(t), 'log')
  const server = await serve(t, '--no-sr', '--filter=log', 'memory', '64G', `logfile=${logFile}`)
  await output('qemu-io', ['-f', 'raw', '-c', 'write -z -n 1G 6G', server.uri], { newQemu: true })
  assert.ok(server.log().includes(`option ${NBD_OPT_EXTENDED_HEADERS} refused`), server.log())
  await server.stop()
  const zeroes = readFileSync(logFile, 'utf8').matchAll(/Zero id=\d+ offset=0x\w+ count=(0x\w+) /g)
  const counts = [...zeroes].map(([, count]) => Number(count))
  assert.ok(counts.length > 1 && counts.every((count) => count < 2 ** 32), String(counts))
  assert.equal(
    counts.reduce((total, count) => total + count, 0),
    6 * 2 ** 30,
  )
})

/** Paths in a directory, as many as are asked for. */
function files<const Names extends readonly string[]>(
  directory: string,
  ...names: Names
): { [K in keyof Names]: string } {
  return names.map((name) => join(directory, name)) as { [K in keyof Names]: string }
}

function emptyDisk(t: TestContext, plugin: string, size: number): string[] {
  if (plugin === 'memory') return ['memory', String(size)]
  const image = join(temporary(t), 'image')
  writeFileSync(image, Buffer.alloc(size))
  return ['file', image]
}
