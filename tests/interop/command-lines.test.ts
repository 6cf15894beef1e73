/** nbdkit and nbdkit-ts are given the same command lines, and end in the same way. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageRoot } from '../programs.js'
import { commandLines, type Line, reasons } from './command-lines.js'
import { filterCommandLines } from './filter-command-lines.js'
import { isVersion, needs, needsVersion } from './helpers.js'
import { newerCommandLines } from './newer-command-lines.js'

const programs = { nbdkit: 'nbdkit', ours: join(packageRoot, 'bin', 'nbdkit-ts') } as const
type Name = keyof typeof programs

/** Short, as the paths of sockets have little room. */
const scratch = mkdtempSync(join(tmpdir(), 'lines-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

const env = {
  LC_ALL: 'C.UTF-8',
  TMPDIR: scratch,
  PATH: [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter),
}
let directories = 0

function newDirectory(): string {
  const directory = join(scratch, String(directories++))
  mkdirSync(directory)
  writeFileSync(join(directory, 'disk'), 'x'.repeat(65_536))
  writeFileSync(join(directory, 'text'), 'hello')
  return directory
}

/** Nobody takes the socket of a process away that is killed. */
function leaveDeadSocket(path: string): void {
  const listen =
    'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))'
  spawnSync(process.execPath, ['-e', listen, path])
}

function words(text: string): string[] {
  return [...text.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

/** Long past what the slowest takes: whoever serves where he should end holds a port that others ask for. */
const endsWithinMs = 60_000

interface Ended {
  readonly status: number | string | null
  readonly stdout: string
  readonly stderr: string
}

async function run(name: Name, { text, serves }: Line): Promise<Ended> {
  const cwd = newDirectory()
  if (text.includes('dead')) leaveDeadSocket(join(cwd, 'dead'))
  const child = spawn(programs[name], words(text), { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const timer = setTimeout(() => child.kill('SIGKILL'), endsWithinMs)
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  clearTimeout(timer)
  assert.notEqual(signal, 'SIGKILL', `${name} ${text} has not ended after ${endsWithinMs} ms`)
  if (serves) await stopServer(join(cwd, 'pid'))
  return { status: status ?? signal, stdout: normalized(stdout, cwd), stderr: normalized(stderr, cwd) }
}

/** nbdkit writes the file after its first process has ended. */
async function stopServer(pidFile: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 10) {
    const text = read(pidFile)
    if (text.endsWith('\n')) {
      process.kill(Number(text), 'SIGTERM')
      return
    }
    await sleep(10)
  }
  assert.fail('the process id has not been written after 10 s')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** What may differ from run to run, and the name and the version of the program. */
function normalized(text: string, directory: string): string {
  return text
    .replaceAll(directory, '.')
    .replaceAll(/\/\S*\/nbdkit(-ts-)?\w{6}\/socket/g, '/private/socket')
    .replaceAll('nbdkit-ts', 'nbdkit')
    .replaceAll(/\b\d+\.\d+\.\d+\b(?: \(nbdkit \d+\.\d+\))?/g, 'VERSION')
    .replaceAll(/^sh: \d+: /gm, 'sh: ')
}

/** Texts of messages are each program's own. That of a command is the same. */
function shape({ stderr }: Ended, other: Ended): string {
  if (stderr === '') return 'nothing'
  return stderr === other.stderr ? 'the same' : 'a message'
}

function expectedToDiffer({ differs }: Line): Line['differs'] {
  return differs?.until !== undefined && isVersion('nbdkit', differs.until) ? undefined : differs
}

const options = { ...needs('nbdkit', 'nbdinfo'), concurrency: 4 }

const all = [...commandLines, ...filterCommandLines, ...newerCommandLines]

describe('nbdkit and nbdkit-ts are given', options, () => {
  for (const line of all) {
    const differs = expectedToDiffer(line)
    const needed = line.since === undefined ? {} : needsVersion('nbdkit', line.since, 'nbdinfo')
    it(`${line.text || 'nothing'}${differs ? ` (${differs.reason})` : ''}`, needed, async () => {
      const [theirs, ours] = await Promise.all([run('nbdkit', line), run('ours', line)])
      if (shape(ours, theirs) === 'a message') assert.match(ours.stderr, /^nbdkit: /)
      const seen = ({ status, stdout }: Ended, stderr: string) => ({ status, stdout, stderr })
      const [a, b] = [seen(ours, shape(ours, theirs)), seen(theirs, shape(theirs, ours))]
      if (differs === undefined)
        assert.deepEqual(a, b, `nbdkit-ts and nbdkit:\n${ours.stderr}${theirs.stderr}`)
      else {
        assert.equal(ours.status, differs.status, ours.stderr)
        assert.notDeepEqual(a, b, 'they do not differ any more: do not expect it')
      }
    })
  }
})

describe('the list of command lines', () => {
  it('is long, and has each of them once', () => {
    assert.ok(all.length >= 150)
    const texts = all.map(({ text }) => text)
    assert.deepEqual(
      texts.filter((text, index) => texts.indexOf(text) !== index),
      [],
    )
  })
  it('gives reasons that the manual page tells', () => {
    const page = readFileSync(join(packageRoot, 'docs', 'nbdkit-ts.md'), 'utf8').replaceAll(/\s+/g, ' ')
    for (const reason of Object.values(reasons)) assert.ok(page.includes(reason), reason)
  })
})
