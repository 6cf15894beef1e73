/**
 * Random runs of clients that ask for more memory than there is, take it late, or die. Whoever lives is
 * answered, and in the end nothing is reserved. BUDGET_RUNS=n makes more of them, from BUDGET_FIRST=n on.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../../src/api/device.js'
import { silentLog } from '../../src/api/log.js'
import { BufferPool } from '../../src/connection/buffer-pool.js'
import { Gate } from '../../src/connection/concurrency.js'
import { ClientConnection } from '../../src/connection/connection.js'
import { ListBudget } from '../../src/connection/export-list.js'
import { HandshakeTurns } from '../../src/connection/handshake-turns.js'
import { HangUpWatch } from '../../src/connection/hang-up-watch.js'
import { MemoryBudget } from '../../src/connection/memory-budget.js'
import type { ServerResources } from '../../src/connection/server-resources.js'
import { overStream } from '../../src/connection/transport.js'
import { largeBytesMin } from '../../src/connection/tuning.js'
import { BusyPoll } from '../../src/net/busy-poll.js'
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../src/protocol/constants.js'
import { pair, type Random, RawClient, seeded } from '../../src/testing/index.js'
import { encodeRequest } from '../../src/testing/raw-client.js'

const { BUDGET_RUNS = '60', BUDGET_FIRST = '1' } = process.env

const size = 2 ** 22
const limitBytes = 2 ** 20
const lengths = [4096, largeBytesMin - 1, largeBytesMin, 300_000, limitBytes, limitBytes + 1, 2_500_000]

/** Now it answers at once, now later, now it fails; its data is its own memory, or what it was given. */
function disk(random: Random): DeviceInit {
  const own = new Uint8Array(3 * limitBytes).fill(7)
  const memory = new Uint8Array(size)
  const sometimes = async <T>(work: () => T): Promise<T> => {
    for (let turns = random.below(4); turns > 0; turns--) await turn()
    if (random.chance(0.1)) throw new Error('failed')
    return work()
  }
  const answer = <T>(work: () => T) => (random.chance(0.5) ? sometimes(work) : work())
  return {
    size,
    read: (_offset, length, alloc) => {
      if (random.chance(0.05)) throw new Error('failed')
      const early = random.chance(0.5) ? alloc(length).fill(7) : undefined
      return answer(() => early ?? (random.chance(0.5) ? own.subarray(0, length) : alloc(length).fill(7)))
    },
    write: (offset, data) => answer(() => memory.set(data, offset)),
    window: (_offset, length) => (random.chance(0.5) ? new Uint8Array(length) : undefined),
  }
}

/** Asks for this and that, and does not always take it at once. Resolves when it is done, or has died. */
async function live(client: RawClient, random: Random): Promise<void> {
  await client.go()
  const count = 1 + random.below(12)
  const dies = random.chance(0.3)
  for (let cookie = 0; cookie < count; cookie++) {
    const length = random.pick(lengths)
    const writes = random.chance(0.5)
    const payload = writes ? new Uint8Array(length) : undefined
    const request = { type: writes ? NBD_CMD_WRITE : NBD_CMD_READ, cookie, offset: 0, length }
    const bytes = encodeRequest({ ...request, ...(payload && { payload }) })
    client.expectReplies([request])
    if (random.chance(0.3)) client.stream.pause()
    const isLast = cookie === count - 1
    const sent = dies && isLast ? bytes.subarray(0, 1 + random.below(bytes.length)) : bytes
    const cut = random.chance(0.5) ? random.below(sent.length) : 0
    client.send(sent.subarray(0, cut))
    if (cut > 0) await turn()
    client.send(sent.subarray(cut))
    for (let turns = random.below(3); turns > 0; turns--) await turn()
  }
  if (dies) {
    client.stream.destroy()
    return
  }
  client.stream.resume()
  const seen = new Set<number>()
  while (seen.size < count) {
    const { cookie, data } = await client.reply()
    assert.ok(!seen.has(cookie), `two replies to ${cookie}`)
    assert.ok(data.every((byte) => byte === 7))
    seen.add(cookie)
  }
  client.stream.end()
}

async function run(seed: number): Promise<void> {
  const random = seeded(seed)
  const budget = new MemoryBudget({ limitBytes, shareBytesMax: random.pick([0, 150_000, limitBytes]) })
  const host: ServerResources = {
    links: [{ name: 'disk', instance: { open: () => disk(random) }, log: silentLog }],
    readOnly: false,
    settings: {
      ...{ oldstyle: false, maskHandshake: 0xffff, structuredReplies: true, metaContexts: true },
      ...{ handshakeTimeoutMs: 0, severalClients: true },
    },
    pool: new BufferPool(),
    busyPoll: new BusyPoll(0),
    budget,
    hangUps: new HangUpWatch(),
    lists: new ListBudget(),
    untaken: { bytes: 0 },
    turns: new HandshakeTurns(),
    widen() {},
    log: silentLog,
    gate: () => new Gate(random.pick([1, 2, 16])),
    waitingBytesMax: Number.POSITIVE_INFINITY,
  }
  const connections: ClientConnection[] = []
  const clients = Array.from({ length: 1 + random.below(5) }, (_, id) => {
    const [ours, theirs] = pair()
    connections.push(new ClientConnection(id + 1, overStream(ours), () => ({ family: 'stream' }), host))
    return live(new RawClient(theirs), random)
  })
  await Promise.all(clients)
  await Promise.all(connections.map(({ closed }) => closed))
  assert.equal(budget.usedBytes, 0, 'something is still reserved')
  assert.equal(budget.wanted, false)
}

it(`memory that is asked for by many is given to all, and given back: ${BUDGET_RUNS} random runs`, async () => {
  const first = Number(BUDGET_FIRST)
  for (let seed = first; seed < first + Number(BUDGET_RUNS); seed++)
    await run(seed).catch((error: Error) => {
      throw new Error(`seed ${seed} (BUDGET_RUNS=1 BUDGET_FIRST=${seed}): ${error.message}`, { cause: error })
    })
})
