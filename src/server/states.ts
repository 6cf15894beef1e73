import type { ServerState } from '../api/server.js'

/**
 * The states of a server and the moves allowed from each. docs/lifecycle.md draws the same, and a test
 * compares the two.
 */
export const serverStates: Readonly<Record<ServerState, readonly ServerState[]>> = {
  // Nothing is set up yet.
  created: ['configured', 'stopped'],
  // Every layer has its parameters.
  configured: ['ready', 'stopped'],
  // Every layer is ready, and nothing listens yet.
  ready: ['serving', 'stopped'],
  // Clients may connect.
  serving: ['draining'],
  // No new clients are taken. Current clients are answered and closed.
  draining: ['stopped'],
  // Every layer is closed.
  stopped: [],
}

/** Returns the new state. @throws Error where the move is not legal: a mistake of ours. */
export function move(from: ServerState, to: ServerState): ServerState {
  if (!serverStates[from].includes(to)) throw new Error(`a server cannot move from ${from} to ${to}`)
  return to
}
