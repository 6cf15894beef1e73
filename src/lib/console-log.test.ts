import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { consoleLog } from './console-log.js'

test('each message is a line, as the program writes it', () => {
  const lines: string[] = []
  const log = consoleLog({ write: (line) => lines.push(line) })
  log.child('client 1').child('offset').error('no\nnbdkit-ts: error: forged \x1b[2J')
  log.debug('dropped')
  assert.deepEqual(lines, ['nbdkit-ts: client 1: error: offset: no\n  nbdkit-ts: error: forged \\x1b[2J\n'])
})

test('debug messages come with `verbose`, and another name stands before them', () => {
  const lines: string[] = []
  const log = consoleLog({ verbose: true, name: 'my-program', write: (line) => lines.push(line) })
  assert.equal(log.debugging, true)
  log.debug('open')
  assert.deepEqual(lines, ['my-program: debug: open\n'])
})

test('unless told otherwise it writes on standard error', () => {
  const script = `import { consoleLog } from 'nbdkit-ts'; consoleLog().error('here')`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  assert.deepEqual([stdout, stderr], ['', 'nbdkit-ts: error: here\n'])
})
