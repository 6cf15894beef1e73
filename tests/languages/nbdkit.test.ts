/** Plugins in other languages, served by nbdkit and by ours: clients must see the same. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { assertSame, needs, output, pattern, serve, serveWithNbdkit, temporary } from '../interop/helpers.js'
import { common, info } from '../interop/nbdinfo.js'
import { findProgram, nbdkitPlugins, packageRoot, nbdkitPlugin as plugin } from '../programs.js'

const program = join(packageRoot, 'bin', 'nbdkit-ts')

async function contents(t: TestContext, uri: string): Promise<Buffer> {
  const copy = join(temporary(t), 'copy')
  await output('nbdcopy', [uri, copy])
  return readFileSync(copy)
}

async function assertSameDisk(t: TestContext, theirs: readonly string[], ours: readonly string[]) {
  const [one, two] = [await serveWithNbdkit(t, ...theirs), await serve(t, ...ours)]
  assert.deepEqual(common(await info(two, '--list')), common(await info(one, '--list')))
  assertSame(await contents(t, two.uri), await contents(t, one.uri), ours.join(' '))
}

const image = (t: TestContext, length = 300_000) => {
  const path = join(temporary(t), 'disk.img')
  writeFileSync(
    path,
    pattern(length, (page) => page % 3 === 1),
  )
  return path
}

function script(t: TestContext, name: string, text: string): string {
  const path = join(temporary(t), name)
  writeFileSync(path, text, { mode: 0o755 })
  return path
}

const zeroes = `get_size) echo 64k ;;\n  pread) head -c "$3" /dev/zero ;;\n`
const scripts: Readonly<Record<string, string>> = {
  'that can do the least': zeroes,
  'that writes': `${zeroes}  can_write) exit 0 ;;\n  pwrite) cat > /dev/null ;;\n`,
  'that writes and flushes': `${zeroes}  can_write|can_flush|flush) exit 0 ;;\n  pwrite) cat > /dev/null ;;\n`,
  'that can do all': `${zeroes}  can_write|can_flush|can_trim|can_zero|can_extents|can_multi_conn|is_rotational) ;;
  can_fast_zero) ;;\n  can_fua|can_cache) echo native ;;\n  export_description) echo a disk ;;
  block_size) echo 512 4096 1M ;;\n  pwrite) cat > /dev/null ;;
  extents) echo 0 4k; echo 4k 60k hole,zero ;;
  flush|trim|zero|cache) ;;\n`,
  'that says no': `${zeroes}  can_fua|can_cache) echo none ;;\n  can_*|is_*) exit 3 ;;\n`,
  'with exports': `${zeroes}  list_exports) printf 'INTERLEAVED\\na\\nfirst\\nb\\nsecond\\n' ;;\n  default_export) echo b ;;\n`,
  'with a name for the default': `${zeroes}  default_export) echo mine ;;\n`,
  'of sizes with units': `get_size) echo 128s ;;\n  pread) head -c "$3" /dev/zero ;;\n`,
}

describe('a script of sh', needs('nbdkit', 'nbdinfo', 'nbdcopy'), () => {
  for (const [what, cases] of Object.entries(scripts))
    it(`${what} is the same disk as with nbdkit`, async (t) => {
      const path = script(t, 'script.sh', `#!/bin/sh\ncase "$1" in\n  ${cases}  *) exit 2 ;;\nesac\n`)
      await assertSameDisk(t, ['sh', path], ['sh', path])
    })

  it('is called as by nbdkit', async (t) => {
    const logs: string[][] = []
    for (const start of [serveWithNbdkit, serve]) {
      const log = join(temporary(t), 'log')
      const path = script(
        t,
        'script.sh',
        `#!/bin/sh\necho "$@" >> ${log}\ncase "$1" in\n  ${scripts['that can do all']}  config|load) ;;\n  open) echo H ;;\n  *) exit 2 ;;\nesac\n`,
      )
      const server = await start(t, 'sh', path, 'a=b', 'c=d e')
      await output('nbdsh', [
        ...['-u', server.uri, '-c', 'h.pread(512, 0)', '-c', 'h.pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA)'],
        ...['-c', 'h.trim(4096, 0)', '-c', 'h.zero(4096, 0)', '-c', 'h.flush()', '-c', 'h.cache(4096, 0)'],
      ])
      await server.stop()
      logs.push(readFileSync(log, 'utf8').split('\n'))
    }
    const [theirs = [], ours = []] = logs
    const isQuestion = (line: string) => /^(can_|is_|get_size|block_size|export_desc)/.test(line)
    const acts = (lines: string[]) => lines.filter((line) => !isQuestion(line))
    // The script is asked for its magic key only where there is a bare word, and for nothing that follows.
    const known = (line: string) => !/^(magic_config_key|thread_model|list_exports|default_export)/.test(line)
    assert.deepEqual(acts(ours).filter(known), acts(theirs).filter(known))
    // All is asked when a client comes, and there what it asks for in its handshake.
    const eager = ['export_description H', 'block_size H']
    for (const question of ours.filter(isQuestion))
      assert.ok(theirs.includes(question) || eager.includes(question), question)
  })
})

it('eval is the same disk as with nbdkit', needs('nbdkit', 'nbdinfo', 'nbdcopy'), async (t) => {
  const words = [
    'eval',
    'config=ln -sf "$(realpath "$3")" $tmpdir/file',
    'get_size=stat -Lc %s $tmpdir/file',
    'pread=dd if=$tmpdir/file skip=$4 count=$3 iflag=count_bytes,skip_bytes',
    'pwrite=dd of=$tmpdir/file seek=$4 conv=notrunc oflag=seek_bytes',
    `file=${image(t)}`,
  ]
  await assertSameDisk(t, words, words)
})

const disk = (extra: string) => `import nbdkit
API_VERSION = 2
def config(key, value):
    global path
    path = value
def open(readonly):
    import builtins
    return builtins.open(path, "rb")
def get_size(h):
    import os
    return os.fstat(h.fileno()).st_size
def pread(h, buf, offset, flags):
    import os
    os.preadv(h.fileno(), [buf], offset)
${extra}`

describe('a script of Python', () => {
  const python = existsSync(plugin('python')) ? {} : { skip: 'nbdkit-plugin-python is missing' }
  const options = process.env.CI === 'true' ? {} : python
  const extras: Readonly<Record<string, string>> = {
    'that reads': '',
    'that writes': 'def pwrite(h, buf, offset, flags): pass\n',
    'that can do all': `def pwrite(h, buf, offset, flags): pass
def flush(h, flags): pass
def trim(h, count, offset, flags): pass
def zero(h, count, offset, flags): pass
def cache(h, count, offset, flags): pass
def extents(h, count, offset, flags): return [(0, 1 << 40, 0)]
def can_multi_conn(h): return True
def can_fua(h): return nbdkit.FUA_NATIVE
def export_description(h): return "a disk"
def block_size(h): return (1, 4096, 1 << 20)
`,
    'with exports': `def list_exports(readonly, tls): return [("a", "first"), "b"]
def default_export(readonly, tls): return "a"
`,
  }
  for (const [what, extra] of Object.entries(extras))
    it(`${what} is the same disk as with nbdkit`, options, async (t) => {
      const words = ['python', script(t, 'disk.py', disk(extra)), `file=${image(t)}`]
      await assertSameDisk(t, words, words)
    })

  it('of the first API version is the same disk as with nbdkit', options, async (t) => {
    const old = `disk = bytearray(range(256)) * 256
def open(readonly): return 1
def get_size(h): return len(disk)
def pread(h, count, offset): return disk[offset : offset + count]
def pwrite(h, buf, offset): disk[offset : offset + len(buf)] = buf
def flush(h): pass
`
    const words = ['python', script(t, 'disk.py', old)]
    await assertSameDisk(t, words, words)
  })
})

const perl = `sub open { return 1; }
sub get_size { return 65536; }
sub pread { my ($h, $count, $offset) = @_; return chr(65) x $count; }
sub pwrite { }
`
const lua = `function open(readonly) return 1 end
function get_size(h) return 65536 end
function pread(h, count, offset) return string.rep("x", count) end
function pwrite(h, buf, offset) end
`

/** Of nbdkit's package: what is behind its name on the command line. */
const natives: Readonly<Record<string, (t: TestContext) => readonly string[]>> = {
  data: () => ['data=0x55 0xAA @4096 (1 2)*64 @0x10000 1'],
  example1: () => [],
  example2: (t) => [`file=${image(t)}`],
  example3: () => ['size=1M'],
  file: (t) => [image(t)],
  floppy: (t) => {
    const root = temporary(t)
    mkdirSync(join(root, 'files'))
    writeFileSync(join(root, 'files', 'a.txt'), 'hello')
    return [join(root, 'files')]
  },
  full: () => ['64k'],
  lua: (t) => [script(t, 'disk.lua', lua)],
  memory: () => ['1M'],
  null: () => ['64k'],
  partitioning: (t) => [image(t, 1_048_576), image(t, 1_048_576), 'partition-type=mbr'],
  pattern: () => ['1M'],
  perl: (t) => [script(t, 'disk.pl', perl)],
  python: (t) => [script(t, 'disk.py', disk('')), `file=${image(t)}`],
  random: () => ['size=1M', 'seed=7'],
  sh: (t) => [script(t, 'disk.sh', `#!/bin/sh\ncase "$1" in\n  ${zeroes}  *) exit 2 ;;\nesac\n`)],
  'sparse-random': () => ['size=16M', 'seed=7'],
  split: (t) => [image(t), image(t)],
  zero: () => [],
}

describe('a native plugin of nbdkit', needs('nbdkit', 'nbdinfo', 'nbdcopy', 'cc'), () => {
  for (const [name, words] of Object.entries(natives))
    it(`${name} is the same disk as with nbdkit`, async (t) => {
      const given = words(t)
      // Floppies and partitions have identifiers that are made anew each time.
      if (name === 'floppy') {
        const [one, two] = [await serveWithNbdkit(t, name, ...given), await serve(t, plugin(name), ...given)]
        assert.deepEqual(common(await info(two, '--list')), common(await info(one, '--list')))
      } else await assertSameDisk(t, [name, ...given], [plugin(name), ...given])
    })

  it('nbd serves a server of ours', async (t) => {
    const below = await serve(t, 'file', image(t))
    const above = await serve(t, plugin('nbd'), `socket=${below.socket}`)
    assertSame(await contents(t, above.uri), await contents(t, below.uri), 'nbd')
  })

  it('curl serves what a web server has', async (t) => {
    const bytes = pattern(300_000)
    const web = createServer((request, response) => {
      const [, from = '0', to = `${bytes.length - 1}`] =
        /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
      const part = bytes.subarray(Number(from), Number(to) + 1)
      const head = { 'Accept-Ranges': 'bytes', 'Content-Length': part.length }
      response.writeHead(request.headers.range ? 206 : 200, head).end(request.method === 'HEAD' ? '' : part)
    })
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
    t.after(() => web.close())
    const { port } = web.address() as AddressInfo
    const server = await serve(t, plugin('curl'), `http://127.0.0.1:${port}/disk.img`)
    assertSame(await contents(t, server.uri), bytes, 'curl')
    await server.stop()
  })

  it('stands behind filters of ours', async (t) => {
    const log = join(temporary(t), 'log')
    const words = ['--filter=delay', '--filter=log', '--filter=offset', plugin('memory'), '1M']
    const server = await serve(t, ...words, 'rdelay=1ms', `logfile=${log}`, 'offset=512k')
    await output('nbdsh', [
      '-u',
      server.uri,
      '-c',
      'h.pwrite(b"x" * 512, 0); assert h.pread(512, 0)[0] == 120',
    ])
    await server.stop()
    assert.match(readFileSync(log, 'utf8'), /Write id=\d+ offset=0x0 count=0x200/)
  })

  it('says of itself what nbdkit says of it', () => {
    const nbdkit = findProgram('nbdkit') ?? ''
    const names = readdirSync(nbdkitPlugins).flatMap(
      (file) => /^nbdkit-(.*)-plugin\.so$/.exec(file)?.[1] ?? [],
    )
    assert.ok(names.length > 20, names.join())
    const dump = (...command: [string, ...string[]]) => {
      const [path, ...words] = command
      const text = execFileSync(path, [...words, '--dump-plugin'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      return text.split('\n').filter((line) => line !== '' && !line.startsWith('path='))
    }
    for (const name of names) {
      const [theirs, ours] = [dump(nbdkit, name), dump(program, plugin(name))]
      // A system without close-on-exec for all it needs is stricter: of that only nbdkit knows.
      assert.deepEqual([...new Set(ours)].sort(), [...new Set(theirs)].sort(), name)
    }
  })
})
