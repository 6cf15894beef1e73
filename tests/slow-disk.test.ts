/** A disk that does not answer: whoever waits for it waits alone. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { whyNoLibc } from '../src/os/libc.js'
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../src/protocol/constants.js'
import { RawClient, type RawRequest } from '../src/testing/index.js'
import { newDirectory, started } from './cli-helpers.js'

const skip =
  whyNoLibc() ??
  (process.getuid?.() !== 0 ? 'only root can mount' : !existsSync('/dev/fuse') && 'there is no FUSE')

/** A disk that holds one kind of operation, when it is told to. */
async function slowDisk(t: TestContext, operation: string) {
  const mountPoint = join(newDirectory(), 'mnt')
  await mkdir(mountPoint)
  const script = fileURLToPath(new URL('./slow-disk.js', import.meta.url))
  const program = spawn(process.execPath, [script, mountPoint, `${operation}=held`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { stdin, stdout } = program
  const says = () => once(stdout, 'data')
  const ended = once(program, 'exit')
  t.after(async () => {
    stdin.end()
    await ended
  })
  await says()
  const path = join(mountPoint, 'disk')
  return { path, says, tell: (line: 'hold' | 'go') => stdin.write(`${line}\n`) }
}

async function client(path: string): Promise<RawClient> {
  return await RawClient.connect({ path })
}

/** What each operation is needed for. */
const requests: Readonly<Record<string, RawRequest>> = {
  read: { type: NBD_CMD_READ, cookie: 7, offset: 8192, length: 4096 },
  write: { type: NBD_CMD_WRITE, cookie: 7, offset: 8192, length: 4096, payload: Buffer.alloc(4096, 1) },
  fsync: { type: NBD_CMD_FLUSH, cookie: 7 },
  lseek: { type: NBD_CMD_BLOCK_STATUS, cookie: 7, length: 65536 },
  fallocate: { type: NBD_CMD_WRITE_ZEROES, cookie: 7, length: 65536 },
}

/** Answered by the server alone: there is no such command. */
const unknown: RawRequest = { type: 99, cookie: 1 }

describe('while a disk does not answer, other clients are served', { skip, concurrency: 2 }, () => {
  const limit = { timeout: 120_000 }
  const serve = async (t: TestContext, path: string) => {
    const cwd = newDirectory()
    const { child, ended } = await started(['-U', 's', 'file', path], { cwd })
    t.after(() => {
      child.kill('SIGKILL')
      return ended
    })
    const other = await client(join(cwd, 's'))
    await other.go()
    return { socket: join(cwd, 's'), other }
  }

  for (const [operation, request] of Object.entries(requests))
    it(`where a request waits for its ${operation}`, limit, async (t) => {
      const { path, says, tell } = await slowDisk(t, operation)
      const { socket, other } = await serve(t, path)
      const slow = await client(socket)
      await slow.go({ structured: true, contexts: ['base:allocation'] })
      const held = says()
      tell('hold')
      slow.sendRequest(request)
      await held
      let answered = false
      const answer = slow.reply().then((reply) => {
        answered = true
        return reply
      })
      for (let times = 0; times < 3; times++) assert.equal((await other.request(unknown))[0]?.error, 22)
      assert.equal(answered, false)
      tell('go')
      assert.equal((await answer).error, 0)
    })

  for (const operation of ['getattr', 'open', 'lseek'])
    it(`where an export that is opened waits for ${operation}`, limit, async (t) => {
      const { path, says, tell } = await slowDisk(t, operation)
      const { socket, other } = await serve(t, path)
      const slow = await client(socket)
      const held = says()
      tell('hold')
      const opened = slow.go()
      await held
      for (let times = 0; times < 3; times++) assert.equal((await other.request(unknown))[0]?.error, 22)
      tell('go')
      assert.equal((await opened).size, 64 * 2 ** 20)
    })
})
