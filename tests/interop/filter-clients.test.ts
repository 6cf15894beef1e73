/** Filters that change what a client is told or may do, seen by independent clients. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { assertSame, fio, needs, output, pattern, run, serve, serveWithNbdkit, temporary } from './helpers.js'
import { common, parsed, withoutBlockSizes } from './nbdinfo.js'

/** Runs a script of libnbd's shell on a server. The script has a handle `h` that is connected. */
async function nbdsh(uri: string, script: string): Promise<unknown> {
  const connected = `import json, nbd\nh = nbd.NBD()\nh.set_strict_mode(0)\nh.connect_uri(${JSON.stringify(uri)})`
  const input = `${connected}\n${script}\nh.shutdown()\n`
  return JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
}

async function served(t: TestContext, words: readonly string[], script: string): Promise<unknown> {
  const server = await serve(t, ...words)
  const seen = await nbdsh(server.uri, script)
  await server.stop()
  return seen
}

describe('rotational', needs('nbdsh'), () => {
  for (const [value, expected] of [
    ['true', true],
    ['false', false],
  ] as const)
    test(`rotational=${value} is what libnbd sees`, async (t) => {
      const words = ['--filter=rotational', 'memory', '1M', `rotational=${value}`]
      assert.equal(await served(t, words, 'print(json.dumps(h.is_rotational()))'), expected)
    })
})

describe('openonce', needs('nbdinfo', 'nbdsh'), () => {
  test('opens one disk for clients that come one after the other', async (t) => {
    const server = await serve(t, '--filter=openonce', 'example3')
    const size = Number(await output('nbdinfo', ['--size', server.uri]))
    assert.equal(await nbdsh(server.uri, 'h.pwrite(b"x" * 512, 0); print(h.get_size())'), size)
    assert.equal(await nbdsh(server.uri, 'print(json.dumps(h.pread(512, 0) == b"x" * 512))'), true)
    await server.stop()
    assert.equal(server.log().match(/example3: open /g)?.length, 1, server.log())
  })
})

describe('checkwrite', needs('nbdcopy', 'nbdsh', 'qemu-img'), () => {
  const words = ['--filter=checkwrite', 'data', '@32768 1 @0x100000 (2)*70000 @4194304']
  test('lets nbdcopy and qemu-img copy a disk onto itself', async (t) => {
    const { uri } = await serve(t, ...words)
    await output('nbdcopy', [uri, uri])
    await output('nbdcopy', ['--synchronous', '--destination-is-zero', uri, uri])
    await output('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', uri, uri])
  })

  test('finds a copy of other data', async (t) => {
    const { uri } = await serve(t, ...words)
    const other = await serve(t, 'data', '@32768 1 @0x100000 (2)*69999 3 @4194304')
    const { status, stderr } = await run('nbdcopy', [other.uri, uri])
    assert.notEqual(status, 0)
    assert.match(stderr, /Input\/output error/)
  })
})

describe('xor', needs('nbdcopy', 'nbdsh', 'fio'), () => {
  for (const key of [['xor=0x123456', 'xorlen=3'], ['xor=rand:5']])
    test(`${key.join(' ')} hides what nbdcopy writes, and shows it again`, async (t) => {
      const directory = temporary(t)
      const [original, hidden, copy] = ['original', 'hidden', 'copy'].map((name) =>
        join(directory, name),
      ) as [string, string, string]
      const bytes = pattern(1_000_003, (page) => page % 3 === 0)
      writeFileSync(original, bytes)
      writeFileSync(hidden, Buffer.alloc(bytes.length))
      const server = await serve(t, '--filter=xor', 'file', hidden, ...key)
      await output('nbdcopy', [original, server.uri])
      await server.stop()
      assert.equal(readFileSync(hidden).includes(bytes.subarray(8192, 8256)), false)
      const again = await serve(t, '--filter=xor', 'file', hidden, ...key)
      await output('nbdcopy', [again.uri, copy])
      assertSame(readFileSync(copy), bytes, 'the copy')
    })

  test('a disk behind it keeps what fio writes', async (t) => {
    const { uri } = await serve(t, '--filter=xor', 'memory', '16M', 'xor=0x1234567', 'xorlen=5')
    await fio(uri, '--rw=randwrite', '--bsrange=512-128k', '--size=16m', '--iodepth=16')
  })
})

describe('map', needs('nbdcopy', 'fio'), () => {
  test('shows nbdcopy the ranges where the rules put them', async (t) => {
    const directory = temporary(t)
    const [original, copy] = [join(directory, 'original'), join(directory, 'copy')]
    const bytes = pattern(2 ** 20, (page) => page % 3 === 0)
    writeFileSync(original, bytes)
    const rules = ['map=0-65535:65536', 'map=0-131071:0', 'map=1000000-1000099:5']
    const { uri } = await serve(t, '--filter=map', 'file', original, ...rules)
    await output('nbdcopy', [uri, copy])
    const expected = Buffer.from(bytes)
    bytes.copy(expected, 0, 65536, 131_072)
    bytes.copy(expected, 1_000_000, 5, 105)
    assertSame(readFileSync(copy), expected, 'the copy')
  })

  test('keeps what fio writes to ranges that changed places', async (t) => {
    const rules = ['map=0-999999:8000000', 'map=8000000-8999999:0']
    const { uri } = await serve(t, '--filter=map', 'memory', '16M', ...rules)
    await fio(uri, '--rw=randwrite', '--bsrange=512-128k', '--size=16m', '--iodepth=16')
  })
})

describe('protect', needs('nbdsh', 'qemu-io'), () => {
  const words = ['--filter=protect', 'data', '@512 1', 'size=1M', 'protect=~512-1023']

  test('gives EPERM to libnbd, and only for what would change', async (t) => {
    const script = `
def outcome(request, *arguments):
    try:
        request(*arguments)
        return "done"
    except nbd.Error as error:
        return error.errno
same = h.pread(2048, 0)
print(json.dumps([
    outcome(h.pwrite, same, 0),
    outcome(h.pwrite, b"x" * 512, 512),
    outcome(h.pwrite, b"x" * 513, 511),
    outcome(h.zero, 2048, 0),
    outcome(h.zero, 513, 512),
    outcome(h.trim, 4096, 4096),
    h.pread(1, 511).hex() + h.pread(1, 1024).hex(),
]))`
    const expected = ['done', 'done', 'EPERM', 'done', 'done', 'done', '0000']
    assert.deepEqual(await served(t, words, script), expected)
  })

  test('lets qemu-io write only outside of the range', async (t) => {
    const { uri } = await serve(t, ...words)
    const write = (command: string) => run('qemu-io', ['-f', 'raw', '-c', command, uri])
    assert.match((await write('write -P 1 512 512')).stdout, /wrote 512/)
    assert.match((await write('write -P 1 1024 512')).stdout, /Operation not permitted/)
  })
})

describe('extentlist', needs('nbdkit', 'nbdinfo', 'qemu-img'), () => {
  const lists = {
    empty: '',
    'of one run': '0 1M',
    'with gaps, out of order': '7M 64k hole\n4096 4096 zero\n512k 1M hole,zero\n8k 1s 0\n',
    'that goes beyond the end': '4M 1G 0\n',
  }
  for (const [name, text] of Object.entries(lists))
    test(`a list ${name} is the same map for nbdinfo as from nbdkit`, async (t) => {
      const file = join(temporary(t), 'list')
      writeFileSync(file, text)
      const words = ['-r', '--filter=extentlist', 'memory', '8M', `extentlist=${file}`]
      const [ours, theirs] = [await serve(t, ...words), await serveWithNbdkit(t, ...words)]
      const map = (uri: string) => output('nbdinfo', ['--map', '--json', uri])
      assert.deepEqual(JSON.parse(await map(ours.uri)), JSON.parse(await map(theirs.uri)))
      const image = (uri: string) => output('qemu-img', ['map', '--output=json', '-f', 'raw', uri])
      assert.deepEqual(JSON.parse(await image(ours.uri)), JSON.parse(await image(theirs.uri)))
    })
})

describe('blocksize-policy', needs('nbdkit', 'nbdsh'), () => {
  const script = `
print(json.dumps([
    h.get_block_size(nbd.SIZE_MINIMUM),
    h.get_block_size(nbd.SIZE_PREFERRED),
    min(h.get_block_size(nbd.SIZE_MAXIMUM), 64 * 1024 * 1024),
]))`
  const options = [
    'blocksize-minimum=512',
    'blocksize-minimum=4K',
    'blocksize-preferred=512',
    'blocksize-preferred=32M',
    'blocksize-maximum=1M',
    'blocksize-minimum=8 blocksize-preferred=1k blocksize-maximum=2k',
  ]
  for (const given of options)
    test(`libnbd is told the same sizes by nbdkit, with ${given}`, async (t) => {
      const words = ['--filter=blocksize-policy', 'memory', '1M', ...given.split(' ')]
      const theirs = await serveWithNbdkit(t, ...words)
      assert.deepEqual(await served(t, words, script), await nbdsh(theirs.uri, script))
    })
})

describe('exportname', needs('nbdkit', 'nbdinfo'), () => {
  const script = `#!/bin/sh
case $1 in
list_exports) printf 'INTERLEAVED\\na\\nfirst\\nb\\nsecond\\nc\\n\\n' ;;
default_export) echo b ;;
open) echo "$3" ;;
export_description) echo "of $2" ;;
get_size) echo 1M ;;
pread) dd if=/dev/zero count=$3 iflag=count_bytes 2>/dev/null ;;
*) exit 2 ;;
esac
`
  const options: readonly (readonly string[])[] = [
    [],
    ['exportname-list=error'],
    ['exportname-list=empty'],
    ['exportname-list=defaultonly'],
    ['exportname-list=defaultonly', 'default-export=a'],
    ['exportname-list=explicit', 'exportname=z', 'exportname=a'],
    ['exportname-list=explicit', 'exportname=z', 'exportname=', 'exportdesc=fixed:two words'],
    ['default-export=a'],
    // There the plugin is opened by the name of its own default export, whose description differs.
    ['default-export=', 'exportdesc=none'],
    ['exportname-strict=true', 'exportname=a', 'exportname=b', 'exportname=c'],
    ['exportname-strict=true', 'exportname=a', 'exportname=', 'exportdesc=none'],
    ['exportname-strict=true', 'exportname=a', 'exportname=', 'default-export=a'],
    ['exportdesc=none'],
    ['exportdesc=fixed:text'],
    ['exportdesc=script:echo "it is $name"; exit 1'],
  ]
  for (const words of options)
    test(`nbdinfo sees the same from nbdkit with ${words.join(' ') || 'nothing'}`, async (t) => {
      const file = join(temporary(t), 'disk.sh')
      writeFileSync(file, script, { mode: 0o755 })
      const all = ['--filter=exportname', 'sh', file, ...words]
      const [ours, theirs] = [await serve(t, ...all), await serveWithNbdkit(t, ...all)]
      for (const name of ['list', '', 'a', 'b', 'none']) {
        const look = async (server: typeof ours) => {
          const uri = name === 'list' ? server.uri : server.uri.replace('/?', `/${name}?`)
          const options = name === 'list' ? ['--list', '--no-content'] : ['--no-content']
          const { status, stdout } = await run('nbdinfo', ['--json', ...options, uri])
          if (status !== 0) return 'refused'
          const { exports } = withoutBlockSizes(common(parsed(stdout, server)))
          return exports.map((one) => [one['export-name'], one.description])
        }
        assert.deepEqual(await look(ours), await look(theirs), name)
      }
    })
})

describe('tls-fallback', needs('nbdkit', 'nbdsh'), () => {
  test('shows libnbd the message that nbdkit shows, without TLS', async (t) => {
    const words = ['--filter=tls-fallback', '-e', 'any', 'memory', '1M', 'tlsreadme=two words']
    const script = 'print(json.dumps([h.get_size(), h.is_read_only(), h.pread(512, 0).hex()]))'
    const theirs = await serveWithNbdkit(t, ...words)
    const seen = await served(t, words, script)
    assert.deepEqual(seen, await nbdsh(theirs.uri, script))
    assert.deepEqual(seen, [512, true, Buffer.from('two words'.padEnd(512, '\0')).toString('hex')])
  })
})
