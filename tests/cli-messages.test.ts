/** What is said of mistakes: who made it, where, and what to do; and to whom. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  ConfigError,
  consoleLog,
  createServer,
  definePlugin,
  NbdError,
  type ServerOptions,
} from '../src/index.js'
import { NBD_CMD_READ, NBD_OPT_GO, NBD_OPT_STRUCTURED_REPLY } from '../src/protocol/constants.js'
import { infoData, pair, RawClient } from '../src/testing/index.js'
import { complains, newDirectory, prints, program, root, run, version } from './cli-helpers.js'

const together = { concurrency: 2 }

/** A plugin of a user, the text of whose definition begins on its third line. */
const plugin = (definition: string) => `import { definePlugin, NbdError } from 'nbdkit-ts'
export default definePlugin({ name: 'my-disk', description: 'mine', params: {},
${definition} })
`
const disk = (device: string) => plugin(`setup: () => ({ open: () => ({ size: 65536, ${device} }) })`)

const readCommand = 'qemu-io -f raw -r -c "read 0 512" "$uri"'

/** Serves it while a command runs, and returns what the log said. */
async function logOf(text: string, command: string, ...args: string[]): Promise<string> {
  const cwd = newDirectory({ 'my-disk.mjs': text })
  return (await run([...args, './my-disk.mjs', '--run', `${command} >/dev/null 2>&1; true`], { cwd })).stderr
}

/** A client that has answered the greeting of such a server, in this process. */
async function connected(t: TestContext, options: ServerOptions): Promise<RawClient> {
  const server = createServer(options)
  t.after(() => server.shutdown({ graceMs: 0 }))
  const [ours, theirs] = pair()
  await server.serve(ours)
  const client = new RawClient(theirs)
  await client.greet()
  return client
}

function needs(t: TestContext, name: string): boolean {
  const missing = spawnSync(name, ['--version']).error !== undefined
  if (missing) t.skip(`${name} is not installed`)
  return !missing
}

describe('an export that cannot be opened is logged, with the layer and the reason', together, () => {
  const refusals: [what: string, args: string[], said: RegExp][] = [
    [
      'a script',
      ['eval', 'open=echo the-reason >&2; exit 1', 'get_size=echo 1M', 'pread=head -c $3 /dev/zero'],
      /^nbdkit-ts: client 1: error: the export "" cannot be opened: eval: .*the-reason$/m,
    ],
    [
      'a filter',
      ['--filter=offset', 'memory', '1M', 'offset=2M'],
      /^nbdkit-ts: client 1: error: the export "" cannot be opened: offset: .*2097152/m,
    ],
    [
      'a file that is not there',
      ['file', 'dir=.', '-e', 'nowhere'],
      /^nbdkit-ts: client 1: error: the export "nowhere" cannot be opened: file: .*no such file/m,
    ],
  ]
  for (const [what, args, said] of refusals)
    it(what, async (t) => {
      if (!needs(t, 'nbdinfo')) return
      const { stderr } = await run([...args, '--run', 'nbdinfo "$uri" >/dev/null 2>&1; true'], {
        cwd: newDirectory(),
      })
      assert.match(stderr, said)
    })

  const mistakes: [what: string, text: string, said: RegExp][] = [
    [
      'a mistake in open',
      plugin('setup: () => ({\nopen() { undefined.x } })'),
      /my-disk: open: TypeError: .* \(my-disk\.mjs:4\)$/m,
    ],
    [
      'a mistake in accept',
      plugin('setup: () => ({\naccept() { undefined.x }, open() {} })'),
      /^nbdkit-ts: client 1: error: my-disk: accept: TypeError: .* \(my-disk\.mjs:4\)$/m,
    ],
    [
      'a refusal in accept',
      plugin("setup: () => ({ accept() { throw new NbdError('EPERM', 'not you') }, open() {} })"),
      /^nbdkit-ts: client 1: error: my-disk: not you$/m,
    ],
    [
      'a mistake in defaultExport',
      plugin('setup: () => ({\ndefaultExport() { undefined.x }, open() {} })'),
      /cannot be opened: my-disk: defaultExport: TypeError: .*:4\)$/m,
    ],
    [
      'no size',
      plugin('setup: () => ({ open: () => ({ read() {} }) })'),
      /my-disk: .* has no size: add size, in bytes$/m,
    ],
    [
      'no read',
      plugin('setup: () => ({ open: () => ({ size: 1 }) })'),
      /my-disk: .* has no read: add read\(/m,
    ],
    [
      'a size that is no number',
      plugin('setup: () => ({ open: () => ({ size: 1n, read() {} }) })'),
      /my-disk: .*the size of the device is a bigint: expected a number of bytes$/m,
    ],
    [
      'a size of NaN',
      plugin('setup: () => ({ open: () => ({ size: NaN, read() {} }) })'),
      /my-disk: .*a size of NaN bytes is not an integer/m,
    ],
    [
      'no device',
      plugin('setup: () => ({ open: () => null })'),
      /my-disk: open returned null: expected a device, as \{ size, read \}$/m,
    ],
  ]
  for (const [what, text, said] of mistakes)
    it(what, async (t) => {
      if (!needs(t, 'nbdinfo')) return
      assert.match(await logOf(text, 'nbdinfo "$uri"'), said)
    })

  it('a list that fails', async (t) => {
    if (!needs(t, 'nbdinfo')) return
    const text = plugin('setup: () => ({\nexports() { undefined.x }, open() {} })')
    assert.match(
      await logOf(text, 'nbdinfo --list "$uri"'),
      /client 1: error: the exports cannot be listed: my-disk: exports: TypeError: .*:4\)$/m,
    )
  })
  it('by the option that has no error reply, once', async (t) => {
    if (!needs(t, 'nbdinfo')) return
    const text = plugin('setup: () => ({\nopen() { undefined.x } })')
    for (const option of ['--mask-handshake=0', '--oldstyle']) {
      const said = await logOf(text, 'nbdinfo "$uri"', option)
      assert.equal(said.match(/my-disk: open: TypeError/g)?.length, 1, said)
    }
  })
  it('with the stack where it was asked for', async (t) => {
    if (!needs(t, 'nbdinfo')) return
    const said = await logOf(plugin('setup: () => ({\nopen() { undefined.x } })'), 'nbdinfo "$uri"', '-v')
    assert.match(said, /cannot be opened: my-disk: open: TypeError: .*\n {6}at .*my-disk\.mjs:4/)
  })
})

describe('a mistake in a callback is logged with plugin, operation and line', together, () => {
  const reads: [what: string, device: string, said: RegExp][] = [
    ['thrown', 'read() {\nnull.x }', /my-disk: read 512 at 0: TypeError: .* \(my-disk\.mjs:4\): EIO$/m],
    [
      'rejected',
      'async read() {\nnull.x }',
      /my-disk: read 512 at 0: TypeError: .* \(my-disk\.mjs:4\): EIO$/m,
    ],
    ['thrown as a text', "read() { throw 'oops' }", /my-disk: read 512 at 0: oops.*: EIO$/m],
    [
      'with a code of its own',
      "read() { throw new NbdError('ENOSPC', 'the quota is used up') }",
      /client 1: error: read 512 at 0: the quota is used up: ENOSPC$/m,
    ],
  ]
  for (const [what, device, said] of reads)
    it(`where it is ${what}`, async (t) => {
      if (!needs(t, 'qemu-io')) return
      const command = readCommand
      const lines = await logOf(disk(device), command)
      assert.match(lines, said)
      assert.doesNotMatch(lines, /^ +at /m)
    })
  it('with a filter around it that is not to blame', async (t) => {
    if (!needs(t, 'qemu-io')) return
    const lines = await logOf(disk('read() {\nnull.x }'), readCommand, '--filter=delay', '--filter=offset')
    assert.match(lines, /my-disk: read 512 at 0: TypeError/)
  })
  it('with the stack where it was asked for', async (t) => {
    if (!needs(t, 'qemu-io')) return
    const lines = await logOf(disk('read() {\nnull.x }'), readCommand, '-v')
    assert.match(lines, /\(my-disk\.mjs:4\): EIO\n {6}at .*my-disk\.mjs:4/)
  })
  for (const callback of ['setup', 'ready'])
    it(`in ${callback}, and the program does not start`, async () => {
      const body = `() {\nundefined.x }`
      const text =
        callback === 'setup' ? plugin(`setup${body}`) : plugin(`setup: () => ({ open() {}, ready${body} })`)
      const cwd = newDirectory({ 'my-disk.mjs': text })
      await complains(
        new RegExp(`^my-disk: ${callback}: TypeError: .* \\(my-disk\\.mjs:4\\)$`),
        ['-U', '-', './my-disk.mjs'],
        { cwd },
      )
      const { stderr } = await run(['-v', '-f', '-U', '-', './my-disk.mjs'], { cwd })
      assert.match(stderr, /\(my-disk\.mjs:4\)\n {6}at /)
      for (const workers of [['--workers=2']]) {
        const parallel = text.replace('params: {}', 'params: {}, threads: "isolated"')
        const there = newDirectory({ 'my-disk.mjs': parallel })
        await complains(
          new RegExp(`^my-disk: ${callback}: TypeError: .* \\(my-disk\\.mjs:4\\)$`),
          [...workers, '-U', '-', './my-disk.mjs'],
          { cwd: there },
        )
      }
    })
})

describe('a definition that lacks something is refused, with what to add', together, () => {
  const definitions: [lacks: string, text: string, said: RegExp][] = [
    [
      'a name',
      "definePlugin({ description: 'x', params: {}, setup() {} })",
      /my-disk\.mjs:2: definePlugin: the plugin has no name: add name: /,
    ],
    [
      'a description',
      "definePlugin({ name: 'a', params: {}, setup() {} })",
      /my-disk\.mjs:2: a: it has no description: add description: /,
    ],
    [
      'params',
      "definePlugin({ name: 'a', description: 'x', setup() {} })",
      /my-disk\.mjs:2: a: it has no params: add params: \{\}/,
    ],
    [
      'setup',
      "definePlugin({ name: 'a', description: 'x', params: {} })",
      /my-disk\.mjs:2: a: it has no setup: add setup\(/,
    ],
    ['all', 'definePlugin()', /my-disk\.mjs:2: definePlugin was given nothing: give it \{ name,/],
    [
      'what setup returns',
      "definePlugin({ name: 'a', description: 'x', params: {}, setup() {} })",
      /^a: setup returned undefined: expected an object, as \{ open/,
    ],
    [
      'open',
      "definePlugin({ name: 'a', description: 'x', params: {}, setup: () => ({}) })",
      /^a: what setup returned has no open: add open\(/,
    ],
  ]
  for (const [lacks, text, said] of definitions)
    it(lacks, async () => {
      const cwd = newDirectory({
        'my-disk.mjs': `import { definePlugin } from 'nbdkit-ts'\nexport default ${text}`,
      })
      await complains(said, ['-U', '-', './my-disk.mjs'], { cwd })
    })
})

describe('a client is told', together, () => {
  /** The message of an error that a plugin throws from open, or from read. */
  const told = async (t: TestContext, thrown: unknown, from: 'open' | 'read'): Promise<string> => {
    const fail = () => {
      throw thrown
    }
    const refusing = definePlugin({
      ...{ name: 'refusing', description: '', params: {} },
      setup: () => ({ open: () => (from === 'open' ? fail() : { size: 4096, read: fail }) }),
    })
    const client = await connected(t, { plugin: refusing() })
    await client.option(NBD_OPT_STRUCTURED_REPLY)
    const [reply] = await client.option(NBD_OPT_GO, infoData(''))
    if (from === 'open') return reply?.data.toString() ?? ''
    const [chunk] = await client.request({ type: NBD_CMD_READ, length: 512 })
    return chunk?.message ?? ''
  }
  const errors: [what: string, thrown: unknown, said: string][] = [
    ['what NbdError says', new NbdError('EPERM', 'not today'), 'not today'],
    ['what ConfigError says', new ConfigError('no such disk'), 'no such disk'],
    ['what is said with a code', Object.assign(new Error('full'), { code: 'ENOSPC' }), 'full'],
    [
      'no file of the server',
      Object.assign(new Error("ENOENT, open '/secret'"), { code: 'ENOENT', syscall: 'open' }),
      'ENOENT',
    ],
    ['no more than the name of a mistake', new TypeError('/secret'), 'TypeError'],
    ['no text that was thrown', '/secret', 'Error'],
  ]
  for (const [what, thrown, said] of errors)
    for (const from of ['open', 'read'] as const)
      it(`${what}: ${from}`, async (t) => assert.equal(await told(t, thrown, from), said))
})

describe('a word that names no plugin', together, () => {
  const cwd = newDirectory({ 'disk.img': '', notes: 'hello', 'folder/x': '' })
  truncateSync(join(cwd, 'disk.img'), 4096)
  writeFileSync(join(cwd, 'disk'), new Uint8Array(4096))
  const words: [word: string, said: RegExp][] = [
    ['disk.img', /: to serve it as a disk, say "nbdkit-ts file disk\.img"$/],
    ['disk', /^unknown plugin "disk": to serve it as a disk, say "nbdkit-ts file disk"$/],
    ['./disk', /: to serve it as a disk, say "nbdkit-ts file \.\/disk"$/],
    ['folder', /^unknown plugin "folder": to serve the files in it, say "nbdkit-ts file dir=folder"$/],
    ['./folder', /is not a file: to serve the files in it, say "nbdkit-ts file dir=\.\/folder"$/],
    ['notes', /^unknown plugin "notes"; for the file of that name give its path, as in \.\/notes$/],
    ['no.img', /^plugin no\.img: there is no file /],
  ]
  for (const [word, said] of words) it(word, () => complains(said, [word], { cwd }))
  it('a filter is no disk', () =>
    complains(
      /^filter \.\/disk\.img: it is neither JavaScript nor TypeScript$/,
      ['--filter=./disk.img', 'null'],
      { cwd },
    ))
  it('what is suggested works', async (t) => {
    if (!needs(t, 'nbdinfo')) return
    await prints('4096\n', ['file', 'disk.img', '--run', 'nbdinfo --size "$uri"'], { cwd })
    await prints('0\n', ['file', 'dir=folder', '-e', 'x', '--run', 'nbdinfo --size "$uri"'], { cwd })
  })
})

describe('the program says', together, () => {
  it('with -v first what it is, and on what it runs', async () => {
    const { stderr } = await run(['-v', 'null', '--run', 'true'])
    const [first] = stderr.split('\n')
    assert.match(
      first ?? '',
      new RegExp(
        `^nbdkit-ts: debug: nbdkit-ts ${version.replaceAll('.', '\\.')}, Node ${process.versions.node}, ${process.platform} ${process.arch}$`,
      ),
    )
  })
  it('which plugins and filters there are, also with -h', async () => {
    for (const option of ['--help', '-h']) {
      const { stdout } = await run([option])
      assert.match(stdout, /^ {2}Plugins: .*\bmemory\b/m)
      assert.match(stdout, /^ {2}Filters: .*\boffset\b/ms)
    }
  })
  it('where it listens, to a person at a terminal', (t) => {
    if (!needs(t, 'python3')) return
    const cwd = newDirectory()
    const terminal = `import pty, os, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
said = os.read(fd, 1000)
os.write(fd, b'\\x03')
print(said.decode().strip(), os.waitpid(pid, 0)[1])`
    const { stdout } = spawnSync(
      'python3',
      ['-c', terminal, process.execPath, program, '-f', '-U', 's', 'null'],
      { cwd, encoding: 'utf8' },
    )
    assert.equal(stdout, `nbdkit-ts: listening on nbd+unix://?socket=${cwd}/s: Ctrl-C stops it 0\n`)
  })
  it('on one line and without controls what a client asks for', async (t) => {
    const lines: string[] = []
    const refusing = definePlugin({
      ...{ name: 'refusing', description: '', params: {} },
      setup: () => ({
        open({ exportName }) {
          throw new NbdError('EPERM', exportName)
        },
      }),
    })
    const client = await connected(t, {
      plugin: refusing(),
      log: consoleLog({ write: (line) => lines.push(line) }),
    })
    await client.option(NBD_OPT_GO, infoData(`a\nnbdkit-ts: error: forged\x1b[2J\u202e${'x'.repeat(3000)}`))
    assert.equal(lines.length, 1)
    assert.match(
      lines[0] ?? '',
      /^nbdkit-ts: client 1: error: the export "a\\nnbdkit-ts: .*\n {2}nbdkit-ts: error: forged.*\n$/,
    )
    assert.doesNotMatch(lines[0] ?? '', /[^\P{Cc}\n]|\p{Bidi_Control}/u)
  })
  it('no more than fits, of a word that is long', async () => {
    const { stderr } = await run(['null', `size=${'9'.repeat(100_000)}`])
    assert.ok(stderr.length < 20_000, `${stderr.length} characters`)
    assert.match(stderr, /^nbdkit-ts: null: size: .*characters left out/)
  })
})

describe('the launcher', together, () => {
  it('says which Node it needs, in one that is too old', async () => {
    const directory = newDirectory({
      'old.cjs':
        "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })",
    })
    const { status, stderr } = spawnSync(
      process.execPath,
      ['-r', join(directory, 'old.cjs'), program, 'null'],
      { encoding: 'utf8' },
    )
    assert.match(stderr, /^nbdkit-ts: Node 18\.20\.8 is too old: it needs 20\.19 or later \(\/.*\)\n$/)
    assert.equal(status, 1)
  })
  it('says what builds it where a part is missing', () => {
    const directory = newDirectory({
      'package.json': '{ "type": "module" }',
      'dist/package/cli/main.js': "import './gone.js'",
    })
    mkdirSync(join(directory, 'bin'))
    cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true })
    const { status, stderr } = spawnSync(process.execPath, [join(directory, 'bin', 'nbdkit-ts')], {
      encoding: 'utf8',
    })
    assert.match(stderr, /^nbdkit-ts: \/.*\/gone\.js is missing: "npm run build" makes it, once "npm ci" has/)
    assert.equal(status, 1)
  })
})
