import assert from 'node:assert/strict'
import type { ServerState } from '../api/server.js'

/**
 * The states of a server and where each may lead. docs/lifecycle.md draws the same; a test compares the two.
 */
export const serverStates: Readonly<Record<ServerState, readonly ServerState[]>> = {
  // Nothing is set up yet.
  created: ['configured', 'stopped'],
  // Every layer has taken its parameters.
  configured: ['ready', 'stopped'],
  // Every layer is ready; nothing listens yet.
  ready: ['serving', 'stopped'],
  // Clients may come.
  serving: ['draining'],
  // No new clients; those that are here are answered and closed.
  draining: ['stopped'],
  // Every layer is closed.
  stopped: [],
}

/** Asserts that a move is legal, and gives the new state. */
export function move(from: ServerState, to: ServerState): ServerState {
  assert.ok(serverStates[from].includes(to), `a server cannot move from ${from} to ${to}`)
  return to
}
