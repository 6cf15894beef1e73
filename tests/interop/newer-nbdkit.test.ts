/** What nbdkit has since 1.34 to 1.42, and we have too: done by both, where the installed nbdkit has it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { NBD_REP_ERR_UNKNOWN } from '../../src/protocol/constants.js'
import { RawClient } from '../../src/testing/index.js'
import { findProgram, packageRoot } from '../programs.js'
import { needsVersion, serve, serveWithNbdkit, temporary } from './helpers.js'

const ours = join(packageRoot, 'bin', 'nbdkit-ts')
const both = () => [findProgram('nbdkit') ?? 'nbdkit', ours]

/** Stops it after the test, if it has not ended. */
function start(t: TestContext, command: readonly string[], inherited: readonly number[] = []): ChildProcess {
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit', ...inherited],
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
  const ended = once(child, 'close')
  t.after(async () => {
    child.kill()
    await ended
  })
  return child
}

test('--print-uri begins with the same URI', needsVersion('nbdkit', '1.40'), async (t) => {
  const names = [[], ['-e', 'a b?&#%ü']]
  for (const name of names) {
    const uris: string[] = []
    for (const program of both()) {
      const socket = join(temporary(t), 'socket')
      const child = start(t, [program, '-f', '-U', socket, '--print-uri', ...name, 'null'])
      assert.ok(child.stdout)
      const [text] = (await once(child.stdout, 'data')) as [Buffer]
      uris.push(text.toString().split('\n', 1)[0]?.replace(socket, 'SOCKET') ?? '')
    }
    assert.match(uris[0] ?? '', /^nbd\+unix:.*SOCKET$/)
    assert.equal(uris[1], uris[0])
  }
})

test(
  '--timeout drops a client that does not go on with its handshake',
  needsVersion('nbdkit', '1.42'),
  async (t) => {
    for (const start of [serve, serveWithNbdkit]) {
      const server = await start(t, '--timeout=100ms', 'memory', '1M')
      const client = await RawClient.connect({ path: server.socket })
      await client.greet()
      assert.equal((await client.rest()).length, 0)
      client.stream.destroy()
    }
  },
)

const onLinux = (needed: ReturnType<typeof needsVersion>) =>
  process.platform === 'linux' ? needed : { skip: 'Linux tells of the timers of its sockets' }

test('--keepalive has idle clients probed', onLinux(needsVersion('nbdkit', '1.42')), async (t) => {
  for (const program of both())
    for (const [options, timer] of [
      [['--keepalive'], '02'],
      [[], '00'],
    ] as const)
      assert.equal(await timerOf(t, [program, ...options, '-f', 'null']), timer, `${program} ${options}`)
})

/**
 * The timer that Linux has for the connection of a client at the server's end: 02 is one for keeping alive.
 */
async function timerOf(t: TestContext, command: readonly string[]): Promise<string | undefined> {
  // A port that is inherited cannot be taken by anybody else in between.
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const { fd } = (listener as unknown as { _handle: { fd: number } })._handle
  const script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"'
  start(t, ['sh', '-c', script, ...command], [fd])
  listener.close()
  const client = connect(port, '127.0.0.1')
  await once(client, 'data')
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n')
  const fields = lines.map((line) => line.trim().split(/\s+/))
  client.destroy()
  return fields.find(([, from, , state]) => from === local && state === '01')?.[5]?.slice(0, 2)
}

test('an export that is refused has a reason for the client', needsVersion('nbdkit', '1.42'), async (t) => {
  for (const start of [serve, serveWithNbdkit]) {
    const server = await start(t, 'info', 'base64exportname')
    const client = await RawClient.connect({ path: server.socket })
    const reason = new RegExp(`0x${NBD_REP_ERR_UNKNOWN.toString(16)} .*base64`, 'i')
    await assert.rejects(client.go({ name: 'aGVsbG8' }), reason)
    client.stream.destroy()
  }
})
