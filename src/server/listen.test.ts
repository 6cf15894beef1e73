import assert from 'node:assert/strict'
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { makeSocket } from '../net/onread-socket.js'
import { type Listener, listen, type Welcome } from './listen.js'

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'listen-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

const welcome: Welcome = {
  accept: (client) => (client instanceof Socket ? client : makeSocket({ handle: client })).destroy(),
  lost: assert.fail,
}

/** Whether a server listens on the path. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

test('a listener that closes removes the file of its socket', async (t) => {
  const path = join(scratch(t), 'socket')
  const listener = await listen({ path }, welcome)
  assert.ok(lstatSync(path).isSocket())
  listener.close()
  assert.ok(!existsSync(path))
})

test('a listener whose file is gone closes', async (t) => {
  const path = join(scratch(t), 'socket')
  const listener = await listen({ path }, welcome)
  rmSync(path)
  listener.close()
  assert.ok(!existsSync(path))
})

const replacements: [what: string, make: (path: string) => void, holds: (path: string) => boolean][] = [
  ['a file', (path) => writeFileSync(path, 'precious'), (path) => readFileSync(path, 'utf8') === 'precious'],
  ['a symbolic link', (path) => symlinkSync('nothing', path), (path) => lstatSync(path).isSymbolicLink()],
]
for (const [what, make, holds] of replacements)
  test(`a listener that closes leaves ${what} alone that has the name of its socket by now`, async (t) => {
    const directory = scratch(t)
    const path = join(directory, 'socket')
    const listener = await listen({ path }, welcome)
    rmSync(path)
    make(path)
    listener.close()
    assert.ok(holds(path))
    assert.ok(!existsSync(`${path}.${process.pid}`))
  })

test('a listener that closes leaves the socket of another one alone', async (t) => {
  const path = join(scratch(t), 'socket')
  const first = await listen({ path }, welcome)
  rmSync(path)
  const second: Listener = await listen({ path }, welcome)
  first.close()
  assert.ok(await answers(path))
  second.close()
  assert.ok(!existsSync(path))
})
