import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConfigError } from '../api/errors.js'
import type { ServerOptions } from '../api/server.js'
import nullPlugin from '../plugins/null/null.js'
import { createServer } from './server.js'

const wrong: readonly (readonly [string, Partial<ServerOptions>, string])[] = [
  ['no thread at all', { threads: 0 }, 'threads: 0 is not an integer from 1 on'],
  ['half a thread', { threads: 1.5 }, 'threads: 1.5 is not an integer from 1 on'],
  ['busy polling before now', { busyPollUs: -1 }, 'busyPollUs: -1 is not a number from 0 to 1000'],
  ['busy polling for ever', { busyPollUs: 1001 }, 'busyPollUs: 1001 is not a number from 0 to 1000'],
  [
    'busy polling for no number',
    { busyPollUs: Number.NaN },
    'busyPollUs: NaN is not a number from 0 to 1000',
  ],
]

describe('a server', () => {
  for (const [what, options, message] of wrong)
    it(`refuses to be ready with ${what}`, async () => {
      const server = createServer({ plugin: nullPlugin(), ...options })
      await assert.rejects(
        server.ready(),
        (error) => error instanceof ConfigError && error.message === message,
      )
      assert.equal(server.state, 'stopped')
    })
})
