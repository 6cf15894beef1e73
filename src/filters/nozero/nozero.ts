import type { Device, DeviceInit } from '../../api/device.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Hides or restricts a device's efficient zeroing (nbdkit-nozero-filter(1)). */
export default defineFilter({
  name: 'nozero',
  description: 'hides or restricts the efficient writing of zeroes',
  params: {
    mode: param.oneOf(['none', 'emulate', 'notrim', 'plugin'], {
      default: 'none',
      keys: ['zeromode', 'zero-mode'],
      doc: 'What becomes of a request to write zeroes.',
    }),
    fast: param.oneOf(['default', 'none', 'slow', 'ignore'], {
      default: 'default',
      keys: ['fastzeromode', 'fast-zero-mode'],
      doc: 'What becomes of one that must be fast or fail.',
    }),
  },
  threads: 'isolated',
  setup: ({ mode, fast }) => ({
    async open(request, next) {
      const device = await next(request)
      const { can } = device
      switch (mode) {
        case 'none':
          return { ...device, can: { ...can, zero: 'none', fastZero: false } }
        case 'emulate':
          // Emulated zeroing refuses `fast` by itself.
          return { ...device, can: { ...can, zero: 'emulate', fastZero: fast !== 'none' } }
        default:
          if (can.zero === 'none')
            throw new ConfigError(
              `nozero: zeromode=${mode} needs a disk that zeroes can be written to, and the one below is not`,
            )
          return restricted(device, mode === 'notrim', fast)
      }
    },
  }),
})

type FastMode = 'default' | 'none' | 'slow' | 'ignore'

/** The device's own zeroing, with restrictions. */
function restricted(device: Device, noTrim: boolean, fast: FastMode): DeviceInit {
  const { can } = device
  const zero: Device['zero'] = (offset, length, flags) => {
    if (fast === 'slow' && flags.fast) throw new NbdError('ENOTSUP', 'nozero: fast zeroes are slow here')
    return device.zero(offset, length, {
      fua: flags.fua,
      mayTrim: flags.mayTrim && !noTrim,
      fast: flags.fast && fast !== 'ignore',
    })
  }
  return {
    ...device,
    can: { ...can, fastZero: fast === 'default' ? can.fastZero : fast !== 'none' },
    // `zeromode=plugin` with the defaults changes nothing and costs nothing.
    zero: noTrim || fast === 'slow' || fast === 'ignore' ? zero : device.zero,
  }
}
