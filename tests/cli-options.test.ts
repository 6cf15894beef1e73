/** What single options do: where it listens, what it says, where its arguments come from. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, symlinkSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { RawClient } from '../src/testing/raw-client.js'
import {
  complains,
  greeting,
  newDirectory,
  prints,
  program,
  result,
  run,
  start,
  started,
  temporary,
} from './cli-helpers.js'

const together = { concurrency: 4 }
const onLinux = process.platform === 'linux'
const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ family }) => family === 'IPv6'),
)

describe('it listens', together, () => {
  /** Whether a server is there. */
  const answers = async (port: number, host: string) => {
    const socket = connect(port, host)
    try {
      return (await greeting(socket)) === 'NBDMAGIC'
    } catch {
      return false
    } finally {
      socket.destroy()
    }
  }
  const on = async (options: readonly string[], hosts: readonly string[]) => {
    const { child, ended, uri } = await started([...options, '-p', '0', 'null'])
    const port = Number(/:(\d+)$/.exec(uri)?.[1])
    const found = await Promise.all(hosts.map((host) => answers(port, host)))
    child.kill()
    assert.equal((await ended).status, 0)
    return { found, uri: uri.replace(String(port), 'PORT') }
  }

  it('on all addresses that are given, with one port', async (t) => {
    if (!onLinux) return t.skip('elsewhere there is no 127.0.0.2')
    const { found } = await on(
      ['-i', '127.0.0.1', '-i', '127.0.0.2'],
      ['127.0.0.1', '127.0.0.2', '127.0.0.3'],
    )
    assert.deepEqual(found, [true, true, false])
  })
  it('on the addresses of a name', async () => {
    assert.deepEqual((await on(['-4', '-i', 'localhost'], ['127.0.0.1'])).found, [true])
  })
  it('on IPv4 alone', async () => {
    const { found, uri } = await on(['-6', '-4'], ['127.0.0.1', '::1'])
    assert.deepEqual(found, [true, false])
    assert.equal(uri, 'nbd://localhost:PORT')
  })
  it('on IPv6 alone', async (t) => {
    if (!hasIpv6) return t.skip('this machine has no IPv6')
    assert.deepEqual((await on(['-6'], ['127.0.0.1', '::1'])).found, [false, true])
  })
  it('on the port of a service', async (t) => {
    const services = spawnSync('grep', ['-s', '^tcpmux.*1/tcp', '/etc/services'], { encoding: 'utf8' }).stdout
    if (services === '') return t.skip('/etc/services does not have tcpmux')
    const { stderr } = await run(['-f', '-p', 'tcpmux', '-i', '192.0.2.1', 'null'])
    assert.match(stderr, /192\.0\.2\.1:1: this machine has no such address/)
  })
  it('and has idle clients probed when it is asked to', async (t) => {
    if (!onLinux) return t.skip('Linux tells of the timers of its sockets')
    const timerOf = async (options: readonly string[]) => {
      const { child, ended, uri } = await started([...options, '-i', '127.0.0.1', '-p', '0', 'null'])
      const port = Number(/:(\d+)$/.exec(uri)?.[1])
      const socket = connect(port, '127.0.0.1')
      await greeting(socket)
      const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
      const established = readFileSync('/proc/net/tcp', 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .find(([, from, , state]) => from === local && state === '01')
      socket.destroy()
      child.kill()
      await ended
      // 2 in the sixth column is a timer for keeping alive.
      return established?.[5]?.slice(0, 2)
    }
    assert.equal(await timerOf(['--keepalive']), '02')
    assert.equal(await timerOf([]), '00')
  })
  it('on every socket that is inherited', async () => {
    const servers = [createServer(), createServer()].map((server) => server.listen(0, '127.0.0.1'))
    await Promise.all(servers.map((server) => once(server, 'listening')))
    const ports = servers.map((server) => (server.address() as { port: number }).port)
    const fds = servers.map((server) => (server as unknown as { _handle: { fd: number } })._handle.fd)
    const script = 'LISTEN_FDS=2 LISTEN_PID=$$ exec "$0" "$@"'
    const child: ChildProcess = spawn(
      'sh',
      ['-c', script, process.execPath, program, 'null', '--print-uri'],
      {
        stdio: ['ignore', 'pipe', 'pipe', ...fds],
        env: { PATH: process.env.PATH, TMPDIR: temporary },
      },
    )
    for (const server of servers) server.close()
    const ended = result(child)
    if (child.stdout) await once(child.stdout, 'data')
    assert.deepEqual(await Promise.all(ports.map((port) => answers(port, '127.0.0.1'))), [true, true])
    child.kill()
    assert.equal((await ended).status, 0)
  })
})

describe('messages', together, () => {
  it('have the name of the server', async () => {
    const { stderr } = await run(['--name=in0', 'nowhere'])
    assert.match(stderr, /^nbdkit-ts\[in0\]: unknown plugin "nowhere"/)
  })
  it('go to the end of a file, debug messages too', async () => {
    const log = join(newDirectory({ log: 'before\n' }), 'log')
    await prints('', ['-f', '-v', `--log=${log}`, 'null', '--run', 'true'])
    assert.match(readFileSync(log, 'utf8'), /^before\n(nbdkit-ts: debug: .*\n)+$/)
  })
  it('go nowhere', () => prints('', ['-v', '--log=null', 'null', '--run', 'true']))
  it('go to the system log, and not to standard error', async (t) => {
    if (spawnSync(process.execPath, ['-e', 'require("koffi")']).status !== 0)
      return t.skip('koffi is not installed')
    await prints('', ['-v', '--log=syslog', 'null', '--run', 'true'])
  })
  it('warn of debug flags that nobody has', async () => {
    const { status, stderr } = await run([
      '-D',
      'null.a-b=1',
      '--debug=nbdkit.c=0x10',
      'null',
      '--run',
      'true',
    ])
    const warning = (flag: string) => `nbdkit-ts: warning: debug flag -D ${flag} was not used\n`
    assert.equal(stderr, warning('null.a-b') + warning('nbdkit.c'))
    assert.equal(status, 0)
  })
  it("say nothing of the debug flags of nbdkit's server", async () => {
    const names = [
      'backend.datapath',
      'backend.controlpath',
      'backend_datapath',
      'environ',
      'tls.log',
      'tls.session',
    ]
    await prints('', [...names.map((name) => `-Dnbdkit.${name}=0`), 'null', '--run', 'true'])
  })
  it('leave out what is said of layers and of requests, where a debug flag says so', async () => {
    const said = async (...flags: string[]) => {
      const cwd = newDirectory()
      const { child, ended } = await started(['-v', '-U', 's', ...flags, 'null', '1k'], { cwd })
      const client = await RawClient.connect({ path: join(cwd, 's') })
      await client.go()
      await client.request({ type: 0, length: 4096 })
      client.stream.destroy()
      child.kill()
      return (await ended).stderr
    }
    const [layers, requests] = [/debug: null: open readonly/, /client 1: debug: READ 4096 at 0: .*EINVAL/i]
    const all = await said()
    assert.match(all, layers)
    assert.match(all, requests)
    const noLayers = await said('-Dnbdkit.backend.controlpath=0')
    assert.doesNotMatch(noLayers, layers)
    assert.match(noLayers, requests)
    const noRequests = await said('-D', 'nbdkit.backend.datapath=0')
    assert.match(noRequests, layers)
    assert.doesNotMatch(noRequests, requests)
    assert.match(await said('-D', 'nbdkit.backend.datapath=0', '-D', 'nbdkit.backend.datapath=1'), requests)
  })
  it('print the environment where a debug flag and -v ask for it', async () => {
    const with_ = (...args: string[]) => run([...args, 'null', '--run', 'true'], { env: { MINE: 'a b' } })
    assert.match((await with_('-v', '-D', 'nbdkit.environ=1')).stderr, /debug: environ: MINE=a b\n/)
    assert.doesNotMatch((await with_('-v')).stderr, /MINE/)
    assert.equal((await with_('-D', 'nbdkit.environ=1')).stderr, '')
  })
})

describe('a descriptor that a parameter names', together, () => {
  const kinds: [args: string[], told: string][] = [
    [['--filter=exitwhen', 'null', 'exit-when-pipe-closed=N'], 'exitwhen: exit-when-pipe-closed'],
    [['--filter=exitwhen', 'null', 'exit-when-fd-closed=N'], 'exitwhen: exit-when-pipe-closed'],
    [['file', 'fd=N'], 'file: fd'],
    [['file', 'dirfd=N'], 'file: dirfd'],
    [['./x.mjs', 'password=-N'], 'x: password'],
  ]
  for (const [args, told] of kinds)
    it(`is refused where it is one of Node's own, or none: ${args.at(-1)}`, async (t) => {
      if (!onLinux) return t.skip('only Linux lists the descriptors of a process')
      const cwd = newDirectory({
        'x.mjs': `import { definePlugin, param } from 'nbdkit-ts'
const params = { password: param.password({ doc: '' }) }
export default definePlugin({ name: 'x', description: '', params, setup: () => ({}) })`,
      })
      for (const number of [4, 5, 6, 11, 12, 1000]) {
        const message = new RegExp(
          `^${told}: file descriptor ${number} (was not inherited|is not open): the process`,
        )
        const words = args.map((word) => word.replace(/N$/, `${number}`))
        await complains(message, ['-f', '-U', '-', ...words], { cwd })
      }
    })
})

describe('a file of arguments', together, () => {
  it('has one on each line', async () => {
    const cwd = newDirectory({
      args: '# a comment\n\n  1M  \n--run\n  echo "$exportname"\n-e\nit\'s here\r\n',
    })
    await prints("it's here\n", ['null', '@./args'], { cwd })
  })
  it('stands where it is given, and after -- too', async () => {
    const cwd = newDirectory({ a: 'size=1', b: 'size=2' })
    await complains('null: size is given twice: "1" and "2"', ['null', '@./a', '--', `@${cwd}/b`], { cwd })
  })
  it('has a slash in its name: another word that begins with @ is a value', async () => {
    const cwd = newDirectory({ args: 'size=1', '@0x1fe 0x55 0xaa': 'size=1' })
    await prints('512\n', ['data', '@0x1fe 0x55 0xaa', '--run', 'nbdinfo --size "$uri"'], { cwd })
    await complains(/^null: size: could not parse size "@args"/, ['null', '@args'], { cwd })
    const long = `@0 ${'1 '.repeat(300)}`
    await prints('300\n', ['data', long, '--run', 'nbdinfo --size "$uri"'])
    await complains(/^@0 <\/x: cannot read arguments: ENOENT.*given with its key, as in KEY=@VALUE\)$/, [
      'data',
      '@0 </x',
    ])
    await prints('2\n', ['data', 'data=@0 </dev/null 1 1', '--run', 'nbdinfo --size "$uri"'])
  })
  it('is no file when it is the argument of an option', async () => {
    const cwd = newDirectory({ args: '1' })
    await prints('@./args\n', ['-e', '@./args', 'null', '--run', 'echo "$exportname"'], { cwd })
  })
  it('may name another, from where it lies, but not itself', async () => {
    const cwd = newDirectory({
      'a/args': '@../b/args',
      'b/args': 'size=512\n@./more',
      'b/more': '--run\necho ok',
    })
    await prints('ok\n', ['null', '@a/args'], { cwd })
    const loop = newDirectory({ args: 'size=1\n@./args' })
    await complains(/^@\.\/args: .*more than 10 files of arguments name one another/, ['null', '@./args'], {
      cwd: loop,
    })
  })
  it('is bounded text', async () => {
    const cwd = newDirectory({ nul: 'size=1\0' })
    await complains(/^@\/dev\/zero: cannot read arguments: it has more than 1048576 bytes /, [
      'null',
      '@/dev/zero',
    ])
    await complains(/^@\.\/nul: cannot read arguments: it is no text: byte 6 is a NUL /, ['null', '@./nul'], {
      cwd,
    })
    await complains(/^@\.\/: cannot read arguments: EISDIR/, ['null', '@./'], { cwd })
  })
  it('is no file in place of the plugin, as that may be a package with a scope', () =>
    complains(/^unknown plugin "@me\/args"/, ['@me/args']))
})

describe('a parameter', together, () => {
  it('that stands before the plugin is told from one', async () => {
    const message = /^"size=1" is a parameter, and parameters follow the plugin: nbdkit-ts \[options\] PLUGIN/
    await complains(message, ['size=1', 'null'])
    await complains(message, ['-f', 'size=1', 'null', '--run', 'true'])
    await complains(message, ['--help', 'size=1', 'null'])
    const cwd = newDirectory({ 'size=1': '' })
    await complains(/^plugin size=1: it is neither JavaScript nor TypeScript/, ['size=1', 'null'], { cwd })
  })
  it('that is given twice is refused, in any of its spellings', async () => {
    const twice: [args: string[], told: string][] = [
      [['null', '1', 'size=2'], 'null: size is given twice: "1" and "2"'],
      [
        ['--filter=delay', 'null', 'rdelay=1', 'delay-reads=2'],
        'delay: delay-reads is given twice: "1" and "2"',
      ],
      [['--filter=offset', 'null', 'offset=1', 'offset=1'], 'offset: offset is given twice: "1" and "1"'],
      [['file', 'dir=a', 'directory=b'], 'file: directory is given twice: "a" and "b"'],
      [['eval', 'pread=a', 'pread=b'], 'eval: pread is given twice: "a" and "b"'],
      [['python', 'x.py', 'restart=1', 'restart=1'], 'python: restart is given twice: "1" and "1"'],
      [['sh', 'x.sh', 'coprocess=1', 'coprocess=0'], 'sh: coprocess is given twice: "1" and "0"'],
      [['data', '1', 'A=1', 'A=2'], 'data: A is given twice: "1" and "2"'],
    ]
    for (const [args, told] of twice) await complains(told, args)
  })
})

describe('a file whose first line names the program', together, () => {
  const plugin = `import { definePlugin, param } from 'nbdkit-ts'
export default definePlugin({
  name: 'script', description: 'a script', params: { size: param.string({ magic: true, doc: 'A size.' }) },
  setup: ({ size = '' }) => ({ ready() { console.log(size) }, open: () => ({ size: 0, read() {} }) }),
})
`
  const script = async (name: string, first: string, args: readonly string[]) => {
    const cwd = newDirectory({ [name]: `${first}\n${plugin}`, 'lines.mjs': plugin })
    chmodSync(join(cwd, name), 0o755)
    symlinkSync(program, join(cwd, 'nbdkit-ts'))
    const path = [cwd, dirname(process.execPath), process.env.PATH].join(delimiter)
    const child = spawn(join(cwd, name), args, { cwd, env: { PATH: path, TMPDIR: temporary } })
    return { ...(await result(child)), cwd }
  }
  const serveAndEnd = ['--run', 'true']

  it('is a plugin that runs by itself, with what follows its name', async (t) => {
    if (!onLinux) return t.skip('env -S is not everywhere')
    const ended = await script('disk.mjs', '#!/usr/bin/env -S nbdkit-ts -f', ['1M', ...serveAndEnd])
    assert.equal(ended.stdout + ended.stderr, '1M\n')
    assert.equal(ended.status, 0)
  })
  it('is given to the plugin that this line names', async (t) => {
    if (!onLinux) return t.skip('env -S is not everywhere')
    const first = '#!/usr/bin/env -S nbdkit-ts -f ./lines.mjs'
    const { stdout, stderr, cwd } = await script('lines', first, serveAndEnd)
    assert.equal(stdout + stderr, `${cwd}/lines\n`)
  })
  it('may name it by its path, with one word after it', async (t) => {
    if (!onLinux) return t.skip('elsewhere a script cannot be named in a first line')
    const { stdout } = await script('disk.mjs', `#!${program} -f`, ['2M', ...serveAndEnd])
    assert.equal(stdout, '2M\n')
    const { stderr } = await script('disk.mjs', `#!${program} -f -r`, serveAndEnd)
    assert.match(stderr, /^nbdkit-ts: unknown option - {2}in "-f -r" \(.*env -S/)
  })
})

describe('of several things to print', together, () => {
  it('help comes first, then the version, then the plugin', async () => {
    await prints(/^plugin: null (?:.*\n)*\nnbdkit-ts \[options\]/, [
      '--help',
      '--version',
      '--dump-plugin',
      'null',
    ])
    await prints(/^nbdkit-ts \d/, ['--dump-plugin', '--version', 'null'])
  })
  it('what needs no plugin comes before them', () => prints(/^--busy-poll\n/, ['--help', '--long-options']))
})

describe('one client on standard input and output', () => {
  it('is served in the foreground, and its name is told', async () => {
    const child = start(['-s', '--name=a', '-v', 'null'], { stdio: ['pipe', 'pipe', 'pipe'] })
    const ended = result(child)
    child.stdin?.end()
    assert.match((await ended).stderr, /^nbdkit-ts\[a\]: /)
  })
})
