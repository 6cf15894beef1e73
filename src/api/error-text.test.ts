import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { clientMessageOf, logMessageOf, placeIn, stackLinesOf } from './error-text.js'
import { ConfigError, NbdError } from './errors.js'

/** An error as Node makes it for a user's plugin. */
function mistake(stack: string, message = 'oops'): TypeError {
  return Object.assign(new TypeError(message), { stack: `TypeError: ${message}\n${stack}` })
}
const ours = new URL('../chain/guard.js', import.meta.url).href

describe('the place of a mistake', () => {
  const stacks: [where: string, stack: string, file: string | undefined][] = [
    [
      'the first file that is not ours',
      `    at read (${ours}:9:1)\n    at f (file:///srv/my-disk.ts:12:5)`,
      '/srv/my-disk.ts',
    ],
    ['of a function without a name', '    at file:///srv/my-disk.mjs:12:5', '/srv/my-disk.mjs'],
    ['of an async function', '    at async f (/srv/my-disk.cjs:12:5)', '/srv/my-disk.cjs'],
    [
      "the author's own rather than that of a package",
      '    at f (/srv/node_modules/p/i.js:1:1)\n    at g (/srv/a.js:12:2)',
      '/srv/a.js',
    ],
    [
      'that of a package where there is no other',
      '    at f (/srv/node_modules/p/i.js:12:1)',
      '/srv/node_modules/p/i.js',
    ],
    ['of a syntax error the line of its own', '/srv/a.mjs:12\nconst b c', '/srv/a.mjs'],
    ['none within Node', '    at f (node:internal/x:1:1)', undefined],
    ['none of ours', `    at read (${ours}:9:1)`, undefined],
    ['as it stands where it is no file here', '    at f (file://host/x.js:12:1)', undefined],
  ]
  for (const [where, stack, file] of stacks)
    test(where, () => assert.deepEqual(placeIn(stack), file && { file, line: '12' }))
})

describe('the log is told', () => {
  test('of a mistake the name and the place', () => {
    assert.equal(logMessageOf(mistake('    at f (/srv/my-disk.ts:12:5)')), 'TypeError: oops (my-disk.ts:12)')
  })
  test('no place that stands in the message', () => {
    const error = mistake(`    at read (${ours}:9:1)`, 'no export\n    at f (/etc/passwd:1:1)')
    assert.equal(logMessageOf(error), 'TypeError: no export\n    at f (/etc/passwd:1:1)')
  })
  test('what was said on purpose as it was said', () => {
    for (const error of [
      new NbdError('EIO', 'no'),
      new ConfigError('no'),
      Object.assign(new Error('no'), { code: 'EIO' }),
    ])
      assert.deepEqual([logMessageOf(error), stackLinesOf(error)], ['no', ''])
  })
  test('the lines of a stack without its message', () => {
    assert.equal(
      stackLinesOf(mistake('    at f (/srv/a.ts:1:1)\n    at g (/srv/a.ts:2:1)')),
      '\n    at f (/srv/a.ts:1:1)\n    at g (/srv/a.ts:2:1)',
    )
  })
  test('soon, however long a stack is', () => {
    const error = mistake(` at (${'/('.repeat(1_000_000)}`, 'short')
    assert.equal(logMessageOf(error), 'TypeError: short')
  })
})

test('neither the log nor a client fails over what cannot be read', () => {
  const { proxy, revoke } = Proxy.revocable(new Error('x'), {})
  revoke()
  const unreadable = Object.defineProperty(new Error('x'), 'stack', {
    get() {
      throw new Error('no stack')
    },
  })
  for (const thrown of [
    proxy,
    unreadable,
    Object.create(null),
    undefined,
    null,
    1n,
    Symbol('s'),
    { toString: null },
  ]) {
    assert.equal(typeof logMessageOf(thrown), 'string')
    assert.equal(typeof stackLinesOf(thrown), 'string')
    assert.equal(clientMessageOf(thrown), 'Error')
  }
})
