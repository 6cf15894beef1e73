import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messageLog } from './message-log.js'

test('a connection is named before the level, layers after it', () => {
  const lines: string[] = []
  const log = messageLog(true, (line) => lines.push(line))
  log.error('plain')
  log.child('offset').debug('set up')
  log.child('client 1').child('offset').error('open')
  log.child('offset').child('client 2').debug('open')
  assert.deepEqual(lines, [
    'error: plain',
    'debug: offset: set up',
    'client 1: error: offset: open',
    'client 2: debug: offset: open',
  ])
})

test('debug messages are written only when they are asked for, errors always', () => {
  const lines: string[] = []
  const log = messageLog(false, (line) => lines.push(line)).child('memory')
  assert.equal(log.debugging, false)
  log.debug('dropped')
  log.error('kept')
  assert.deepEqual(lines, ['error: memory: kept'])
})
