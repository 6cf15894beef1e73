/**
 * One client on a stream, and no socket anywhere. Run it: `node dist/examples/serve-stream.js`
 * `pair` stands for what you have: a socketpair, a pipe to a child, a channel of SSH. Any Duplex will do.
 */
import { createServer } from 'nbdkit-ts'
import memory from 'nbdkit-ts/plugins/memory'
import { pair, RawClient } from 'nbdkit-ts/testing'

const [ours, theirs] = pair()
await using server = createServer({ plugin: memory({ size: '64M' }) })
const connection = await server.serve(ours)

const client = new RawClient(theirs)
const { size } = await client.go()
console.log(`the client sees a disk of ${size} bytes`)
await client.request({ type: 1, offset: 512, length: 5, payload: Buffer.from('hello') }) // NBD_CMD_WRITE
const [reply] = await client.request({ type: 0, offset: 512, length: 5 }) // NBD_CMD_READ
console.log(`it wrote and reads: ${reply?.data}`)

client.sendRequest({ type: 2 }) // NBD_CMD_DISC
await connection.closed
console.log('it has gone, and its disk is closed')
