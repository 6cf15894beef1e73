/** How a connection that ends in order ends its stream. */
import type { Transport } from './transport.js'

/** How long the bytes of a client that still sends are discarded, in ms. */
export const partingMs = 50

/**
 * Ends the stream, and destroys it at once where the client sends no more. The bytes of any other client are
 * discarded until the client ends too, for a moment: a socket that is closed with unread bytes resets its
 * connection, and the client would lose replies that it has not read yet.
 *
 * @param sends tells whether the client may still send.
 */
export function endInOrder(
  { stream, resume }: Pick<Transport, 'stream' | 'resume'>,
  sends: () => boolean,
): void {
  stream.end(() => {
    if (!sends()) stream.destroy()
  })
  if (!sends()) return
  const timer = setTimeout(() => stream.destroy(), partingMs)
  stream.once('end', () => stream.writableFinished && stream.destroy())
  stream.once('close', () => clearTimeout(timer))
  resume()
}
