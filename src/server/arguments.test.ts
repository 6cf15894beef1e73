import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ConfigError } from '../api/errors.js'
import offset from '../filters/offset/offset.js'
import nullPlugin from '../plugins/null/null.js'
import { createServer } from './server.js'

const plugin = nullPlugin()

describe('createServer says what to write', () => {
  const cases: [given: unknown, message: string][] = [
    [undefined, 'it was given undefined: write createServer({ plugin })'],
    [plugin, 'it was given a plugin: write createServer({ plugin: … })'],
    [{}, 'there is no plugin: write createServer({ plugin: memory({ … }) })'],
    [{ plugin, filter: [] }, 'the option "filter" is unknown: did you mean "filters"?'],
    [{ plugin: 'memory' }, 'plugin: "memory" is no plugin: write memory({ … })'],
    [{ plugin: nullPlugin }, 'plugin: this plugin has no values yet: call it, as in memory({ … })'],
    [{ plugin: offset() }, 'plugin: this is a filter: filters are given as filters: [ … ]'],
    [{ plugin, filters: offset() }, 'filters: an object is no array: write filters: [offset({ … })]'],
    [
      { plugin, filters: [offset(), offset] },
      'filters[1]: this filter has no values yet: call it, as in offset({ … })',
    ],
    [{ plugin, filters: [plugin] }, 'filters[0]: this is a plugin: the plugin is given as plugin'],
    [{ plugin, filters: [undefined] }, 'filters[0]: undefined is no filter: write offset({ … })'],
  ]
  for (const [given, message] of cases)
    test(message, () =>
      assert.throws(() => createServer(given as never), new ConfigError(`createServer: ${message}`)),
    )
})

describe('listen says what to write', () => {
  const expected = 'write listen({ port: 10809 }), listen({ path: "/run/nbd.sock" }) or listen({ fd: 3 })'
  const cases: [given: unknown, message: string][] = [
    [10809, `it was given a number: ${expected}`],
    [undefined, `it was given undefined: ${expected}`],
    [{ host: 'localhost' }, `there is no port, path or fd: ${expected}`],
    [{ port: 0, hots: '::1' }, 'beside port, "hots" is unknown: did you mean "host"?'],
    [{ path: 'a', port: 1 }, 'beside port, "path" is unknown'],
    [{ port: '10809' }, 'port is "10809": expected a number'],
    [{ path: 3 }, 'path is a number: expected a string'],
    [{ port: 65536 }, '65536 is no port: expected 0 to 65535'],
  ]
  for (const [given, message] of cases)
    test(message, async () => {
      await using server = createServer({ plugin })
      await assert.rejects(server.listen(given as never), new ConfigError(`listen: ${message}`))
      await server.listen({ port: 0 })
    })
})
