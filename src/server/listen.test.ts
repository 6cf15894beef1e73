import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { listen } from './listen.js'

test('a client that cannot be accepted is reported, each time, and the next one is served', async (t) => {
  const problems: string[] = []
  let accepted = 0
  const listener = await listen(
    { port: 0, host: '127.0.0.1' },
    { accept: () => accepted++, lost: (problem) => problems.push(problem) },
  )
  t.after(() => listener.close())
  for (const code of ['EMFILE', 'ENOBUFS'])
    listener.emit('error', Object.assign(new Error(`accept ${code}`), { code }))
  assert.deepEqual(problems, [
    'a client could not be accepted: too many files are open: ulimit -n says how many may be',
    'a client could not be accepted: accept ENOBUFS',
  ])
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1')
  await once(client, 'connect')
  client.destroy()
  while (accepted === 0) await new Promise(setImmediate)
})
