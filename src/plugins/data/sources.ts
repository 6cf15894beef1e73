/** Reads the starts of files and of scripts' output. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { expectProgram, killGroup, started } from '../../os/process-groups.js'
import { spawn } from '../../os/spawn.js'
import { type Blob, bytes, hole, sequence } from './blob.js'
import { errorAt, type Position } from './position.js'

/** The most bytes read: an endless file or script would take all memory. */
const sourceMax = 2 ** 30

/**
 * Reads up to `wanted` bytes of a file or device.
 *
 * @throws ConfigError when it cannot be read, or is too long.
 */
export async function readFileStart(path: string, wanted: number, position: Position): Promise<Blob> {
  if (wanted === 0) return hole(0)
  try {
    return (await collect(createReadStream(fsPath(path), { highWaterMark: 65536 }), wanted, position)).blob
  } catch (error) {
    throw tellFrom(error, position)
  }
}

/**
 * Reads up to `wanted` bytes of a script's output. The script is killed when there are enough.
 *
 * @throws ConfigError when the script fails before that, or prints too much.
 */
export async function readScriptStart(script: string, wanted: number, position: Position): Promise<Blob> {
  if (wanted === 0) return hole(0)
  // The script gets no input, because standard input may be a client's connection. It gets its own process
  // group, so that it can be killed with everything it started.
  expectProgram()
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const forget = started(child)
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  // An unhandled rejection would end the process.
  closed.catch(() => {})
  try {
    const { blob, ended } = await collect(child.stdout as Readable, wanted, position, () => killGroup(child))
    const [status, signal] = await closed
    if (ended && status !== 0)
      throw errorAt(position, `the script ended with ${signal === null ? `status ${status}` : signal}`)
    return blob
  } catch (error) {
    throw tellFrom(error, position)
  } finally {
    forget()
  }
}

/**
 * Reads a stream, and destroys it when there is enough. `ended` is true where the stream has no more.
 *
 * @param enough called before the stream is destroyed, so that the writer does not see it close.
 */
async function collect(stream: Readable, wanted: number, position: Position, enough: () => void = () => {}) {
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
        position,
        `there are more than ${sourceMax} bytes: expected [:N] after it, to take no more than that`,
      )
    return { blob: sequence(parts, length), ended: false }
  }
  return { blob: sequence(parts, length), ended: true }
}

function tellFrom(error: unknown, position: Position): Error {
  if (error instanceof ConfigError) return error
  return errorAt(position, messageOf(error), error)
}
