/** Runs the program as a user does, and looks at its exit status, its output and what it leaves behind. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import {
  complains,
  greeting,
  newDirectory,
  prints,
  program,
  result,
  root,
  run,
  scratch,
  start,
  started,
  temporary,
  uriLines,
  version,
} from './cli-helpers.js'
import { needs } from './interop/helpers.js'

const together = { concurrency: 4 }

/** A plugin that refuses to start: that it is one line, and no bug, shows that its ConfigError is ours. */
const refusing = `
import { ConfigError, definePlugin } from 'nbdkit-ts'
import nullPlugin from 'nbdkit-ts/plugins/null'
export default definePlugin({
  name: 'tape', description: 'a tape', params: nullPlugin.definition.params,
  setup() { throw new ConfigError('there is no tape in ' + nullPlugin.definition.name) },
})
`

describe('the command line is refused', together, () => {
  const refusals: [means: string, args: string[], message: string | RegExp][] = [
    ['without a plugin', [], /^no plugin is given: nbdkit-ts /],
    [
      'for an unknown plugin, with the nearest',
      ['memroy', '1'],
      /^unknown plugin "memroy": did you mean memory\?/,
    ],
    [
      'for an unknown plugin, with all there are',
      ['xyzzy'],
      /^unknown plugin "xyzzy" \(known are .*, memory, .*null/,
    ],
    [
      'for what nbdkit has and we have not yet',
      ['--tls=require', 'null'],
      /^--tls is an option of nbdkit that nbdkit-ts does not have yet: /,
    ],
    [
      'for the letter of such an option',
      ['-u', 'nobody', 'null'],
      /^--user is an option of nbdkit that nbdkit-ts does not have yet: /,
    ],
    ['for an unknown filter', ['--filter=ofset', 'null'], /^unknown filter "ofset": did you mean offset\?/],
    [
      'for a filter in place of a plugin',
      ['offset'],
      'offset is a filter, not a plugin: give it as --filter=offset',
    ],
    [
      'for a plugin as a filter',
      ['--filter=null', 'null'],
      'null is a plugin, not a filter: give it without --filter',
    ],
    ['for two plugins', ['null', '1', 'memory'], 'null: size is given twice: "1" and "memory"'],
    [
      'for an unknown option',
      ['--foregorund', 'null'],
      /^unknown option --foregorund: did you mean --foreground\?/,
    ],
    ['for an unknown option after the plugin', ['null', '-x'], /^unknown option -x /],
    ['for an ambiguous prefix', ['--no', 'null'], /^option --no is ambiguous: --no-fork, --no-mc, /],
    ['for a missing argument', ['null', '-p'], 'option -p needs an argument: -p PORT'],
    [
      'for an argument that is not wanted',
      ['--verb=1', 'null'],
      'option --verb takes no argument, and was given "1"',
    ],
    ...['', ' ', ' 80', '80 ', '+80', '-1', '0x50', '8e1', '80.0', '80k', '８０'].map(
      (port): [string, string[], RegExp] => [
        `for "${port}", which is no port`,
        ['-p', port, 'null'],
        /^--port: ".*" is no port: expected a number from 0 to 65535, or the name of a service$/,
      ],
    ),
    ['for a port out of range', ['-p', '65536', 'null'], /^--port: 65536 is out of range: .* 0 to 65535$/],
    [
      'for a port that is no service',
      ['-p', 'xyzzy', 'null'],
      /^--port: "xyzzy" is no port number, and no TCP service of that name is in /,
    ],
    ['for a bad number of threads', ['-t', 'many', 'null'], '--threads: could not parse number: "many"'],
    [
      'for a moment of busy polling out of range',
      ['--busy-poll=1001', 'null'],
      /^--busy-poll: 1001 is out of range: .* 0 to 1000$/,
    ],
    ['for no worker', ['--workers=0', 'null'], /^--workers: 0 is out of range: .* 1 to 256$/],
    [
      'for workers that are no number',
      ['--workers=all', 'null'],
      /^--workers: could not parse number: "all"/,
    ],
    ['for a bad time', ['--timeout=soon', 'null'], /^--timeout: could not parse delay "soon"/],
    ['for a bad mask', ['--mask-handshake=x', 'null'], '--mask-handshake: could not parse number: "x"'],
    ['for a socket without a name', ['-U', '', 'null'], '--unix: it is empty'],
    [
      'for a client on standard input and a plugin to tell of',
      ['-s', 'null', '--dump-plugin'],
      /^-s and --dump-plugin/,
    ],
    [
      'for the same, with another text asked for',
      ['-s', '-V', 'null', '--dump-plugin'],
      /^-s and --dump-plugin/,
    ],
    ['for two transports', ['-U', 's', '-p', '1', 'null'], '-U and -p cannot be used together'],
    [
      'for a command with one client',
      ['-s', '--run', 'true', 'null'],
      '--run and -s cannot be used together',
    ],
    ['for a bad debug flag', ['-D', 'null', 'null'], '--debug: "null" is not of the form NAME.FLAG=N'],
    ['for a debug flag that is no number', ['-D', 'a.b=x', 'null'], '--debug: could not parse number: "x"'],
    [
      'for a place of messages that is none',
      ['--log=here', 'null'],
      '--log: "here" is none of default, stderr, syslog, null, nor the absolute path of a file',
    ],
    [
      'for a file of messages that cannot be opened',
      ['--log=/nowhere/log', 'null'],
      /^--log: ENOENT.*\/nowhere\/log/,
    ],
    ['for a name with brackets', ['--name=a]', 'null'], /^--name: "a\]" has brackets or control characters$/],
    [
      'for a file of arguments that is not there',
      ['null', '@./nowhere'],
      /^@\.\/nowhere: cannot read arguments: ENOENT.*\(a value that begins with @ and has a \/ is given/,
    ],
    ['for an address that an option excludes', ['-4', '-i', '::1', 'null'], /^-i: ::1 is an IPv6 address/],
    [
      'for a name without an address',
      ['-i', 'no.invalid', 'null'],
      /^-i: no address of "no\.invalid" is found/,
    ],
    ['for a key that is missing', ['memory'], 'memory: size=SIZE is required'],
    [
      'for a value out of range, with the range',
      ['null', 'size=9E'],
      'null: size: size "9E" is too large: the largest is 9007199254740991 (8 PiB - 1)',
    ],
    ['for an unknown key', ['null', 'sise=1'], 'unknown parameter "sise": null knows size'],
    [
      'for a key that neither filter nor plugin knows',
      ['--filter=offset', 'null', 'sise=1'],
      'unknown parameter "sise": offset knows offset, range; null knows size',
    ],
    ['for a key given twice', ['null', 'size=1', 'size=2'], 'null: size is given twice: "1" and "2"'],
    [
      'for a value that does not parse',
      ['-U', '-', 'null', 'size=x'],
      /^null: size: could not parse size "x"/,
    ],
    ['for a file that is not there', ['./x.ts'], `plugin ./x.ts: there is no file ${join(scratch, 'x.ts')}`],
    [
      'for a directory',
      ['./0'],
      `plugin ./0: ${join(scratch, '0')} is not a file: to serve the files in it, say "nbdkit-ts file dir=./0"`,
    ],
    [
      'for a folder that is not there',
      ['-U', 'no/s', 'null'],
      /^cannot listen on .*\/no\/s: there is no dir/,
    ],
    [
      'for a path that is too long for a socket',
      ['-U', 's'.repeat(100), 'null'],
      /^the path of a Unix socket has at most 107 bytes, .*s has \d{3}$/,
    ],
    ['for a file in place of a socket', ['-U', program, 'null'], /nbdkit-ts: it exists, and is no socket$/],
    [
      'for an address of another machine',
      ['-i', '192.0.2.1', 'null'],
      /192\.0\.2\.1:10809: this machine has no such/,
    ],
    ['for a pid file without a folder', ['-U', '-', '-P', 'no/p', 'null'], /^--pidfile: ENOENT/],
    ['for a pid file that is a folder', ['-U', '-', '-P', '0', 'null'], /^--pidfile: .*\/0 is a directory$/],
  ]
  for (const [means, args, message] of refusals) it(means, () => complains(message, args))

  it('for a pid file before a plugin is set up', async () => {
    const setUp = refusing.replace('throw', "console.log('set up'); throw")
    const cwd = newDirectory({ 'x.mjs': setUp })
    await complains(/^--pidfile: ENOENT/, ['-U', 's', '-P', 'no/p', './x.mjs'], { cwd })
  })
  it('for a port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const taken = new RegExp(`^cannot listen on 127.0.0.1:${port}: the address is already in use$`)
    await complains(taken, ['-i', '127.0.0.1', '-p', String(port), 'null'])
    server.close()
  })
  it('for a socket that a dead server left behind, and says what to do', async () => {
    const cwd = newDirectory()
    const socket = `require('net').createServer().listen('s', () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', socket], { cwd })
    await complains(
      `cannot listen on ${cwd}/s: a server that has ended left it behind: remove it with "rm", and start again`,
      ['-U', 's', 'null'],
      { cwd },
    )
    assert.deepEqual(readdirSync(cwd), ['s'])
  })
})

describe('the program tells', together, () => {
  it('its version', () => prints(`nbdkit-ts ${version} (nbdkit 1.48)\n`, ['-V']))
  it('the versions of layers, in the order of requests', () =>
    prints(`nbdkit-ts ${version} (nbdkit 1.48)\noffset ${version}\nnull ${version}\n`, [
      'null',
      '--vers',
      '--filter',
      'offset',
    ]))
  it('its options', () => prints(/^nbdkit-ts \[options\].*\n +-U, --unix=SOCKET +Listen on/s, ['--help']))
  it('the parameters of layers', () =>
    prints(/^plugin: null .*\n\nfilter: offset .*\/offset\.js\)\n {2}offset=.*\n\nnbdkit-ts \[/s, [
      '--filter=offset',
      'null',
      '--help',
    ]))
  it('what it knows of a plugin', () =>
    prints(
      new RegExp(
        `^path=/.*/null\\.js\nname=null\nversion=${version}\napi_version=1\nmax_thread_model=parallel\nthread_model=parallel\nmagic_config_key=size\n`,
      ),
      ['null', '--dump-plugin'],
    ))
  it('that it needs a plugin to tell of one', () => complains(/^no plugin is given/, ['--dump-plugin']))
  it('that it does not know a plugin whose version is asked', () =>
    complains(/^unknown plugin/, ['xyzzy', '-V']))
})

describe('the program is found', together, () => {
  it('through a symbolic link', async () => {
    const bin = join(newDirectory(), 'nbdkit-ts')
    symlinkSync(program, bin)
    await prints(`nbdkit-ts ${version} (nbdkit 1.48)\n`, ['-V'], { bin })
  })
  it('through its first line', () => {
    const { stdout } = spawnSync(program, ['-V'], { encoding: 'utf8' })
    assert.equal(stdout, `nbdkit-ts ${version} (nbdkit 1.48)\n`)
  })
  it('or says how to build it', async () => {
    const directory = newDirectory({ 'package.json': '{ "type": "module" }' })
    mkdirSync(join(directory, 'bin'))
    cpSync(program, join(directory, 'bin', 'nbdkit-ts'))
    await complains(/dist\/package\/cli\/main\.js is missing: "npm run build"/, [], {
      bin: join(directory, 'bin', 'nbdkit-ts'),
    })
  })
})

const typed = `import type { Device } from 'nbdkit-ts'
export const size = (device: Device): number => device.size satisfies number
${refusing}`
const noTape = 'there is no tape in null'
const otherCopy = {
  'package.json': '{ "name": "nbdkit-ts", "main": "index.js" }',
  'index.js': 'throw "another copy"',
}

describe('a module of a user', together, () => {
  const start = ['-U', '-']
  it('gets our API wherever it lies', async () => {
    const cwd = newDirectory({ 'tape.mjs': refusing })
    await complains(noTape, [...start, './tape.mjs'], { cwd })
    await complains(noTape, [...start, join(cwd, 'tape.mjs')])
  })
  it('gets our API although another copy lies beside it', async () => {
    const cwd = newDirectory({
      'tape.mjs': refusing,
      'node_modules/nbdkit-ts/package.json': otherCopy['package.json'],
      'node_modules/nbdkit-ts/index.js': otherCopy['index.js'],
    })
    await complains(noTape, [...start, './tape.mjs'], { cwd })
  })
  it('may be TypeScript', async () => {
    await complains(noTape, [...start, './tape.ts'], { cwd: newDirectory({ 'tape.ts': typed }) })
  })
  it('may import more TypeScript and JavaScript', async () => {
    const cwd = newDirectory({
      'main.ts': "import tape from './tape.ts'\nimport './other.mjs'\nexport default tape",
      'tape.ts': typed,
      'other.mjs': "import { param } from 'nbdkit-ts'",
    })
    await complains(noTape, [...start, './main.ts'], { cwd })
  })
  it('may be a package, with a scope or without', async () => {
    const json = '{ "type": "module", "exports": { "import": "./index.js" } }'
    const cwd = newDirectory({
      'node_modules/@me/tape/package.json': json,
      'node_modules/@me/tape/index.js': refusing,
      'node_modules/nbdkit-plugin-tape/package.json': json,
      'node_modules/nbdkit-plugin-tape/index.js': refusing,
      'deeper/x': '',
    })
    await complains(noTape, [...start, '@me/tape'], { cwd })
    await complains(noTape, [...start, 'nbdkit-plugin-tape'], { cwd: join(cwd, 'deeper') })
  })
  it('may be a filter', async () => {
    const text = refusing.replaceAll('definePlugin', 'defineFilter')
    await complains(noTape, [...start, '--filter=./tape.mjs', 'null'], {
      cwd: newDirectory({ 'tape.mjs': text }),
    })
  })
  it('shows its parameters', async () => {
    const cwd = newDirectory({ 'tape.mjs': refusing })
    await prints(/^plugin: tape \(a tape\)\n\(.*\/tape\.mjs\)\n {2}size=SIZE/, ['./tape.mjs', '--help'], {
      cwd,
    })
    await prints(
      /^path=.*\/tape\.mjs\nname=tape\napi_version=1\nmax_thread_model=parallel\nthread_model=\w+\nmagic_/,
      ['./tape.mjs', '--dump-plugin'],
      {
        cwd,
      },
    )
  })
  it('is refused when it is a filter in place of a plugin', async () => {
    const text = refusing.replaceAll('definePlugin', 'defineFilter')
    const cwd = newDirectory({ 'a.mjs': text, 'b.mjs': refusing })
    await complains(
      /^\.\/a\.mjs is a filter, not a plugin: give it as --filter=\.\/a\.mjs \(\/.*a\.mjs\)$/,
      ['./a.mjs'],
      { cwd },
    )
    await complains(/^\.\/b\.mjs is a plugin, not a filter/, ['--filter=./b.mjs', 'null'], { cwd })
  })

  const wrong: [means: string, text: string, found: string][] = [
    ['no default export', 'export const a = 1', 'found no default export'],
    ['an object', 'export default {}', 'found a default export that is an object'],
    ['a function', 'export default () => 1', 'found a default export that is a function'],
    ['a plugin with its values', refusing.replace('})\n', '})()\n'), 'found a plugin that has been called'],
  ]
  for (const [means, text, found] of wrong)
    it(`is refused when it exports ${means}`, async () => {
      const cwd = newDirectory({ 'x.mjs': text })
      await complains(new RegExp(`^plugin \\./x\\.mjs: expected .* in /.*/x\\.mjs, ${found}`), ['./x.mjs'], {
        cwd,
      })
    })

  const broken: [means: string, file: string, text: string, message: RegExp][] = [
    ['a syntax error in JavaScript', 'x.mjs', 'const a = 1\nconst b c\n', /\/x\.mjs:2: SyntaxError: /],
    ['a syntax error in TypeScript', 'x.ts', 'const a: number = 1\nconst b c\n', /\/x\.ts:2: \w+Error: /],
    [
      'an import that is not there',
      'x.mjs',
      "import 'nowhere'",
      /Cannot find package 'nowhere' imported from .*\/x\.mjs/,
    ],
    [
      'an import without such a name',
      'x.mjs',
      "\nimport { nowhere } from 'nbdkit-ts'",
      /\/x\.mjs:2: SyntaxError: .*nowhere/,
    ],
    ['a throw', 'x.mjs', '\n\nnull.x', /\/x\.mjs:3: TypeError: Cannot read/],
  ]
  for (const [means, file, text, message] of broken)
    it(`is refused for ${means}, and the place is named`, async () => {
      await complains(message, [`./${file}`], { cwd: newDirectory({ [file]: text }) })
    })

  it('is told what it threw at set up: one line of the system, or where its mistake is', async () => {
    const missing = refusing.replace("new ConfigError('there is no", "new URL('there is no")
    const { status, stderr } = await run([...start, './x.mjs'], { cwd: newDirectory({ 'x.mjs': missing }) })
    assert.match(stderr, /^nbdkit-ts: tape: setup: TypeError: Invalid URL \(x\.mjs:6\)\n$/)
    assert.equal(status, 1)
    const absent = refusing.replace('throw', "process.chdir('absent'); throw")
    await complains(/^ENOENT: .*absent'$/, [...start, './x.mjs'], { cwd: newDirectory({ 'x.mjs': absent }) })
  })

  it('names the package that TypeScript needs where it is missing', async (t) => {
    if ((process.features as { typescript?: unknown }).typescript)
      return t.skip('this Node runs TypeScript itself')
    if (existsSync(join(tmpdir(), 'node_modules', 'jiti')))
      return t.skip(`jiti is installed in ${tmpdir()}, so it is not missing`)
    const copy = newDirectory({ 'tape.ts': typed })
    for (const part of ['package.json', 'bin', 'dist/package'])
      cpSync(join(root, part), join(copy, part), { recursive: true })
    const message = /^cannot load \/\S+\/tape\.ts: Node \S+ does not run TypeScript: .*"npm install jiti"$/
    await complains(message, ['./tape.ts'], { bin: join(copy, 'bin', 'nbdkit-ts'), cwd: copy })
  })
})

describe('a file in another language', together, () => {
  const disk =
    'def open(r): return 1\ndef get_size(h): return 4096\ndef pread(h, count, offset): return bytes(count)\n'

  for (const first of ['/usr/sbin/nbdkit python', '/usr/bin/env -S nbdkit-ts python'])
    it(`is served by the plugin that its first line names: ${first}`, async () => {
      const file = join(newDirectory({ script: `#!${first}\n${disk}` }), 'script')
      await prints(/^name=script\n[\s\S]*^has_pread=1$/m, [file, '--dump-plugin'])
    })

  it('is told of with what it says itself: sh', async () => {
    const text =
      '#!/bin/sh\ncase "$1" in thread_model) echo parallel;; dump_plugin) echo mine=1;; *) exit 2;; esac\n'
    const file = join(newDirectory({ script: text }), 'script')
    chmodSync(file, 0o755)
    await prints(/^name=sh$.*^thread_model=parallel$.*^max_known_status=8\nmine=1$/ms, [
      'sh',
      file,
      '--dump-plugin',
    ])
    await prints(/^magic_config_key=script$.*^max_known_status=8$/ms, ['sh', '--dump-plugin'])
    await prints(/^name=eval$.*^max_known_status=8$/ms, ['eval', '--dump-plugin'])
  })

  it('is not loaded as a filter', async () => {
    const file = join(newDirectory({ 'x.so': '\x7fELF' }), 'x.so')
    await complains(/^filter .*x.so: filters of nbdkit cannot be loaded, only its plugins/, [
      `--filter=${file}`,
      'null',
    ])
  })

  it('is read from standard input, and served in the background', needs('nbdinfo'), async () => {
    const directory = newDirectory()
    const [socket, pid] = [join(directory, 'socket'), join(directory, 'pid')]
    const text = `case "$1" in get_size) echo 4k ;; pread) head -c "$3" /dev/zero ;; *) exit 2 ;; esac`
    const child = start(['sh', '-', '-U', socket, '-P', pid], { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin?.end(text)
    assert.deepEqual(await result(child), { status: 0, stdout: '', stderr: '' })
    const info = spawnSync('nbdinfo', ['--size', `nbd+unix:///?socket=${socket}`], { encoding: 'utf8' })
    process.kill(Number(readFileSync(pid, 'utf8')))
    assert.equal(info.stdout, '4096\n', info.stderr)
  })

  it('is not read from standard input where that is a client', () =>
    complains(/^sh: "-" reads the script from standard input, which with -s is the client/, [
      '-s',
      'sh',
      '-',
    ]))
})

describe('--run', together, () => {
  it('gives the command the URI of a private socket, and removes the socket', async () => {
    const { status, stdout, stderr } = await run([
      'null',
      '--run',
      'echo "$uri|$nbd|$unixsocket|$port"; test -S "$unixsocket"',
    ])
    const [, path = ''] = /^nbd\+unix:\/\/\/?\?socket=(\S+)\|nbd\+unix:\S+\|\1\|\n$/.exec(stdout) ?? []
    assert.ok(path.startsWith(temporary), stdout + stderr)
    assert.equal(existsSync(dirname(path)), false)
    assert.equal(status, 0)
  })
  it('gives the command the port that was taken', async () => {
    const { stdout } = await run([
      '-p',
      '0',
      '-i',
      '127.0.0.1',
      'null',
      '--run',
      'echo "$uri|$port|$unixsocket"',
    ])
    const [, port] = /^nbd:\/\/[^|]*:(\d+)\/?\|\1\|\n$/.exec(stdout) ?? []
    assert.ok(Number(port) > 0, stdout)
  })
  it('gives the command every name as it is', async () => {
    const cwd = newDirectory()
    const name = `a'b "c" $d \`e\``
    await prints(
      `${name}|${cwd}/s 'x'\n`,
      ['-U', "s 'x'", '-e', name, 'null', '--run', 'printf "%s|%s\\n" "$exportname" "$unixsocket"'],
      {
        cwd,
      },
    )
    assert.deepEqual(readdirSync(cwd), [])
  })
  it('does not put its variables in the environment', () =>
    prints('\n', ['null', '--run', 'sh -c \'echo "$uri"\'']))
  it('gives the command the name of the server', () =>
    prints('in0\n', ['--name', 'in0', 'null', '--run', 'echo "$name"']))
  it('tells of a command that is not there, by its status', async () => {
    const { status, stderr } = await run(['null', '--run', 'nbdkit-ts-nowhere'])
    assert.match(stderr, /nbdkit-ts-nowhere: .*not found/)
    assert.equal(status, 127)
  })
  it('ends with the status of the command', async () => {
    assert.equal((await run(['null', '--run', 'exit 7'])).status, 7)
  })
  it('ends with 128 and the signal that killed the command, and says so', async () => {
    const { status, stderr } = await run(['null', '--run', 'kill -9 $$'])
    assert.equal(status, 128 + 9)
    assert.equal(stderr, 'nbdkit-ts: the command given with --run was killed by SIGKILL\n')
  })
  it('stops the command when it is asked to stop itself', async () => {
    const child = start(['null', '--run', 'echo ready; exec sleep 60'])
    child.stdout?.once('data', () => child.kill('SIGTERM'))
    assert.equal((await result(child)).status, 128 + 15)
  })
  it('hands its options on to the server', async (t) => {
    if (spawnSync('nbdinfo', ['--version']).error) return t.skip('nbdinfo is not installed')
    const info = (options: string[]) => run([...options, 'null', '1M', '--run', 'nbdinfo "$uri"'])
    assert.match((await info(['-r'])).stdout, /is_read_only: true/)
    assert.match((await info(['-o'])).stdout, /^protocol: oldstyle /)
    assert.match((await info(['--no-sr'])).stdout, /^protocol: newstyle-fixed .*simple packets/)
    assert.match((await info(['--mask-handshake=0'])).stdout, /^protocol: newstyle without/)
    assert.doesNotMatch((await info(['--no-mc'])).stdout, /base:allocation/)
  })
  it('serves a client that is not ours', async (t) => {
    if (spawnSync('nbdinfo', ['--version']).error) return t.skip('nbdinfo is not installed')
    await prints('1048576\n', [
      '--filter=offset',
      'null',
      '2M',
      'offset=1M',
      '--run',
      'nbdinfo --size "$uri"',
    ])
  })
})

/** A plugin whose reads never end, and a client that waits for one. */
const stuckPlugin = `
import { definePlugin } from 'nbdkit-ts'
const read = () => (console.log('reading'), new Promise(() => {}))
export default definePlugin({
  name: 'stuck', description: '', params: {},
  setup: () => ({ open: () => ({ size: 4096, read }) }),
})
`
async function stuckRead(path: string): Promise<Socket> {
  const socket = connect(path)
  await greeting(socket)
  const clientFlags = Buffer.from([0, 0, 0, 3])
  const exportName = Buffer.concat([Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])])
  socket.write(Buffer.concat([clientFlags, exportName]))
  await once(socket, 'data')
  const read = Buffer.alloc(28)
  read.writeUInt32BE(0x25609513, 0)
  read.writeUInt32BE(512, 24)
  socket.write(read)
  return socket
}

describe('a server', together, () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const)
    it(`stops cleanly at ${signal}, and leaves no socket`, async () => {
      const cwd = newDirectory()
      const { child, ended, uri } = await started(['-U', 's', 'null'], { cwd })
      assert.equal(uri, `nbd+unix://?socket=${cwd}/s`)
      child.kill(signal)
      assert.deepEqual(await ended, { status: 0, stdout: uriLines(uri), stderr: '' })
      assert.deepEqual(readdirSync(cwd), [])
    })
  it('names the export in its URI', async () => {
    const { child, ended, uri } = await started(['-U', '-', '-e', 'a b?', 'null'])
    child.kill()
    assert.match(uri, /^nbd\+unix:\/\/\/a%20b%3[fF]\?socket=/)
    assert.equal((await ended).status, 0)
  })
  it('writes its own process id, and leaves the file', async () => {
    const cwd = newDirectory()
    const { child, ended } = await started(['-U', '-', '-P', 'pid', 'null'], { cwd })
    child.kill()
    await ended
    assert.equal(readFileSync(join(cwd, 'pid'), 'utf8'), `${child.pid}\n`)
  })
  it('does not take a place that is taken', async () => {
    const cwd = newDirectory()
    const { child, ended } = await started(['-U', 's', 'null'], { cwd })
    await complains(`cannot listen on ${cwd}/s: another server listens there`, ['-U', 's', 'null'], { cwd })
    assert.equal(await greeting(connect(join(cwd, 's'))), 'NBDMAGIC')
    child.kill()
    await ended
  })
  it('says what happens when it is asked to', async () => {
    const { child, ended } = await started(['-v', '-U', '-', 'null'])
    child.kill()
    const { stderr, status } = await ended
    assert.match(stderr, /^(nbdkit-ts: ([^ ]+: )?debug: .*\n( {2}.*\n)*)+$/)
    assert.equal(status, 0)
  })
  it('gives up at the second signal, and names the layer that does not let it stop', async () => {
    const cwd = newDirectory({ 'stuck.mjs': stuckPlugin })
    const { child, ended } = await started(['-U', 's', './stuck.mjs'], { cwd })
    const socket = await stuckRead(join(cwd, 's'))
    socket.on('error', () => {})
    if (child.stdout) await once(child.stdout, 'data')
    child.kill()
    await once(socket, 'close', { signal: AbortSignal.timeout(50) }).catch(() => {})
    child.kill()
    const { status, stderr } = await ended
    assert.equal(status, 1)
    assert.match(stderr, /^nbdkit-ts: .*stuck.*read/m)
    socket.destroy()
  })
  it('stops with status 1 when a plugin throws where nobody catches it', async () => {
    const text = stuckPlugin.replace('setup: () => (', 'setup: () => (setTimeout(() => null.x, 50), ')
    const cwd = newDirectory({ 'x.mjs': text })
    const { status, stderr } = await run(['-f', '-U', '-', './x.mjs'], { cwd })
    assert.match(stderr, /^nbdkit-ts: error: uncaught: TypeError: Cannot read .*\n {6}at .*x\.mjs:6/)
    assert.equal(status, 1)
  })
  it('ends with its parent', async (t) => {
    if (process.platform !== 'linux') return t.skip('on Linux only')
    const cwd = newDirectory()
    const script =
      '"$0" "$1" --exit-with-parent -U s -P pid null & while ! test -s pid; do sleep 0.02; done; kill -9 $$'
    const shell = spawn('sh', ['-c', script, process.execPath, program], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { stderr } = await result(shell)
    assert.equal(stderr, '')
    assert.deepEqual(readdirSync(cwd), ['pid'])
  })
})

describe('sockets that are inherited', together, () => {
  /** Runs the program by exec, so that the process id that is promised is its own. */
  const inherit = async (args: string[], pid = '$$'): Promise<{ child: ChildProcess; port: number }> => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle
    const script = `LISTEN_FDS=1 LISTEN_PID=${pid} exec "$0" "$@"`
    const child = spawn('sh', ['-c', script, process.execPath, program, ...args], {
      cwd: scratch,
      stdio: ['ignore', 'pipe', 'pipe', fd],
      env: { PATH: process.env.PATH, TMPDIR: temporary },
    })
    // The program has it now: here it would take clients away.
    server.close()
    return { child, port }
  }

  it('are served', async () => {
    const { child, port } = await inherit(['null', '--print-uri'])
    const ended = result(child)
    if (child.stdout) await once(child.stdout, 'data')
    assert.equal(await greeting(connect(port, '127.0.0.1')), 'NBDMAGIC')
    child.kill()
    assert.deepEqual(await ended, { status: 0, stdout: uriLines(`nbd://127.0.0.1:${port}`), stderr: '' })
  })
  it('do not go with options that choose a place', async () => {
    const { status, stderr } = await result((await inherit(['-U', '-', '-i', '::1', 'null'])).child)
    assert.equal(stderr, 'nbdkit-ts: -i, -U cannot be used where sockets are inherited (LISTEN_FDS)\n')
    assert.equal(status, 1)
  })
  it('are left alone when they are meant for another process', async () => {
    const { status, stdout } = await result(
      (await inherit(['null', '--run', 'echo "$unixsocket"'], '1')).child,
    )
    assert.match(stdout, /socket\n$/)
    assert.equal(status, 0)
  })
})

describe('one client on standard input and output', together, () => {
  it('is greeted, and the program ends when it leaves', async () => {
    const child = start(['-s', 'null'], { stdio: ['pipe', 'pipe', 'pipe'] })
    const ended = result(child)
    if (child.stdout) await once(child.stdout, 'data')
    child.stdin?.end()
    const { status, stdout, stderr } = await ended
    assert.equal(stderr, '')
    assert.ok(stdout.startsWith('NBDMAGICIHAVEOPT'))
    assert.equal(status, 0)
  })
  it('is served through pipes of a shell', () => {
    const { status, stdout } = spawnSync('sh', [
      '-c',
      `sleep 0.1 | "${process.execPath}" "${program}" -s null | cat`,
    ])
    assert.ok(stdout.toString('latin1').startsWith('NBDMAGICIHAVEOPT'))
    assert.equal(status, 0)
  })
  it('is served on one socket, as inetd gives it', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect((server.address() as { port: number }).port, '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [Socket & { _handle: { fd: number } }]
    const child = start(['-s', 'null'], { stdio: [accepted._handle.fd, accepted._handle.fd, 'pipe'] })
    const ended = result(child)
    accepted.destroy()
    assert.equal(await greeting(client), 'NBDMAGIC')
    client.end()
    assert.deepEqual(await ended, { status: 0, stdout: '', stderr: '' })
    server.close()
  })
})

describe('afterwards', () => {
  it('nothing is left where private sockets are made', () => assert.deepEqual(readdirSync(temporary), []))
})
