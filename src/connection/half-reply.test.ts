/** An exception in the middle of a reply ends the connection: nothing may follow half a reply. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { NBD_CMD_READ } from '../protocol/constants.js'
import { encodeRequest } from '../testing/raw-client.js'
import { Disk, serve } from '../testing/served-disk.js'

/** Bytes that work at the first access and throw at the second, when a header precedes them already. */
class Broken extends Uint8Array {
  #looks = 0

  override get length(): number {
    if (this.#looks++ > 0) throw new Error('these bytes are broken')
    return super.length
  }
}

const length = 4096

describe('data that throws while its reply is made', () => {
  for (const when of ['at once', 'later'])
    it(`ends its connection, and no other: from a device that answers ${when}`, async (t) => {
      const data = new Broken(length)
      const disk = new Disk({
        device: {
          read: (offset, length, alloc) => {
            if (offset > 0) return alloc(length)
            return when === 'at once' ? data : turn().then(() => data)
          },
        },
      })
      const served = serve(t, disk)
      const [client, other] = [await served.connectSocket(), await served.connectSocket()]
      await client.go()
      await other.go()
      client.send(encodeRequest({ type: NBD_CMD_READ, length }))
      // No error: the client would take its bytes for data.
      assert.equal((await client.rest()).length, 0)
      assert.match(served.errors.join('\n'), /^this is a bug: .*these bytes are broken/s)
      const [answer] = await other.request({ type: NBD_CMD_READ, offset: 1, length: 1 })
      assert.equal(answer?.error, 0)
    })
})
