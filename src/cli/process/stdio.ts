/** Standard input and output as one stream (inetd, `-s`). */
import { createReadStream, createWriteStream, fstatSync } from 'node:fs'
import { Socket } from 'node:net'
import { Duplex, type Readable, type Writable } from 'node:stream'

/** Where both are the same socket, as with inetd, uses that socket. Otherwise combines two streams. */
export function stdioStream(): Duplex {
  const input = fstatSync(0)
  const output = fstatSync(1)
  if (input.isSocket() && input.ino === output.ino && input.dev === output.dev) return new Socket({ fd: 0 })
  const readable: Readable =
    input.isSocket() || input.isFIFO()
      ? new Socket({ fd: 0, readable: true, writable: false })
      : createReadStream('', { fd: 0 })
  const writable: Writable =
    output.isSocket() || output.isFIFO()
      ? new Socket({ fd: 1, readable: false, writable: true })
      : createWriteStream('', { fd: 1 })
  return Duplex.from({ readable, writable })
}
