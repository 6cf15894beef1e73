import { readFileSync } from 'node:fs'
import type { Connection } from '../../api/connection.js'
import type { DeviceInit } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin, type OpenRequest } from '../../api/plugin.js'

const modes = ['exportname', 'base64exportname', 'address', 'time', 'uptime', 'conntime', 'version'] as const

/** A disk with information about the client or the server (nbdkit-info-plugin(1)). */
export default definePlugin({
  name: 'info',
  description: 'a disk that tells a client its export name, its address or the time',
  commandLine: { has: ['can_multi_conn', 'cache'], lines: ['info_address=yes', 'info_base64=yes'] },
  params: {
    mode: param.oneOf(modes, {
      default: 'exportname',
      magic: true,
      also: { 'export-name': 'exportname', 'base64-export-name': 'base64exportname' },
      anyCase: true,
      doc: 'What the disk tells.',
    }),
  },
  setup({ mode }) {
    const started = performance.now()
    const open: Record<typeof mode, (request: OpenRequest) => DeviceInit> = {
      exportname: ({ exportName }) => disk(Buffer.from(exportName), true),
      base64exportname: ({ exportName }) => disk(decodeBase64(exportName), true),
      address: ({ connection }) => disk(Buffer.from(addressOf(connection)), false),
      time: () => clock(() => Date.now()),
      uptime: () => clock(() => performance.now() - started),
      conntime: () => {
        const opened = performance.now()
        return clock(() => performance.now() - opened)
      },
      version: () => disk(Buffer.from(version()), true),
    }
    return { open: open[mode] }
  },
})

/** `sameForAll`: every client that asks for the same export gets the same bytes. */
function disk(bytes: Uint8Array, sameForAll: boolean): DeviceInit {
  return {
    size: bytes.length,
    can: { multiConn: sameForAll },
    read: (offset, length) => bytes.subarray(offset, offset + length),
    cache() {},
  }
}

/** Seconds in 64 bits and microseconds in 32 bits, big-endian, at the time of the read. `now` is in ms. */
function clock(now: () => number): DeviceInit {
  return {
    size: 12,
    read(offset, length) {
      const micros = Math.floor(now() * 1000)
      const bytes = Buffer.alloc(12)
      bytes.writeBigUInt64BE(BigInt(Math.floor(micros / 1e6)))
      bytes.writeUInt32BE(micros % 1e6, 8)
      return bytes.subarray(offset, offset + length)
    },
    cache() {},
  }
}

/**
 * Buffer skips characters that are not base64, but the client should get an error. Line breaks are usual and
 * harmless.
 */
function decodeBase64(text: string): Buffer {
  const digits = text.replace(/[\r\n]/g, '')
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits))
    throw new NbdError('EINVAL', `the export name ${JSON.stringify(text)} is not base64`)
  return Buffer.from(digits, 'base64')
}

/** The path of a Unix socket is not disclosed: it belongs to the server. */
function addressOf({ peer: { family, address, port } }: Connection): string {
  if (family === 'unix') return 'unix'
  if (address === undefined || port === undefined)
    throw new NbdError('EINVAL', 'the client has no address: it is not connected through a network')
  // An IPv4 client of a dual-stack socket.
  const plain = address.replace(/^::ffff:(?=[\d.]+$)/, '')
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`
}

function version(): string {
  const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
