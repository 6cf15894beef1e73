import assert from 'node:assert/strict'
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

/** Asserts that a move is legal, and returns the new state. */
export function move(from: ServerState, to: ServerState): ServerState {
  assert.ok(serverStates[from].includes(to), `a server cannot move from ${from} to ${to}`)
  return to
}
