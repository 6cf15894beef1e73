import assert from 'node:assert/strict'
import { test } from 'node:test'
import { oneAtATime } from './one-at-a-time.js'

test('a queue returns a value at once where nothing is running', () => {
  const queue = oneAtATime()
  assert.equal(
    queue(() => 1),
    1,
  )
  assert.equal(
    queue(() => 2),
    2,
  )
})

test('a queue starts work when the work before has settled, in the order given', async () => {
  const queue = oneAtATime()
  const seen: string[] = []
  const held: (() => void)[] = []
  const work = (name: string) => () => {
    seen.push(`${name} starts`)
    return new Promise<void>((resolve) => held.push(resolve)).then(() => void seen.push(`${name} ends`))
  }
  const all = [queue(work('a')), queue(work('b')), queue(() => void seen.push('c'))]
  for (let released = 0; released < 2; released++) {
    while (held.length === 0) await new Promise(setImmediate)
    held.shift()?.()
  }
  await Promise.all(all)
  assert.deepEqual(seen, ['a starts', 'a ends', 'b starts', 'b ends', 'c'])
})

test('a queue goes on after a failure, which only the caller of that work gets', async () => {
  const queue = oneAtATime()
  const failing = queue(() => Promise.reject(new Error('no')))
  const next = queue(() => 3)
  await assert.rejects(async () => failing, { message: 'no' })
  assert.equal(await next, 3)
  assert.throws(
    () =>
      queue(() => {
        throw new Error('at once')
      }),
    { message: 'at once' },
  )
})

test('a queue that has become idle returns values at once again', async () => {
  const queue = oneAtATime()
  await queue(() => Promise.resolve())
  await new Promise(setImmediate)
  assert.equal(
    queue(() => 4),
    4,
  )
})
