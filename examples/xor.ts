/**
 * A filter that changes every byte. Use it:
 * `bin/nbdkit-ts --filter=./examples/xor.ts memory 64M mask=0x55`
 */
import { andThen, type Data, defineFilter, param } from 'nbdkit-ts'

export default defineFilter({
  name: 'xor',
  description: 'exclusive-ors every byte with a mask',
  params: {
    mask: param.int({ default: 0xff, max: 0xff, doc: 'What every byte is exclusive-ored with.' }),
  },
  setup({ mask }) {
    // Into other memory: what the device returns, and what a client writes, is lent and not ours to change.
    const xor = (data: Data, target: Uint8Array): Uint8Array => {
      let at = 0
      for (const part of data instanceof Uint8Array ? [data] : data)
        for (const byte of part) target[at++] = byte ^ mask
      return target
    }
    return {
      async open(request, next) {
        const device = await next(request)
        return {
          ...device,
          // Zeroes of the client are not zeroes below: they are written through this filter, and what
          // the device below knows of its holes does not hold above.
          can: { ...device.can, zero: 'emulate', extents: false },
          read: (offset, length, alloc) =>
            andThen(device.read(offset, length, alloc), (data) => xor(data, alloc(length))),
          write: (offset, data, flags) => device.write(offset, xor(data, new Uint8Array(data.length)), flags),
        }
      },
    }
  },
})
