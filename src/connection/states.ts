import assert from 'node:assert/strict'
import type { ConnectionState } from '../api/connection.js'

/**
 * The states of a connection and where each may lead. docs/lifecycle.md draws the same; a test compares the
 * two.
 */
export const connectionStates: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  // Magic and flags sent, client flags awaited.
  greeting: ['options', 'transmission', 'closed'],
  // Option haggling.
  options: ['upgrading', 'transmission', 'closed'],
  // TLS handshake after STARTTLS.
  upgrading: ['options', 'closed'],
  // Requests and replies.
  transmission: ['draining', 'closed'],
  // Soft disconnect, DISC, peer EOF or server shutdown: what is in flight ends, new requests get ESHUTDOWN.
  draining: ['closed'],
  // Nothing more is sent or received; devices close once their callbacks have settled.
  closed: [],
}

/** Asserts that a move is legal, and gives the new state. */
export function move(from: ConnectionState, to: ConnectionState): ConnectionState {
  assert.ok(connectionStates[from].includes(to), `a connection cannot move from ${from} to ${to}`)
  return to
}
