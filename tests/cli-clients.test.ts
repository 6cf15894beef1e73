/** Who comes to the program, and where from: peers, too many of them, and the socket's file. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { libc } from '../src/os/libc.js'
import { NBD_CMD_DISC, NBD_CMD_READ } from '../src/protocol/constants.js'
import { RawClient } from '../src/testing/index.js'
import { until } from '../src/testing/until.js'
import { greeting, newDirectory, program, result, root, start, started } from './cli-helpers.js'

const onLinux = process.platform === 'linux' && libc() ? {} : { skip: 'it needs Linux and the C library' }

/** A disk that holds what its plugin is told of the client. */
function peerPlugin(): string {
  const directory = newDirectory({
    'peer.mjs': `
      import { definePlugin } from '${pathToFileURL(join(root, 'dist/package/index.js'))}'
      export default definePlugin({ name: 'peer', description: 'x', params: {}, setup: () => ({
        open: ({ connection }) => ({
          size: 512,
          read: () => Buffer.from(JSON.stringify(connection.peer).padEnd(512)),
        }),
      }) })`,
  })
  return join(directory, 'peer.mjs')
}

async function peerOf(client: RawClient): Promise<Record<string, unknown>> {
  await client.go()
  const [reply] = await client.request({ type: NBD_CMD_READ, length: 512 })
  client.sendRequest({ type: NBD_CMD_DISC })
  client.stream.end()
  return JSON.parse(reply?.data.toString() ?? '')
}

describe('a plugin is told who the client is', () => {
  it('by an address of IPv4, on a socket that takes IPv6 as well', async () => {
    const { child, ended, uri } = await started(['-p', '0', peerPlugin()])
    const client = connect(Number(/:(\d+)/.exec(uri)?.[1]), '127.0.0.1')
    await once(client, 'connect')
    const { family, address, port } = await peerOf(new RawClient(client))
    assert.deepEqual([family, address, port], ['tcp', '127.0.0.1', client.localPort])
    child.kill()
    await ended
  })

  it('by process, user and group, on standard input that is a Unix socket', onLinux, async () => {
    const path = join(newDirectory(), 'socket')
    const listener: Server = createServer({ pauseOnConnect: true }).listen(path)
    await once(listener, 'listening')
    const ours = connect({ path, allowHalfOpen: true })
    const [theirs] = (await once(listener, 'connection')) as [Socket & { _handle: { fd: number } }]
    const { fd } = theirs._handle
    const child = start(['-s', peerPlugin()], { stdio: [fd, fd, 'pipe'] })
    const { family, pid, uid, gid } = await peerOf(new RawClient(ours))
    assert.deepEqual([family, pid, uid, gid], ['unix', process.pid, process.getuid?.(), process.getgid?.()])
    for (const socket of [ours, theirs]) socket.destroy()
    listener.close()
    await result(child)
  })
})

describe('too many clients for the file descriptors that there may be', () => {
  for (const workers of [1, 2])
    it(
      `are told of once each time, with --workers=${workers}, and the next one is served`,
      onLinux,
      async (t) => {
        const path = join(newDirectory(), 'socket')
        const args = ['-f', '--print-uri', '-U', path, `--workers=${workers}`, 'memory', '1M']
        const command = ['ulimit -n 256; exec "$@"', 'sh', process.execPath, program, ...args]
        const child = spawn('sh', ['-c', ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
        const ended = result(child)
        const sockets: Socket[] = []
        t.after(() => {
          child.kill('SIGKILL')
          for (const socket of sockets) socket.destroy()
        })
        const client = () => {
          const socket = connect(path).on('error', () => {})
          sockets.push(socket)
          return socket
        }
        let log = ''
        child.stderr?.on('data', (chunk) => (log += chunk))
        // The socket's file is there a moment before clients can connect.
        await once(child.stdout ?? assert.fail(), 'data')
        // The first client has the program load what it needs, which takes descriptors for a moment.
        assert.equal(await greeting(client()), 'NBDMAGIC')
        for (let time = 1; time <= 2; time++) {
          for (let count = 0; count < 400; count++) client()
          await until(() => log.split('\n').length > time)
          for (const socket of sockets) socket.destroy()
          // It recovers by itself, and says nothing more of the same: more than ten looks of 100 ms later.
          await new Promise((resolve) => setTimeout(resolve, 2000))
          assert.equal(await greeting(client()), 'NBDMAGIC')
        }
        child.kill()
        const { status, stderr } = await ended
        assert.equal(status, 0)
        assert.match(stderr, /^(nbdkit-ts: error: a client [^\n]+: too many files are open: [^\n]+\n){2}$/)
      },
    )
})

it('the end of the server leaves a file alone that has the name of its socket by then', async () => {
  const path = join(newDirectory(), 'socket')
  const { child, ended } = await started(['-U', path, 'memory', '1M'])
  rmSync(path)
  writeFileSync(path, 'precious')
  child.kill()
  assert.deepEqual([(await ended).status, readFileSync(path, 'utf8')], [0, 'precious'])
})
