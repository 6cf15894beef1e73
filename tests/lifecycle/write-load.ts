/** A server process under a load of writes, stopped in the middle of it, and what became of each write. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  NBD_CMD_DISC,
  NBD_CMD_WRITE,
  NBD_ESHUTDOWN,
  NBD_SIMPLE_REPLY_MAGIC,
} from '../../src/protocol/constants.js'
import { encodeRequest, RawClient, seeded } from '../../src/testing/index.js'

const clients = 4
const depth = 16
const blockBytes = 4096
/** Of the image, for each client: more than `depth`, so that no two writes in flight are to one block. */
const blocksEach = 256
const headerBytes = 28
const replyBytes = 16

/** What happened in one round. */
export interface Outcome {
  /** Writes sent, and how they were answered. */
  readonly sent: number
  readonly done: number
  readonly refused: number
  readonly failed: number
  readonly unanswered: number
  /** Blocks that do not hold what was acknowledged. */
  readonly lost: number
  /** The longest that this process, which is the clients, had no turn while it should have, in ms. */
  readonly lagMs: number
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

/** The words of a command that serves `image` on `socket`. */
export type CopyCommand = (socket: string, image: string) => readonly [program: string, ...args: string[]]

/** Starts a server, writes to it from several clients, sends SIGTERM at a moment that `seed` chooses. */
export async function stopUnderLoad(command: CopyCommand, seed: number): Promise<Outcome> {
  const random = seeded(seed)
  const directory = mkdtempSync(join(tmpdir(), 'write-load-'))
  const [socket, image] = [join(directory, 'socket'), join(directory, 'image')]
  writeFileSync(image, '')
  truncateSync(image, clients * blocksEach * blockBytes)
  const [program, ...args] = command(socket, image)
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    await listening(socket, child)
    const writers = await Promise.all(
      Array.from({ length: clients }, (_, index) => Writer.connect(socket, index)),
    )
    const lag = monitorEventLoopDelay({ resolution: 1 })
    lag.enable()
    const finished = writers.map((writer) => writer.run())
    await sleep(random.below(100))
    child.kill('SIGTERM')
    await Promise.all(finished)
    lag.disable()
    const [status, signal] = await ended
    const bytes = readFileSync(image)
    const sum = (of: (writer: Writer) => number) => writers.reduce((total, writer) => total + of(writer), 0)
    return {
      sent: sum(({ sent }) => sent),
      done: sum(({ done }) => done),
      refused: sum(({ refused }) => refused),
      failed: sum(({ failed }) => failed),
      unanswered: sum(({ inFlight }) => inFlight),
      lost: sum((writer) => writer.lostIn(bytes)),
      lagMs: lag.max / 1e6,
      ...{ status, signal, stderr },
    }
  } finally {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  }
}

async function listening(socket: string, child: ChildProcess): Promise<void> {
  for (;;) {
    try {
      const { stream } = await RawClient.connect({ path: socket })
      stream.destroy()
      return
    } catch (error) {
      if (child.exitCode !== null || child.signalCode !== null) throw error
      await sleep(5)
    }
  }
}

/**
 * Keeps `depth` writes in flight, each to another block and with bytes that no other has. At the first
 * ESHUTDOWN it sends no more, waits for all replies and says goodbye. Writes in bulk: the server is to be
 * busy, not the client.
 */
class Writer {
  sent = 0
  done = 0
  refused = 0
  failed = 0
  inFlight = 0
  readonly #client: RawClient
  readonly #first: number
  /** Request and payload of each write in flight. */
  readonly #slots = Array.from({ length: depth }, () => Buffer.alloc(headerBytes + blockBytes))
  /** The number of the write that each slot holds. */
  readonly #numbers = new Array<number>(depth).fill(0)
  /** By block: the last write that was acknowledged, 0 for none, and the last that was sent. */
  readonly #acknowledged = new Array<number>(blocksEach).fill(0)
  readonly #written = new Array<number>(blocksEach).fill(0)
  #stopping = false
  #rest: Buffer = Buffer.alloc(0)

  constructor(client: RawClient, index: number) {
    this.#client = client
    this.#first = index * blocksEach
  }

  static async connect(path: string, index: number): Promise<Writer> {
    const client = await RawClient.connect({ path })
    await client.go()
    return new Writer(client, index)
  }

  /** Resolves when the server has closed the connection. */
  async run(): Promise<void> {
    const { stream } = this.#client
    stream.removeAllListeners('data')
    stream.on('data', (chunk: Buffer) => this.#received(chunk))
    stream.on('end', () => stream.destroy())
    stream.write(Buffer.concat(this.#slots.map((_, slot) => this.#next(slot))))
    await this.#client.closed
  }

  /** Makes the next write, in a slot whose last one was answered. */
  #next(slot: number): Buffer {
    const number = ++this.sent
    const block = number % blocksEach
    this.inFlight++
    this.#numbers[slot] = number
    this.#written[block] = number
    const bytes = this.#slots[slot] ?? Buffer.alloc(0)
    const offset = (this.#first + block) * blockBytes
    bytes.set(encodeRequest({ type: NBD_CMD_WRITE, cookie: slot, offset, length: blockBytes }))
    this.#stamp(number).copy(bytes, headerBytes)
    return bytes
  }

  /** The bytes of a write: which client, which number, all over. */
  #stamp(number: number): Buffer {
    const unit = Buffer.alloc(8)
    unit.writeUInt32LE(this.#first + 1, 0)
    unit.writeUInt32LE(number, 4)
    return Buffer.alloc(blockBytes, unit)
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    const batch: Buffer[] = []
    let at = 0
    for (; at + replyBytes <= bytes.length; at += replyBytes) {
      if (bytes.readUInt32BE(at) !== NBD_SIMPLE_REPLY_MAGIC) throw new Error('this is no reply')
      const slot = bytes.readUInt32BE(at + 12)
      this.#answered(slot, bytes.readUInt32BE(at + 4))
      if (!this.#stopping) batch.push(this.#next(slot))
    }
    this.#rest = bytes.subarray(at)
    const { stream } = this.#client
    if (batch.length > 0) stream.write(Buffer.concat(batch))
    if (this.#stopping && this.inFlight === 0) stream.end(encodeRequest({ type: NBD_CMD_DISC }))
  }

  #answered(slot: number, error: number): void {
    const number = this.#numbers[slot] ?? 0
    this.inFlight--
    if (error === 0) {
      this.done++
      this.#acknowledged[number % blocksEach] = number
    } else if (error === NBD_ESHUTDOWN) {
      this.refused++
      this.#written[number % blocksEach] = this.#acknowledged[number % blocksEach] ?? 0
    } else this.failed++
    if (error !== 0) this.#stopping = true
  }

  /**
   * Blocks of the image with something else than their last acknowledged write, or one behind it without an
   * answer.
   */
  lostIn(image: Buffer): number {
    let lost = 0
    for (let block = 0; block < blocksEach; block++) {
      const offset = (this.#first + block) * blockBytes
      const found = image.subarray(offset, offset + blockBytes)
      const wanted = [this.#acknowledged[block] ?? 0, this.#written[block] ?? 0]
      const holds = (number: number) =>
        found.equals(number === 0 ? Buffer.alloc(blockBytes) : this.#stamp(number))
      if (!wanted.some(holds)) lost++
    }
    return lost
  }
}
