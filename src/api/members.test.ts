import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { namesOf, unknownMember } from './members.js'

const known = namesOf<{ read: unknown; write: unknown; size: unknown }>({
  read: true,
  write: true,
  size: true,
})

describe('a plain object', () => {
  test('may have some of the known members', () => {
    assert.equal(unknownMember({ size: 1, read() {} }, known), undefined)
    assert.equal(unknownMember(Object.assign(Object.create(null), { size: 1 }), known), undefined)
  })

  test('has no other, and the nearest name is told', () => {
    assert.equal(unknownMember({ wirte() {} }, known), '"wirte" is unknown: did you mean "write"?')
    assert.equal(unknownMember({ length: 1 }, known), '"length" is unknown')
  })

  test('is not told to have what it has already', () => {
    assert.equal(unknownMember({ read() {}, reads: 0 }, known), '"reads" is unknown')
  })
})

describe('an object of a class', () => {
  class Disk {
    size = 1
    #secret = 0
    reads = 0
    open() {
      return this.#secret
    }
    read() {}
  }

  test('may have members of its own', () => assert.equal(unknownMember(new Disk(), known), undefined))

  test('has no method whose name is near one that it lacks', () => {
    class Misspelt extends Disk {
      wirte() {}
    }
    class Further extends Misspelt {}
    assert.equal(unknownMember(new Further(), known), '"wirte" is unknown: did you mean "write"?')
  })

  test('may have such a method beside the one that is meant', () => {
    class Both extends Disk {
      write() {}
      writes() {}
    }
    assert.equal(unknownMember(new Both(), known), undefined)
  })
})
