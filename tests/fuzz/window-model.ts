/**
 * A model of a disk in memory whose clients send large writes bit by bit, or die in the middle, while others
 * write, zero, trim and read there. A write counts from its reply on, and one without a reply for nothing.
 */
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import {
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/protocol/constants.js'
import { type Random, type RawClient, seeded } from '../../src/testing/index.js'
import { encodeRequest } from '../../src/testing/raw-client.js'

export const diskBytes = 4 * 2 ** 20
const kiB = 1024
const clientsMax = 5
/** Those that are lent memory, those that are not, and those that lie in several pieces of memory. */
const lengths = [64, 64, 128, 256, 256, 512, 1024, 1024, 192, 63.5, 65, 2048].map((length) => length * kiB)

/** A write of which not all is sent. */
interface Begun {
  readonly offset: number
  readonly payload: Buffer
  sent: number
}

interface Writer {
  readonly name: string
  readonly client: RawClient
  begun: Begun | undefined
}

/** Runs one seed. Rejects with an AssertionError that says what broke, and what happened before. */
export async function runWindowModel(
  seed: number,
  connect: () => Promise<RawClient>,
  initial: Buffer = Buffer.alloc(diskBytes),
): Promise<void> {
  const model = new WindowModel(seeded(seed), connect, Buffer.from(initial))
  try {
    await model.run()
  } catch (error) {
    const told = model.trace.slice(-60).join('\n  ')
    throw new assert.AssertionError({ message: `seed ${seed}: ${error}\n  ${told}` })
  } finally {
    model.hangUp()
  }
}

class WindowModel {
  readonly trace: string[] = []
  readonly #random: Random
  readonly #connect: () => Promise<RawClient>
  readonly #disk: Buffer
  readonly #writers: Writer[] = []
  #stamp = 0

  constructor(random: Random, connect: () => Promise<RawClient>, disk: Buffer) {
    this.#random = random
    this.#connect = connect
    this.#disk = disk
  }

  hangUp(): void {
    for (const { client } of this.#writers) client.stream.destroy()
  }

  async run(): Promise<void> {
    for (let step = 40 + this.#random.below(60); step > 0; step--) {
      await this.#step()
      // The server takes what was sent, or does not yet.
      for (let turns = this.#random.below(4); turns > 0; turns--) await turn()
    }
    for (const writer of this.#writers.splice(0)) this.#die(writer)
    await this.#read(await this.#newcomer(), 0, diskBytes)
  }

  async #step(): Promise<void> {
    const random = this.#random
    const busy = this.#writers.filter(({ begun }) => begun !== undefined)
    const idle = this.#writers.filter(({ begun }) => begun === undefined)
    const roll = random.below(100)
    if (this.#writers.length < 2 || (roll < 5 && this.#writers.length < clientsMax)) await this.#newcomer()
    else if (roll < 30 && busy.length > 0) await this.#sendMore(random.pick(busy))
    else if (roll < 40 && busy.length > 0) this.#die(random.pick(busy))
    else if (idle.length === 0) await this.#newcomer()
    else if (roll < 65) this.#begin(random.pick(idle))
    else if (roll < 85) await this.#change(random.pick(idle))
    else await this.#read(random.pick(idle), ...this.#range())
  }

  async #newcomer(): Promise<Writer> {
    const client = await this.#connect()
    const writer = { name: `c${this.trace.length}`, client, begun: undefined }
    this.trace.push(`${writer.name} connects`)
    this.#writers.push(writer)
    return writer
  }

  #die(writer: Writer): void {
    const { begun } = writer
    this.trace.push(
      `${writer.name} dies${begun ? `, having sent ${begun.sent} of ${begun.payload.length}` : ''}`,
    )
    // A reset, or an end in the middle of the payload.
    if (begun && this.#random.chance(0.3)) writer.client.stream.end()
    else writer.client.stream.destroy()
    const index = this.#writers.indexOf(writer)
    if (index >= 0) this.#writers.splice(index, 1)
  }

  #begin(writer: Writer): void {
    const [offset, payload] = this.#content(this.#random.pick(lengths))
    writer.begun = { offset, payload, sent: 0 }
    this.trace.push(`${writer.name} begins to write ${payload.length} at ${offset}`)
    writer.client.expectReplies([{ type: NBD_CMD_WRITE }])
    const { length } = payload
    writer.client.send(encodeRequest({ type: NBD_CMD_WRITE, offset, length }))
    this.#sendSome(writer, this.#random.below(length))
  }

  #sendSome({ client, begun }: Writer, bytes: number): void {
    if (begun === undefined || bytes === 0) return
    client.send(begun.payload.subarray(begun.sent, begun.sent + bytes))
    begun.sent += bytes
  }

  /** All of the rest, or a part of it. */
  async #sendMore(writer: Writer): Promise<void> {
    const { begun, name, client } = writer
    if (begun === undefined) return
    const rest = begun.payload.length - begun.sent
    if (this.#random.chance(0.5)) return this.#sendSome(writer, this.#random.below(rest))
    this.#sendSome(writer, rest)
    const { error } = await client.reply()
    assert.equal(error, 0, `${name} could not write`)
    writer.begun = undefined
    this.#disk.set(begun.payload, begun.offset)
    this.trace.push(`${name} has written ${begun.payload.length} at ${begun.offset}`)
  }

  /** A write, a zero or a trim that comes whole. */
  async #change({ name, client }: Writer): Promise<void> {
    const random = this.#random
    const [offset, length] = this.#range()
    const type = random.pick([NBD_CMD_WRITE, NBD_CMD_WRITE_ZEROES, NBD_CMD_TRIM])
    const stamped = Buffer.alloc(length)
    if (type === NBD_CMD_WRITE) this.#fill(stamped)
    const payload = type === NBD_CMD_WRITE ? { payload: stamped } : {}
    const [reply] = await client.request({ type, offset, length, ...payload })
    assert.equal(reply?.error, 0, `${name} could not change`)
    this.#disk.set(stamped, offset)
    this.trace.push(`${name} has done command ${type} of ${length} at ${offset}`)
  }

  async #read({ name, client }: Writer, offset: number, length: number): Promise<void> {
    const [reply] = await client.request({ type: NBD_CMD_READ, offset, length })
    const expected = this.#disk.subarray(offset, offset + length)
    const data = reply?.data ?? Buffer.alloc(0)
    if (data.equals(expected)) return
    const at = expected.findIndex((byte, index) => byte !== data[index])
    assert.fail(
      `${name} reads ${length} at ${offset}: byte ${offset + at} is ${data[at]}, not ${expected[at]}`,
    )
  }

  #content(length: number): [offset: number, payload: Buffer] {
    const unit = this.#random.chance(0.8) ? 64 * kiB : 512
    const offset = this.#random.below(Math.floor((diskBytes - length) / unit) + 1) * unit
    return [offset, this.#fill(Buffer.alloc(length))]
  }

  /** Like nothing that was written before. */
  #fill(bytes: Buffer): Buffer {
    return bytes.fill(1 + (this.#stamp++ % 255))
  }

  /** A short one, or a long one that lies here and there in memory. */
  #range(): [offset: number, length: number] {
    const random = this.#random
    const unit = random.pick([512, 4096, 64 * kiB])
    const units = Math.min(diskBytes / unit, 1 + random.below(random.chance(0.3) ? 64 : 8))
    return [random.below(diskBytes / unit - units + 1) * unit, units * unit]
  }
}
