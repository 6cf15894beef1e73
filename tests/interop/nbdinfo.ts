/** What libnbd's nbdinfo says of a server, and how much of it nbdkit and we have in common. */
import { payloadBytesMax } from '../../src/protocol/limits.js'
import { output, type Serving } from './helpers.js'

export interface Export {
  readonly 'export-name': string
  readonly [fact: string]: unknown
}

export interface Info {
  readonly exports: readonly Export[]
  readonly [fact: string]: unknown
}

/** Without what must differ: the socket in the URI. Exports are listed in no particular order. */
export async function info(server: Serving, ...options: string[]): Promise<Info> {
  return parsed(await output('nbdinfo', ['--json', ...options, server.uri]), server)
}

export function parsed(json: string, server: Serving): Info {
  const all = JSON.parse(json.replaceAll(server.socket, 'SOCKET')) as Info
  const exports = all.exports.toSorted((a, b) => (a['export-name'] < b['export-name'] ? -1 : 1))
  return { ...all, exports }
}

/**
 * Without what differs between nbdkit and us whatever is served, as docs/differences.md says: we speak
 * extended headers, and the longest payload that we name is the one that we take. nbdinfo.test.ts has both
 * once.
 */
export function common({ extended: _, ...all }: Info): Info {
  return { ...all, exports: all.exports.map(withMaximumOfOurs) }
}

function withMaximumOfOurs(one: Export): Export {
  const { block_size_maximum: maximum } = one
  return typeof maximum === 'number'
    ? { ...one, block_size_maximum: Math.min(maximum, payloadBytesMax) }
    : one
}

/** For `memory`: that of nbdkit 1.38 and later prefers a block size. */
export function withoutBlockSizes(all: Info): Info {
  const exports = all.exports.map((one) => {
    const facts = Object.entries(one).filter(([name]) => !name.startsWith('block_size_'))
    return Object.fromEntries(facts) as unknown as Export
  })
  return { ...all, exports }
}
