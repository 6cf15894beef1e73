/** What the program and its package say of it: for scripts, for shells, and for man. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { options } from '../src/cli/options/options.js'
import { newDirectory, program, root, run, scratch, version } from './cli-helpers.js'

const together = { concurrency: 4 }

/** False where the program is missing; then the test is skipped, and says so. */
function has(t: TestContext, name: string, flag = '--version'): boolean {
  const missing = spawnSync(name, [flag], { stdio: 'ignore' }).error !== undefined
  if (missing) t.skip(`${name} is not installed`)
  return !missing
}

describe('for scripts, the program lists', together, () => {
  const pairs = async (...args: string[]) => {
    const { stdout, status } = await run(args)
    assert.equal(status, 0)
    return new Map(stdout.split('\n').map((line) => line.split('=', 2) as [string, string]))
  }
  it('what it is, and where its parts are', async () => {
    const config = await pairs('--dump-config')
    for (const key of ['binary', 'bindir', 'filterdir', 'libdir', 'plugindir'])
      assert.ok(existsSync(config.get(key) ?? ''), `${key}=${config.get(key)}`)
    assert.ok(existsSync(join(config.get('plugindir') ?? '', 'null', 'null.js')))
    assert.equal(config.get('name'), 'nbdkit-ts')
    assert.equal(config.get('package_version'), version)
    // Scripts compare them with the release that brought what they need.
    assert.equal(config.get('version'), '1.48.0')
    assert.equal(`${config.get('version_major')} ${config.get('version_minor')}`, '1 48')
    const fixed = { max_api_version: '2', run_default_socket: 'Unix', soext: 'so', timeout_option: 'yes' }
    for (const [key, value] of Object.entries({ ...fixed, vsock_option: 'no', zstd: 'no', selinux: 'no' }))
      assert.equal(config.get(key), value, key)
    for (const key of ['host_cpu', 'host_os', 'mandir', 'root_tls_certificates_dir', 'sbindir', 'sysconfdir'])
      assert.ok(config.has(key), key)
    assert.match(
      `${config.get('exit_with_parent')} ${config.get('koffi')} ${config.get('tls')}`,
      /^(yes|no) (yes|no) no$/,
    )
    assert.deepEqual([...config.keys()].slice(0, -1), [...config.keys()].slice(0, -1).toSorted())
  })
  it('what a plugin is', async () => {
    const dumped = await pairs('null', '--dump-plugin')
    assert.equal(dumped.get('name'), 'null')
    assert.equal(dumped.get('max_thread_model'), 'parallel')
    assert.equal(dumped.get('thread_model'), 'parallel')
    assert.equal(dumped.get('magic_config_key'), 'size')
    for (const has of ['pread', 'pwrite', 'config_help', 'can_multi_conn', 'extents'])
      assert.equal(dumped.get(`has_${has}`), '1', has)
    assert.equal((await pairs('example1', '--dump-plugin')).has('has_pwrite'), false)
  })
  it('what scripts look for in a plugin', async () => {
    const lines: [plugin: string, line: string][] = [
      ['memory', 'zstd=no'],
      ['data', 'data_base64=yes'],
      ['info', 'info_address=yes'],
      ['sh', 'max_known_status=8'],
      ['eval', 'has_list_exports=1'],
      ['example3', 'example3_extra=hello'],
      ['file', 'has_list_exports=1'],
    ]
    for (const [plugin, line] of lines)
      assert.ok(
        (await run([plugin, '--dump-plugin'])).stdout.split('\n').includes(line),
        `${plugin}: ${line}`,
      )
  })
  it('what the filters are, the innermost first', async () => {
    const { stdout } = await run(['--filter=exitwhen', '--filter=offset', 'null', '--dump-plugin'])
    const own = stdout.split('\n').filter((line) => /^(exitwhen|offset)_/.test(line))
    const keys = own.map((line) => line.replace(/=.*/, ''))
    assert.deepEqual(keys.slice(0, 4), ['offset_path', 'offset_name', 'exitwhen_path', 'exitwhen_name'])
    assert.ok(own.includes('exitwhen_pipe_closed=yes'))
  })
  it('its options, which are all that it takes', async () => {
    const long = (await run(['--long-options'])).stdout.trimEnd().split('\n')
    const short = (await run(['--short-options'])).stdout.trimEnd().split('\n')
    assert.deepEqual(long, options.flatMap(({ names }) => names.map((name) => `--${name}`)).toSorted())
    const letters = options.flatMap(({ short }) => (short ? [`-${short}`] : []))
    assert.deepEqual(short.toSorted(), letters.toSorted())
    assert.match(short.join(' '), /-p -P .*-v -V$/)
    assert.equal(new Set([...long, ...short]).size, long.length + short.length, 'no name is given twice')
  })
  it('its options in the help, each with a text', async () => {
    const { stdout } = await run(['--help'])
    for (const { names } of options) assert.match(stdout, new RegExp(`--${names[0]}\\b`))
    assert.ok(stdout.split('\n').every((line) => line.length <= 100))
  })
})

for (const [what, script] of [
  ['what is made of the table of options', 'options'],
  ['what is made of the folders of modules', 'modules'],
])
  it(`${what} is up to date`, () => {
    const args = [join(root, `scripts/${script}.mjs`), '--check']
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.equal(stdout + stderr, '')
  })

describe('completion', together, () => {
  const completions = join(root, 'completions')
  const env = { ...process.env, PATH: [dirname(program), process.env.PATH].join(delimiter) }

  /** As bash calls it: the words, the last of which is completed. Bash makes `=` a word. */
  const inBash = (...words: string[]): string[] => {
    const script = `source ${completions}/nbdkit-ts.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nbdkit_ts; printf '%s\\n' "\${COMPREPLY[@]}"`
    const args = ['--norc', '-c', script, 'bash', 'nbdkit-ts', ...words]
    const { stdout, stderr } = spawnSync('bash', args, {
      encoding: 'utf8',
      cwd: newDirectory({ 'disk.img': '' }),
      env,
    })
    assert.equal(stderr, '')
    return stdout.split('\n').filter((line) => line !== '')
  }
  it('in bash knows options, filters, plugins, and the keys of those that are named', (t) => {
    if (!has(t, 'bash')) return
    assert.deepEqual(inBash('--dump'), ['--dump-config', '--dump-plugin'])
    assert.deepEqual(inBash('--filter', '=', 'off'), ['offset'])
    assert.deepEqual(inBash('mem'), ['memory'])
    assert.deepEqual(inBash('-U', 's', '--filter', '=', 'offset', 'null', ''), [
      'size=',
      'offset=',
      'range=',
      'disk.img',
    ])
  })
  it('in bash knows the words and files that options take', (t) => {
    if (!has(t, 'bash')) return
    assert.deepEqual(inBash('--log', '=', 's'), ['stderr', 'syslog'])
    assert.deepEqual(inBash('-P', 'd'), ['disk.img'])
    assert.deepEqual(inBash('file', 'file', '=', 'd'), ['disk.img'])
    assert.deepEqual(inBash('-e', 'd'), [])
  })
  it('for zsh is well formed', (t) => {
    if (!has(t, 'zsh')) return
    const { status, stderr } = spawnSync('zsh', ['-n', join(completions, '_nbdkit-ts')], { encoding: 'utf8' })
    assert.equal(stderr, '')
    assert.equal(status, 0)
  })
})

describe('manual pages', together, () => {
  const made = join(scratch, 'man')
  const build = () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/man.mjs'), made], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    return readdirSync(made)
  }
  it('are made of the page of the program, and of each plugin and filter', () => {
    const expected = ['plugin', 'filter'].flatMap((kind) => {
      const folder = join(root, 'src', `${kind}s`)
      return readdirSync(folder)
        .filter((name) => existsSync(join(folder, name, `${name}.md`)))
        .map((name) => `nbdkit-ts-${name}-${kind}.1`)
    })
    assert.deepEqual(build(), ['nbdkit-ts.1', ...expected].toSorted())
    const page = readFileSync(join(made, 'nbdkit-ts-null-plugin.1'), 'utf8')
    assert.match(
      page,
      /^\.TH "NBDKIT-TS-NULL-PLUGIN" "1" .*\n\.SH "NAME"\n\\fBnbdkit-ts-null-plugin\\fR - a disk that/,
    )
  })
  it('are rendered without a warning', (t) => {
    if (!has(t, 'man')) return
    for (const name of build()) {
      const { stdout, stderr } = spawnSync('man', ['--warnings', '-l', join(made, name)], {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' },
      })
      assert.equal(stderr, '', name)
      assert.match(stdout, /^NAME$[\s\S]*^SYNOPSIS$/m, name)
    }
  })
})
