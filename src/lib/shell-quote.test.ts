import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { shellQuote, shellQuoteLine } from './shell-quote.js'

test('shellQuote leaves a safe word alone', () => {
  for (const word of ['disk', 'a-b_c.d/e', 'key=value', 'host:10809', 'a,b', '0x1f'])
    assert.equal(shellQuote(word), word)
})

test('shellQuote quotes an empty word and one with spaces', () => {
  assert.equal(shellQuote(''), '""')
  assert.equal(shellQuote('first one'), '"first one"')
  assert.equal(shellQuote("it's"), '"it\'s"')
})

test('shellQuote escapes what a shell reads within double quotes', () => {
  assert.equal(shellQuote('x"y$z\\`'), '"x\\"y\\$z\\\\\\`"')
})

test('shellQuote is read back by a shell as it was', () => {
  for (const word of [
    '',
    'a b',
    'x"y$HOME`id`\\',
    '~',
    '*',
    '#a',
    '{a,b}',
    '!x',
    'é',
    'two\nlines',
    '&;|<>()',
  ])
    assert.equal(execFileSync('/bin/sh', ['-c', `printf %s ${shellQuote(word)}`], { encoding: 'utf8' }), word)
})

test('shellQuoteLine keeps what has no control characters as shellQuote does', () => {
  assert.equal(shellQuoteLine('plain'), 'plain')
  assert.equal(shellQuoteLine('a b'), '"a b"')
})

test('shellQuoteLine keeps control characters off the line', () => {
  assert.equal(shellQuoteLine('two\nlines'), "$'two\\012lines'")
  assert.equal(shellQuoteLine("\u001b[2J'\\"), "$'\\033[2J\\'\\\\'")
  assert.equal(shellQuoteLine('\u0085\u2028'), "$'\\302\\205\\342\\200\\250'")
})
