import type { Device, DeviceInit } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

const modes = ['none', 'emulate', 'native', 'force', 'pass', 'discard'] as const

/** Changes the handling of flushes and of writes that must be durable (nbdkit-fua-filter(1)). */
export default defineFilter({
  name: 'fua',
  description: 'changes how flushes and durable writes (FUA) are done',
  params: {
    mode: param.oneOf(modes, {
      default: 'none',
      keys: ['fuamode'],
      doc: 'What becomes of FUA and of flushes.',
    }),
    flushOnClose: param.boolean({
      default: false,
      keys: ['flush-on-close', 'flush_on_close'],
      doc: 'Whether the disk is flushed when a client goes.',
    }),
  },
  threads: 'isolated',
  setup: ({ mode, flushOnClose }) => ({
    async open(request, next) {
      const device = await next(request)
      const init = changed(device, mode)
      if (!flushOnClose) return init
      needFlush(device, 'flush-on-close=true')
      return { ...init, close: () => device.flush() }
    },
  }),
})

function changed(device: Device, mode: (typeof modes)[number]): DeviceInit {
  const { can } = device
  switch (mode) {
    case 'pass':
      return device
    case 'none':
      return { ...device, can: { ...can, fua: 'none' } }
    case 'emulate':
      needFlush(device, 'fuamode=emulate')
      return { ...device, can: { ...can, fua: 'emulate' } }
    case 'native':
      needFua(device, mode)
      return { ...device, can: { ...can, fua: 'native' } }
    case 'force':
      needFua(device, mode)
      return withFua(device, true)
    case 'discard':
      return withFua(device, false)
  }
}

/** Sends every change with FUA, or none. Either way there is nothing left to flush. */
function withFua(device: Device, fua: boolean): DeviceInit {
  return {
    ...device,
    can: { ...device.can, fua: 'native', flush: true },
    write: (offset, data) => device.write(offset, data, { fua }),
    trim: (offset, length) => device.trim(offset, length, { fua }),
    zero: (offset, length, flags) => device.zero(offset, length, { ...flags, fua }),
    flush() {},
  }
}

function needFlush({ can }: Device, parameter: string): void {
  if (!can.flush)
    throw new ConfigError(`fua: ${parameter} needs a disk that can be flushed, and the one below cannot`)
}

function needFua({ can }: Device, mode: string): void {
  if (can.fua === 'none')
    throw new ConfigError(`fua: fuamode=${mode} needs a disk with FUA, and the one below has none`)
}
