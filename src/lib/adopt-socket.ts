import { Socket } from 'node:net'

export interface OnRead {
  /** The memory for the next bytes. */
  buffer(): Uint8Array
  /** `length` bytes came into it. False: no more for now. */
  callback(length: number): boolean
}

/**
 * A socket that receives into memory of the program's own, in place of one that Node made. Node lets a socket
 * do that (`onread`) only when the program makes it, so a new one is made over the same handle, and the old
 * one forgets it. It does not read before `resume`. Undefined where that is not possible in the running Node:
 * use the old one as any stream, which is slower and never wrong.
 */
export function adoptSocket(made: Socket, onread: OnRead): Socket | undefined {
  const holder = made as unknown as { _handle: object | null }
  const handle = holder._handle
  if (!canAdopt || handle === null || typeof handle !== 'object') return undefined
  try {
    const options = { handle, onread, allowHalfOpen: true, pauseOnCreate: true }
    const socket = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0])
    holder._handle = null
    made.destroy()
    return socket
  } catch {
    return undefined
  }
}

/** Other runtimes wear Node's interface without its inside. */
const canAdopt =
  process.release.name === 'node' && !('bun' in process.versions) && !('deno' in process.versions)
