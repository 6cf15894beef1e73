/** Reads the starts of files, and of what scripts print. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { spawn } from '../../lib/spawn.js'
import { expectProgram, killGroup, started } from '../../lib/started.js'
import { type Blob, bytes, hole, sequence } from './blob.js'
import { errorAt, type Place } from './place.js'

/** In bytes: a file or script without an end would take all memory. */
const sourceMax = 2 ** 30

/**
 * Up to `wanted` bytes of a file or device.
 *
 * @throws ConfigError when it cannot be read, or is too long.
 */
export async function readFileStart(path: string, wanted: number, place: Place): Promise<Blob> {
  if (wanted === 0) return hole(0)
  try {
    return (await collect(createReadStream(fsPath(path), { highWaterMark: 65536 }), wanted, place)).blob
  } catch (error) {
    throw tellFrom(error, place)
  }
}

/**
 * Up to `wanted` bytes of what a script prints. It is ended when there are enough.
 *
 * @throws ConfigError when it fails before that, or prints too much.
 */
export async function readScriptStart(script: string, wanted: number, place: Place): Promise<Blob> {
  if (wanted === 0) return hole(0)
  // Nothing to read for it: standard input may be a client's connection. It has a group of its own, to be
  // ended with all that it started.
  expectProgram()
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const forget = started(child)
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  // Unheard, its rejection would end the process.
  closed.catch(() => {})
  try {
    const { blob, ended } = await collect(child.stdout as Readable, wanted, place, () => killGroup(child))
    const [status, signal] = await closed
    if (ended && status !== 0)
      throw errorAt(place, `the script ended with ${signal === null ? `status ${status}` : signal}`)
    return blob
  } catch (error) {
    throw tellFrom(error, place)
  } finally {
    forget()
  }
}

/**
 * Reads a stream, which is destroyed when there is enough. `ended` tells that there is no more in it.
 *
 * @param enough Called before it is destroyed: whoever writes to it should not meet its end.
 */
async function collect(stream: Readable, wanted: number, place: Place, enough: () => void = () => {}) {
  const parts: { at: number; blob: Blob }[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, wanted - length)
    parts.push({ at: length, blob: bytes(part) })
    length += part.length
    const tooMuch = length > sourceMax
    if (length < wanted && !tooMuch) continue
    enough()
    if (tooMuch)
      throw errorAt(
        place,
        `there are more than ${sourceMax} bytes: expected [:N] after it, to take no more than that`,
      )
    return { blob: sequence(parts, length), ended: false }
  }
  return { blob: sequence(parts, length), ended: true }
}

function tellFrom(error: unknown, place: Place): Error {
  if (error instanceof ConfigError) return error
  return errorAt(place, messageOf(error), error)
}
