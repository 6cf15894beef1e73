import { bytesOfText } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

const sizeBytes = 512

/** Gives clients without TLS a message in place of the disk (nbdkit-tls-fallback-filter(1)). */
export default defineFilter({
  name: 'tls-fallback',
  description: 'gives clients without TLS a message in place of the disk',
  params: {
    message: param.string({
      default: 'This server needs TLS: connect with TLS to reach its disks.\n',
      keys: ['tlsreadme'],
      bytes: true,
      doc: 'What a client without TLS reads.',
    }),
  },
  threads: 'isolated',
  setup({ message }) {
    const bytes = new Uint8Array(sizeBytes)
    bytes.set(bytesOfText(message).subarray(0, sizeBytes))
    return {
      ready({ concurrency }) {
        // A client without TLS could stay forever, and keep the others out.
        if (concurrency === 'serialize-connections')
          throw new ConfigError(
            'tls-fallback: a layer takes one client at a time (serialize-connections), ' +
              'and a client without TLS would keep out the others: leave out that layer or this filter',
          )
      },
      exports: (request, next) => (request.tls ? next(request) : [{ name: '' }]),
      defaultExport: (request, next) => (request.tls ? next(request) : ''),
      open(request, next) {
        if (request.tls) return next(request)
        return { size: sizeBytes, read: (offset, length) => bytes.subarray(offset, offset + length) }
      },
    }
  },
})
