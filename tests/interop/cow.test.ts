/** Changes to a disk behind cow, as libnbd and qemu see them, beside the filter of nbdkit. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { needs, output, serve, serveWithNbdkit, temporary } from './helpers.js'

/** Writes and trims blocks, parts of blocks and the end of the disk. Prints a hash, and what is a hole. */
const script = `
import hashlib, json, nbd
h = nbd.NBD()
h.set_strict_mode(0)
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(URI)
block, size = BLOCK, h.get_size()
h.trim(block, block)
h.trim(3 * block - 2, block + 2)
h.pwrite(b"1" * block, 16 * block)
h.pwrite(b"2" * 100, 20 * block - 50)
h.trim(2 * block, 32 * block)
h.pwrite(b"3" * (2 * block), 48 * block)
h.pwrite(b"4", size - 1)
h.flush()
runs = []
def note(context, offset, entries, error):
    for length, flags in zip(entries[::2], entries[1::2]):
        if runs and runs[-1][1] == flags: runs[-1][0] += length
        else: runs.append([length, flags])
at = 0
while at < size:
    h.block_status(size - at, at, note)
    at = sum(length for length, _ in runs)
print(json.dumps({"bytes": hashlib.sha256(h.pread(size, 0)).hexdigest(), "runs": runs}))
h.shutdown()
`

async function changed(
  t: TestContext,
  start: typeof serve,
  block: number,
  args: readonly string[],
): Promise<unknown> {
  const server = await start(t, ...args)
  const input = script.replace('URI', JSON.stringify(server.uri)).replace('BLOCK', String(block))
  const seen = JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
  await server.stop()
  return seen
}

describe('a disk behind cow', { concurrency: 2 }, () => {
  for (const [block, ...disk] of [
    [65536, 'pattern', '4M'],
    [4096, 'pattern', '300000', 'cow-block-size=4k'],
    [65536, 'data', '@0 (1)*131072 @4194304'],
    [65536, 'memory', '4200000'],
  ] as const)
    test(
      `has the bytes and holes that nbdkit's has: ${disk.join(' ')}`,
      needs('nbdkit', 'nbdsh'),
      async (t) => {
        const args = ['--filter=cow', ...disk]
        assert.deepEqual(await changed(t, serve, block, args), await changed(t, serveWithNbdkit, block, args))
      },
    )

  test('takes a file system of qemu-io, and the image stays as it is', needs('qemu-io'), async (t) => {
    const image = join(temporary(t), 'disk.img')
    writeFileSync(image, Buffer.alloc(2 ** 20, 'a'))
    const hash = () => createHash('sha256').update(readFileSync(image)).digest('hex')
    const before = hash()
    const server = await serve(t, '--filter=cow', 'file', image)
    const commands = [
      'write -P 7 1000 70000',
      'read -P 7 1000 70000',
      'write -z 200k 100k',
      'read -P 0 200k 100k',
    ]
    const more = ['discard 0 64k', 'flush', 'read -P 0x61 400k 100k']
    const words = [...commands, ...more].flatMap((command) => ['-c', command])
    const printed = await output('qemu-io', ['-f', 'raw', ...words, server.uri])
    assert.doesNotMatch(printed, /failed|error/i)
    await server.stop()
    assert.equal(hash(), before)
  })
})
