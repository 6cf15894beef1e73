import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { acceptHandles, adoptSocket, type Handle, makeSocket } from './onread-socket.js'

interface Inside {
  _handle: { onconnection: ((status: number, client?: Handle) => void) | undefined }
}

async function listening(t: TestContext) {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const clients: Socket[] = []
  t.after(() => {
    for (const client of clients) client.destroy()
    server.close()
  })
  const dial = () => {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    clients.push(client)
    return client
  }
  return { server, inside: (server as unknown as Inside)._handle, dial }
}

/** Receives into one buffer, which never fills up, until `length` bytes have arrived. */
function receiver(length: number) {
  const bytes = new Uint8Array(length + 1)
  let filled = 0
  let done = () => {}
  const all = new Promise<string>((resolve) => {
    done = () => resolve(Buffer.from(bytes.subarray(0, length)).toString())
  })
  const onread = {
    buffer: () => bytes.subarray(filled),
    callback: (count: number) => {
      filled += count
      if (filled === length) done()
      return true
    },
  }
  return { onread, all }
}

test('the handle of a client becomes a socket that receives into memory of ours, and sends', async (t) => {
  const { server, dial } = await listening(t)
  server.on('connection', () => assert.fail('Node made a socket of it'))
  const handles: Handle[] = []
  const accepted = new Promise<void>((resolve) => {
    acceptHandles(server, (handle) => resolve(void handles.push(handle)))
  })
  const client = dial()
  await accepted
  const { onread, all } = receiver(5)
  const socket = makeSocket({ handle: handles[0] as Handle }, onread)
  t.after(() => socket.destroy())
  client.write('hello')
  assert.equal(socket.bytesRead, 0, 'it reads nothing before resume')
  socket.resume()
  assert.equal(await all, 'hello')
  socket.write('there')
  assert.equal(String((await once(client, 'data'))[0]), 'there')
})

test('a socket that has read nothing is adopted, and forgets its handle', async (t) => {
  const { server, dial } = await listening(t)
  const client = dial()
  const [made] = (await once(server, 'connection')) as [Socket]
  const { onread, all } = receiver(5)
  const adopted = adoptSocket(made, onread)
  assert.ok(adopted instanceof Socket)
  t.after(() => adopted.destroy())
  assert.equal(made.destroyed, true)
  adopted.resume()
  client.write('hello')
  assert.equal(await all, 'hello')
  assert.equal(adoptSocket(made, onread), undefined, 'there is nothing left to adopt')
})

test('a client that could not be accepted is an error of the listener, as ever', async (t) => {
  const { server, inside } = await listening(t)
  acceptHandles(server, () => assert.fail('there is no client'))
  const failed = once(server, 'error')
  inside.onconnection?.(-24)
  const [error] = (await failed) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'EMFILE')
})

test('a listener with another inside than Node has goes on giving sockets', async (t) => {
  const { server, inside, dial } = await listening(t)
  const { onconnection } = inside
  inside.onconnection = undefined
  acceptHandles(server, () => assert.fail('no handle was asked for'))
  inside.onconnection = onconnection
  dial()
  const [socket] = (await once(server, 'connection')) as [Socket]
  assert.ok(socket instanceof Socket)
  socket.destroy()
})
