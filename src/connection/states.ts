import type { ConnectionState } from '../api/connection.js'

/**
 * The states of a connection and the moves allowed from each. docs/lifecycle.md draws the same, and a test
 * compares the two.
 */
export const connectionStates: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  // Magic and flags are sent; the client's flags are awaited.
  greeting: ['options', 'transmission', 'closed'],
  // Option haggling.
  options: ['upgrading', 'transmission', 'closed'],
  // TLS handshake after STARTTLS.
  upgrading: ['options', 'closed'],
  // Requests and replies.
  transmission: ['draining', 'closed'],
  // Soft disconnect, DISC, peer EOF or server shutdown: requests in flight finish, new requests get
  // ESHUTDOWN.
  draining: ['closed'],
  // Nothing more is sent or received. Devices close once their callbacks have settled.
  closed: [],
}

/** Returns the new state. @throws Error where the move is not legal: a mistake of ours. */
export function move(from: ConnectionState, to: ConnectionState): ConnectionState {
  if (!connectionStates[from].includes(to)) throw new Error(`a connection cannot move from ${from} to ${to}`)
  return to
}
