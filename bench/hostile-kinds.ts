/** Bad clients, one kind each. Each goes on as long as its process lives. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_OPT_LIST } from '../src/protocol/constants.js'
import { payloadBytesMax } from '../src/protocol/limits.js'
import { seeded } from '../src/testing/random.js'
import { encodeRequest, RawClient } from '../src/testing/raw-client.js'

const KiB = 1024
const MiB = KiB * KiB

export interface Kind {
  readonly name: string
  /** Starts one client. Resolves when the client has begun to do its kind of harm. */
  begin(path: string, number: number): Promise<void>
}

export const kinds: readonly Kind[] = [
  {
    name: 'connect and sit',
    async begin(path) {
      await connected(path)
    },
  },
  {
    name: 'dribble bytes',
    async begin(path) {
      const client = await inTransmission(path)
      const request = encodeRequest({ type: NBD_CMD_READ, length: 512 })
      forEver(client.stream as Socket, async (turn) => {
        client.send(request.subarray(turn % request.length, (turn % request.length) + 1))
        await sleep(100)
      })
    },
  },
  {
    name: 'ask for options without end',
    async begin(path) {
      const client = await greeted(path)
      client.stream.pause()
      forEver(client.stream as Socket, async () => {
        for (let asked = 0; asked < 64; asked++) client.sendOption(NBD_OPT_LIST)
        await drained(client.stream as Socket)
      })
    },
  },
  {
    name: 'announce writes without payload',
    async begin(path) {
      const client = await inTransmission(path)
      client.send(encodeRequest({ type: NBD_CMD_WRITE, length: payloadBytesMax }))
      forEver(client.stream as Socket, async () => {
        client.send(Buffer.alloc(1))
        await sleep(1000)
      })
    },
  },
  {
    name: 'ask for 64 MiB and never read',
    async begin(path) {
      const client = await inTransmission(path)
      client.stream.pause()
      const read = encodeRequest({ type: NBD_CMD_READ, length: payloadBytesMax })
      client.send(Buffer.concat(Array.from({ length: 16 }, () => read)))
    },
  },
  {
    name: 'reconnect without pause',
    async begin(path) {
      again(async () => {
        const client = await greeted(path)
        client.stream.destroy()
        await client.closed
      })
    },
  },
  {
    name: 'send garbage',
    async begin(path, number) {
      const random = seeded(number)
      const bytes = Uint8Array.from({ length: 64 * KiB }, () => random.below(256))
      again(async () => {
        const client = await greeted(path)
        client.send(bytes)
        await client.closed
      })
    },
  },
  {
    name: 'vanish with requests in flight',
    async begin(path) {
      const read = encodeRequest({ type: NBD_CMD_READ, length: MiB })
      const half = encodeRequest({ type: NBD_CMD_WRITE, length: MiB, payload: Buffer.alloc(MiB / 2) })
      again(async () => {
        const client = await inTransmission(path)
        client.send(Buffer.concat([...Array.from({ length: 15 }, () => read), half]))
        await sleep(10)
        client.stream.destroy()
        await client.closed
      })
    },
  },
]

/** The kernel refuses new connections while too many wait to be accepted. A bad client tries again. */
async function connected(path: string): Promise<RawClient> {
  for (;;) {
    const socket = connect({ path, allowHalfOpen: true })
    const isThere = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    )
    if (isThere) return new RawClient(socket)
    await sleep(20)
  }
}

async function greeted(path: string): Promise<RawClient> {
  for (;;) {
    const client = await connected(path)
    try {
      await client.greet()
      return client
    } catch {
      // The server has closed the connection: try the next.
    }
  }
}

async function inTransmission(path: string): Promise<RawClient> {
  for (;;) {
    const client = await connected(path)
    try {
      await client.go()
      return client
    } catch {
      // As above.
    }
  }
}

/** Repeats `step` until the server closes the connection. */
async function forEver(socket: Socket, step: (turn: number) => Promise<unknown>): Promise<void> {
  for (let turn = 0; !socket.destroyed && socket.writable; turn++) await step(turn)
}

async function again(client: () => Promise<unknown>): Promise<never> {
  for (;;) await client()
}

function drained(socket: Socket): Promise<void> {
  if (!socket.writableNeedDrain) return sleep(1)
  return new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
}
