/** The program as a process: how tests run it, and what they expect of how it ends. */
import assert from 'node:assert/strict'
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { shellQuote } from '../src/lib/shell-quote.js'
import { packageRoot } from './programs.js'

export const root = packageRoot
export const program = join(root, 'bin', 'nbdkit-ts')
export const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }

/** Everything that the program or a test makes is in here. */
export const scratch = mkdtempSync(join(tmpdir(), 'cli-test-'))
after(() => rmSync(scratch, { recursive: true }))
let directories = 0
export function newDirectory(files: Record<string, string> = {}): string {
  const directory = join(scratch, `${directories++}`)
  mkdirSync(directory)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return directory
}

/** Where the program makes its private sockets. */
export const temporary = newDirectory()

export interface Result {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export function start(args: readonly string[], options: SpawnOptions & { bin?: string } = {}): ChildProcess {
  const { bin = program, env, ...rest } = options
  return spawn(process.execPath, [bin, ...args], {
    cwd: scratch,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...rest,
    env: { PATH: process.env.PATH, TMPDIR: temporary, ...env },
  })
}

export async function result(child: ChildProcess): Promise<Result> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => (stdout += chunk))
  child.stderr?.on('data', (chunk) => (stderr += chunk))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout, stderr }
}

export function run(args: readonly string[], options: Parameters<typeof start>[1] = {}): Promise<Result> {
  return result(start(args, options))
}

/** It ended well, and said nothing but `stdout`. */
export async function prints(
  stdout: string | RegExp,
  args: readonly string[],
  options?: Parameters<typeof start>[1],
) {
  const ended = await run(args, options)
  assert.equal(ended.stderr, '')
  if (typeof stdout === 'string') assert.equal(ended.stdout, stdout)
  else assert.match(ended.stdout, stdout)
  assert.equal(ended.status, 0)
}

/** It ended with status 1 and this one line. */
export async function complains(
  message: string | RegExp,
  args: readonly string[],
  options?: Parameters<typeof start>[1],
) {
  const { status, stdout, stderr } = await run(args, options)
  assert.equal(stdout, '')
  assert.match(stderr, /^nbdkit-ts: [^\n]+\n$/)
  const told = stderr.slice('nbdkit-ts: '.length, -1)
  if (typeof message === 'string') assert.equal(told, message)
  else assert.match(told, message)
  assert.equal(status, 1)
}

/** What `--print-uri` prints. */
export function uriLines(uri: string): string {
  const quoted = shellQuote(uri)
  return `${uri}\nShell-quoted URI: ${quoted}\nCommand to query the NBD endpoint:\n  nbdinfo ${quoted}\n`
}

/** Starts a server, waits until it is ready, and hands over its URI. */
export async function started(args: readonly string[], options: Parameters<typeof start>[1] = {}) {
  const child = start(['-f', '--print-uri', ...args], options)
  const ended = result(child)
  const ready = child.stdout ? once(child.stdout, 'data') : Promise.reject(new Error('no output'))
  const uri = await Promise.race([
    ready.then(([lines]) => String(lines).replace(/\n.*/s, '')),
    ended.then(({ stderr }) => Promise.reject(new Error(`it ended before it was ready: ${stderr}`))),
  ])
  return { child, ended, uri }
}

/** The first bytes that a server sends on a new connection. */
export async function greeting(socket: Socket): Promise<string> {
  const closed = once(socket, 'close').then(() => assert.fail('the server sent nothing'))
  // The end of a socket after the greeting is no failure.
  closed.catch(() => {})
  const [chunk] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer]
  return chunk.toString('latin1', 0, 8)
}
