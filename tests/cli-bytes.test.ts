/** Words, variables and names of files that are not UTF-8: the same bytes everywhere, or refused by name. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { textOfBytes } from '../src/api/byte-text.js'
import { spawn } from '../src/os/spawn.js'
import { newDirectory, program, result, scratch, temporary } from './cli-helpers.js'

const onLinux = process.platform === 'linux' ? {} : { skip: 'other systems do not show the bytes' }
const together = { concurrency: 4, ...onLinux }

/** Text of Latin-1, as the bytes it has there. */
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const word = (text: string) => textOfBytes(latin1(text))

interface Options {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

function run(args: readonly string[], { cwd = scratch, env = {} }: Options = {}) {
  const enter = ['-c', 'cd "$1" && shift && exec "$@"', 'sh', cwd, process.execPath, program, ...args]
  const all = { PATH: process.env.PATH, TMPDIR: temporary, ...env }
  return result(spawn('/bin/sh', enter, { env: all, stdio: ['ignore', 'pipe', 'pipe'] }))
}

async function prints(stdout: string, args: readonly string[], options?: Options) {
  assert.deepEqual(await run(args, options), { status: 0, stdout, stderr: '' })
}

async function complains(message: RegExp, args: readonly string[], options?: Options) {
  const { status, stdout, stderr } = await run(args, options)
  assert.equal(stdout, '')
  assert.match(stderr, /^nbdkit-ts: [^\n]+\n$/)
  assert.match(stderr.slice('nbdkit-ts: '.length, -1), message)
  assert.equal(status, 1)
}

/** Of what is read from the disk. */
const dump = ['--run', 'nbdcopy "$uri" - | od -An -tx1']

describe('bytes that are not UTF-8', together, () => {
  it('of a value are served', async () => {
    await prints(' ff fe 80 41\n', ['-U', '-', 'data', word('raw=\xff\xfe\x80A'), ...dump])
    await prints(' 78 e9 ff\n', ['-U', '-', 'data', word('"x\xe9\\xff"'), ...dump])
    await prints(' e9 e9\n', ['-U', '-', 'data', '$x*2', word('x="\xe9"'), ...dump])
  })
  it('of a value are served by several threads', () =>
    prints(' 65 65\n', ['--workers=2', '-U', '-', 'file', word('f\xff'), ...dump], {
      cwd: directoryWith('f\xff', 'ee'),
    }))
  it('of a file of arguments, and of its name, are served', async () => {
    const cwd = directoryWith('args\xff', latin1('raw=\xff\xfeA\n'))
    await prints(' ff fe 41\n', ['-U', '-', 'data', word('@./args\xff'), ...dump], { cwd })
  })
  it('of a variable of the environment are served', () =>
    prints(' fe 31\n', ['-U', '-', 'data', '$x', ...dump], { env: { x: word('"\xfe1"') } }))
  it('of the name of a file are its name', async () => {
    const cwd = directoryWith('lat\xefn', 'x'.repeat(1000))
    await prints('1000\n', ['-U', '-', 'file', word('lat\xefn'), '--run', 'nbdinfo --size "$uri"'], { cwd })
    const dir = ['file', `dir=${cwd}`, '-e', 'disk', '--run', 'nbdinfo --size "$uri"']
    writeFileSync(join(cwd, 'disk'), 'x'.repeat(512))
    await prints('512\n', ['-U', '-', ...dir])
  })
  it('of the working directory are part of a relative name', async () => {
    const cwd = word('d\xff')
    const base = newDirectory()
    mkdirSync(Buffer.concat([Buffer.from(`${base}/`), latin1('d\xff')]))
    const path = Buffer.concat([Buffer.from(`${base}/`), latin1('d\xff/disk')])
    writeFileSync(path, 'x'.repeat(1000))
    const options = { cwd: `${base}/${cwd}` }
    await prints('1000\n', ['-U', '-', 'file', 'disk', '--run', 'nbdinfo --size "$uri"'], options)
    await complains(
      /^example2: file: ".*\/d\\xff\/disk" is not UTF-8/,
      ['-U', '-', 'example2', 'file=disk'],
      options,
    )
    await complains(/^plugin \.\/x\.mjs: there is no file .*\/d\\xff\/x\.mjs$/, ['./x.mjs'], options)
  })
  it('of the path of a socket are its name, which the URI has, and which is gone at the end', async () => {
    const cwd = newDirectory()
    const script =
      'nbdinfo --size "$uri"; ls | od -An -tx1; printf %s "$unixsocket" | od -An -tx1 | tail -n 1'
    const { status, stdout, stderr } = await run(['-U', word('k\xff'), 'null', '1k', '--run', script], {
      cwd,
    })
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
    assert.match(stdout, /^1024\n 6b ff 0a\n.* 6b ff\n$/)
    assert.deepEqual(readdirSync(cwd), [])
  })
  it('of the path of a socket do not take the place of a file that is there', async () => {
    const cwd = directoryWith('k\xff', 'mine')
    await complains(
      /^cannot listen on .*\/k\\xff: it exists, and is no socket$/,
      ['-f', '-U', word('k\xff'), 'null'],
      { cwd },
    )
    assert.equal(readFileSync(Buffer.concat([Buffer.from(`${cwd}/`), latin1('k\xff')]), 'utf8'), 'mine')
    assert.equal(readdirSync(cwd).length, 1)
  })
  it('of the command of --run, and of the environment, are what it is given', async () => {
    const script = word('printf "%s \xe9" "$mine" | od -An -tx1')
    await prints(' ff 41 20 e9\n', ['null', '--run', script], { env: { mine: word('\xffA') } })
  })
  it('of the environment are what a script is given', async () => {
    const cwd = newDirectory()
    const size = `get_size=printf %s "$mine" > ${cwd}/got; echo 512`
    const args = ['-U', '-', 'eval', size, 'pread=exit 1', '--run', 'nbdinfo --size "$uri"']
    await prints('512\n', args, { env: { mine: word('\xffA') } })
    assert.deepEqual(readFileSync(join(cwd, 'got')), latin1('\xffA'))
  })
  it('reach a server in the background', async () => {
    const cwd = directoryWith('f\xff', 'ee')
    const pid = Buffer.concat([Buffer.from(`${cwd}/`), latin1('pid\xff')])
    const args = ['-U', 's', '-P', word('pid\xff'), `--log=${cwd}/${word('log\xff')}`, 'file', word('f\xff')]
    await prints('', args, { cwd, env: { mine: word('\xff') } })
    const number = Number(readFileSync(pid, 'utf8'))
    assert.ok(existsSync(Buffer.concat([Buffer.from(`${cwd}/`), latin1('log\xff')])))
    const environment = readFileSync(`/proc/${number}/environ`)
    process.kill(number, 'SIGTERM')
    assert.ok(environment.includes(latin1('mine=\xff\0')), environment.toString('latin1'))
  })
})

/** With one file in it. */
function directoryWith(name: string, content: string | Buffer): string {
  const directory = newDirectory()
  writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), latin1(name)]), content)
  return directory
}

describe('a word that is not UTF-8 is refused by its name', together, () => {
  const refused: [means: string, args: string[], message: RegExp][] = [
    ['as the name of an export', ['-e', 'a\xff', 'null'], /^--exportname: "a\\xff" is not UTF-8, and cannot/],
    ['as a name', ['--name=a\xff', 'null'], /^--name: "a\\xff" is not UTF-8/],
    ['as an address', ['-i', 'a\xff', 'null'], /^--ipaddr: "a\\xff" is not UTF-8/],
    ['as a port', ['-p', '1\xff', 'null'], /^--port: "1\\xff" is not UTF-8/],
    ['as an option', ['--a\xff', 'null'], /^unknown option --a\\xff /],
    ['as a size', ['null', '1\xff'], /^null: size: "1\\xff" is not UTF-8/],
    ['as a key', ['null', 'a\xff=1'], /^null: size: "a\\xff=1" is not UTF-8/],
    ['as base64', ['data', 'base64=\xff'], /^data: base64: "\\xff" is not UTF-8/],
    ['as a plugin', ['a\xff'], /^plugin a\\xff: there is no file .*\/a\\xff$/],
    ['as a filter', ['--filter=a\xff', 'null'], /^--filter: "a\\xff" is not UTF-8/],
    ['as a file of arguments', ['null', '@./a\xff'], /^@\.\/a\\xff: cannot read arguments: ENOENT/],
    ['as what a script is given', ['eval', 'a=\xff', 'config=true'], /^eval: KEY: "\\xff" is not UTF-8/],
    ['as a script', ['eval', 'pread=\xff', 'get_size=echo 1'], /^eval: pread: "\\xff" is not UTF-8/],
    ['in data', ['data', '\xff'], /^data: line 1, column 1: "\\\\xff": expected a byte/],
  ]
  for (const [means, args, message] of refused)
    it(means, () => complains(message, ['-f', '-U', '-', ...args.map(word)]))
  it('as the directory of private sockets', () =>
    complains(/^the environment variable TMPDIR: "\/a\\xff" is not UTF-8/, ['-f', '-U', '-', 'null'], {
      env: { TMPDIR: word('/a\xff') },
    }))
  it('as a module in such a file', async () => {
    const cwd = directoryWith('p\xff.mjs', '')
    await complains(
      /^plugin \.\/p\\xff\.mjs: .* is not UTF-8, and cannot be imported/,
      [word('./p\xff.mjs')],
      { cwd },
    )
  })
})
