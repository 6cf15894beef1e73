/** Servers and clients as processes: how tests start them, wait for them, and tell what they said. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { findProgram, packageRoot } from '../programs.js'

/** Debian's package for each program that tests use. */
const packages = {
  cc: 'gcc',
  e2fsck: 'e2fsprogs',
  fio: 'fio',
  mke2fs: 'e2fsprogs',
  sfdisk: 'fdisk',
  'nbd-client': 'nbd-client',
  nbdcopy: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  nbdkit: 'nbdkit',
  nbdsh: 'python3-libnbd',
  ocamlopt: 'ocaml',
  perl: 'perl',
  python3: 'python3',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  rustc: 'rustc',
} as const
export type Program = keyof typeof packages

/** The folder of a qemu that speaks extended headers: `npm test` finds one. */
const newQemu = process.env.QEMU_WITH_EXTENDED_HEADERS
const inCi = process.env.CI === 'true'

/** Options of a test. */
export interface Needed {
  readonly skip: string | false
}

/**
 * Options of a test that needs programs of others: it is skipped where one is missing, and says which. In CI
 * it is not skipped, and fails.
 */
export function needs(...programs: Program[]): Needed {
  const missing = programs.filter((name) => findProgram(name) === undefined)
  if (missing.length === 0 || inCi) return { skip: false }
  return { skip: missing.map((name) => `${name} is missing (Debian package ${packages[name]})`).join(', ') }
}

/**
 * The same for a program of this version or later, beside others of any version. An older one is no fault of
 * the machine: the test is skipped for it in CI too.
 */
export function needsVersion(program: Program, least: string, ...others: Program[]): Needed {
  const version = versionOf(program)
  if (version === undefined || isAtLeast(version, least)) return needs(program, ...others)
  return { skip: `${program} is ${version} here, and ${least} or later is compared` }
}

/** True: the program is there, in this version or a later one. */
export function isVersion(program: Program, least: string): boolean {
  const version = versionOf(program)
  return version !== undefined && isAtLeast(version, least)
}

/** Undefined where the program is missing. */
export function versionOf(program: Program): string | undefined {
  if (!versions.has(program)) {
    const path = findProgram(program)
    const text = path && spawnSync(path, ['--version'], { encoding: 'utf8', env: environment() }).stdout
    versions.set(program, text ? /\d+\.\d+\S*/.exec(text)?.[0] : undefined)
  }
  return versions.get(program)
}
const versions = new Map<Program, string | undefined>()

function isAtLeast(version: string, least: string): boolean {
  const [has, wanted] = [version, least].map((text) => text.split('.').map(Number.parseFloat))
  const [major = 0, minor = 0] = has ?? []
  const [leastMajor = 0, leastMinor = 0] = wanted ?? []
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}

/** The same for a qemu that speaks extended headers, 8.2 or later. */
export function needsNewQemu(): Needed {
  if (newQemu !== undefined || inCi) return needs('qemu-img', 'qemu-io')
  return { skip: 'a qemu that speaks extended headers is only looked for by "npm test", on Debian' }
}

/** A directory that is gone after the test. */
export function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-interop-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** After this it is killed and the test fails. */
  readonly timeoutMs?: number
  /** Take the qemu that speaks extended headers. */
  readonly newQemu?: boolean
}

/** Runs a program to its end, whatever that is. Fails when it takes too long. */
export async function run(
  program: Program,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const { input, env, timeoutMs = 120_000 } = options
  const path = options.newQemu && newQemu !== undefined ? join(newQemu, program) : findProgram(program)
  assert.ok(path, `${program} is missing: it is in Debian's package ${packages[program]}`)
  const child = spawn(path, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...environment(), ...env } })
  // It may end without reading its input.
  child.stdin.on('error', () => {}).end(input ?? '')
  const texts = { stdout: collect(child, 'stdout'), stderr: collect(child, 'stderr') }
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  clearTimeout(timer)
  const ended = { status, stdout: texts.stdout(), stderr: texts.stderr() }
  if (signal !== null)
    assert.fail(
      `${program} was killed by ${signal} (it may take ${timeoutMs} ms)${report(program, args, ended)}`,
    )
  return ended
}

/** Runs a program that must end well, and gives what it printed on standard output. */
export async function output(
  program: Program,
  args: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const ended = await run(program, args, options)
  assert.equal(ended.status, 0, report(program, args, ended))
  return ended.stdout
}

/** Runs fio on a disk: it writes with checksums, reads back, and fails at the first block that is wrong. */
export async function fio(uri: string, ...options: string[]): Promise<void> {
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--randseed=1']
  // It would leave a file of its state in the working directory.
  verify.push('--verify_state_save=0')
  await output('fio', ['--name=verify', '--ioengine=nbd', `--uri=${uri}`, ...verify, ...options])
}

function report(program: string, args: readonly string[], { status, stdout, stderr }: Ended): string {
  return `\n$ ${program} ${args.join(' ')}\nstatus ${status}\n--- stdout\n${stdout}--- stderr\n${stderr}---`
}

/** The module of nbdsh belongs to the system's own Python, not to one that comes first in the PATH. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C.UTF-8', PATH: `/usr/bin${delimiter}${process.env.PATH ?? ''}` }
}

function collect(child: ChildProcess, name: 'stdout' | 'stderr'): () => string {
  const chunks: Buffer[] = []
  child[name]?.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

/** A server that clients can connect to. */
export interface Serving {
  readonly uri: string
  readonly socket: string
  /** What it has said so far, with debug messages. */
  log(): string
  /** Asks it to stop. Fails unless it ends with status 0. Done after the test, if not before. */
  stop(): Promise<void>
}

/** Serves with the program of this package on a Unix socket. `args` as on its command line. */
export function serve(t: TestContext, ...args: string[]): Promise<Serving> {
  return start(t, process.execPath, [join(packageRoot, 'bin', 'nbdkit-ts'), '--verbose'], args)
}

/** The same with nbdkit, for comparison. */
export function serveWithNbdkit(t: TestContext, ...args: string[]): Promise<Serving> {
  const path = findProgram('nbdkit')
  assert.ok(path, `nbdkit is missing: it is in Debian's package ${packages.nbdkit}`)
  return start(t, path, [], args)
}

async function start(
  t: TestContext,
  program: string,
  first: readonly string[],
  args: readonly string[],
): Promise<Serving> {
  const directory = temporary(t)
  const [socket, pidFile] = [join(directory, 'socket'), join(directory, 'pid')]
  const all = [...first, '--foreground', '--unix', socket, '--pidfile', pidFile, ...args]
  const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() })
  const stderr = collect(child, 'stderr')
  const closed = once(child, 'close') as Promise<[number | null, string | null]>
  const what = () => `${[program, ...all].join(' ')}\n${stderr()}`
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= end(child, closed, what)
    return stopped
  }
  t.after(stop)
  await written(pidFile, child, what)
  return { uri: uriOf(socket, args), socket, log: stderr, stop }
}

function uriOf(socket: string, args: readonly string[]): string {
  const at = args.indexOf('-e')
  const name = at < 0 ? '' : encodeURIComponent(args[at + 1] ?? '')
  return `nbd+unix:///${name}?socket=${socket}`
}

/** The process id is written when clients can connect. */
async function written(pidFile: string, child: ChildProcess, what: () => string): Promise<void> {
  for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 20) {
    const text = await readFile(pidFile, 'utf8').catch(() => '')
    if (text.endsWith('\n')) return
    if (child.exitCode !== null || child.signalCode !== null)
      assert.fail(`the server ended before it listened: ${what()}`)
    await sleep(20)
  }
  assert.fail(`the server does not listen after 30 s: ${what()}`)
}

async function end(
  child: ChildProcess,
  closed: Promise<[number | null, string | null]>,
  what: () => string,
): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const [status, signal] = await closed
  clearTimeout(timer)
  assert.deepEqual({ status, signal }, { status: 0, signal: null }, `how the server ended: ${what()}`)
}

/** Bytes that are neither zero nor the same on two pages, with holes of zeroes where `holes` says. */
export function pattern(length: number, holes: (page: number) => boolean = () => false): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 8 <= length; at += 8) {
    if (holes(Math.floor(at / 4096))) continue
    bytes.writeUInt32LE(at, at)
    bytes.writeInt32LE(0x9e3779b9 ^ Math.imul(at, 0x85ebca6b), at + 4)
  }
  return bytes
}

/** Compares without printing megabytes: says where the first difference is. */
export function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`)
  if (Buffer.compare(actual, expected) === 0) return
  const at = actual.findIndex((byte, index) => byte !== expected[index])
  assert.fail(`${what}: byte ${at} is ${actual[at]}, expected ${expected[at]}`)
}
