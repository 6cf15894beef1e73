/** A file system with a real tree of files in it goes through our servers, and is sound where it arrives. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { packageRoot } from '../programs.js'
import { assertSame, fio, needs, output, serve, temporary } from './helpers.js'

const mebibyte = 2 ** 20

/** An ext4 image of 64 MiB with our own sources in it. */
async function makeImage(t: TestContext): Promise<string> {
  const directory = temporary(t)
  const [tree, image] = [join(directory, 'tree'), join(directory, 'tree.img')]
  mkdirSync(tree)
  cpSync(join(packageRoot, 'src'), join(tree, 'src'), { recursive: true })
  writeFileSync(join(tree, 'a name with spaces and ü'), 'text\n')
  writeFileSync(join(tree, 'sparse'), 'begin')
  truncateSync(join(tree, 'sparse'), 8 * mebibyte)
  symlinkSync('src/index.ts', join(tree, 'link'))
  await output('mke2fs', ['-q', '-t', 'ext4', '-d', tree, image, '64M'])
  await assertSound(image)
  return image
}

/** It has no errors, and the files are in it. */
async function assertSound(image: string): Promise<void> {
  const report = await output('e2fsck', ['-f', '-n', image])
  const files = /: (\d+)\/\d+ files/.exec(report)?.[1]
  assert.ok(Number(files) > 50, report)
}

test(
  'a file system served by file is copied out, converted and back, next to a disk under load',
  needs('mke2fs', 'e2fsck', 'nbdcopy', 'qemu-img', 'fio'),
  async (t) => {
    const original = await makeImage(t)
    const served = temporary(t)
    cpSync(original, join(served, 'tree'))
    writeFileSync(join(served, 'scratch'), Buffer.alloc(64 * mebibyte))
    const server = await serve(t, 'file', `dir=${served}`)
    const [tree, scratch] = ['tree', 'scratch'].map((name) => server.uri.replace(':///', `:///${name}`))
    assert.ok(tree && scratch)
    const [copy, qcow2, back] = ['copy', 'qcow2', 'back'].map((name) => join(temporary(t), name))
    assert.ok(copy && qcow2 && back)

    const load = fio(scratch, '--rw=randrw', '--bs=4k', '--iodepth=16', '--size=32m')
    await output('nbdcopy', [tree, copy])
    await output('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tree, qcow2])
    await output('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, tree])
    await output('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', tree, back])
    await load

    await server.stop()
    for (const image of [copy, back, join(served, 'tree')]) {
      assertSame(readFileSync(image), readFileSync(original), image)
      await assertSound(image)
    }
  },
)

test(
  'a file system goes into memory and out again, also over four connections',
  needs('mke2fs', 'e2fsck', 'nbdcopy'),
  async (t) => {
    const original = await makeImage(t)
    const server = await serve(t, 'memory', '64M')
    for (const connections of ['1', '4']) {
      const copy = join(temporary(t), 'copy')
      await output('nbdcopy', ['--flush', `--connections=${connections}`, original, server.uri])
      await output('nbdcopy', [`--connections=${connections}`, server.uri, copy])
      assertSame(readFileSync(copy), readFileSync(original), 'the copy')
      await assertSound(copy)
    }
  },
)

test(
  'a file system inside of a larger file is replaced through three filters, and nothing around it changes',
  needs('mke2fs', 'e2fsck', 'nbdcopy'),
  async (t) => {
    const original = readFileSync(await makeImage(t))
    const directory = temporary(t)
    const [file, source, copy, log] = ['file', 'source', 'copy', 'log'].map((name) => join(directory, name))
    assert.ok(file && source && copy && log)
    const around = [Buffer.alloc(mebibyte, 0xa5), Buffer.alloc(4096, 0x5a)] as const
    writeFileSync(file, Buffer.concat([around[0], Buffer.alloc(original.length, 0xff), around[1]]))
    writeFileSync(source, original)
    const filters = ['--filter=log', '--filter=delay', '--filter=offset']
    const values = ['offset=1M', 'range=64M', 'delay-read=1ms', 'delay-write=1ms', `logfile=${log}`]
    const server = await serve(t, ...filters, 'file', file, ...values)

    await output('nbdcopy', ['--flush', source, server.uri])
    await output('nbdcopy', [server.uri, copy])
    await server.stop()

    assertSame(readFileSync(copy), original, 'the copy')
    await assertSound(copy)
    assertSame(
      readFileSync(file),
      Buffer.concat([around[0], original, around[1]]),
      'the file that was served',
    )
    assert.match(readFileSync(log, 'utf8'), / Write id=\d+ offset=0x0 count=/)
  },
)
