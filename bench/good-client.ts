/** The client beside the bad ones: reads 4 KiB at a time, and records how long each read takes. */
import { NBD_CMD_DISC, NBD_CMD_READ } from '../src/protocol/constants.js'
import { RawClient } from '../src/testing/raw-client.js'

export interface Waits {
  readonly reads: number
  readonly p99Ms: number
  readonly worstMs: number
}

/** Connecting counts as the first wait. */
export async function readFor(path: string, seconds: number): Promise<Waits> {
  const waitsMs: number[] = []
  const timed = async <T>(work: () => Promise<T>): Promise<T> => {
    const start = performance.now()
    const result = await work()
    waitsMs.push(performance.now() - start)
    return result
  }
  const end = performance.now() + seconds * 1000
  const client = await timed(async () => {
    const client = await RawClient.connect({ path })
    await client.go()
    return client
  })
  while (performance.now() < end)
    await timed(async () => {
      const [reply] = await client.request({ type: NBD_CMD_READ, length: 4096 })
      if (reply?.error !== 0) throw new Error(`a read failed with ${reply?.error}`)
    })
  client.sendRequest({ type: NBD_CMD_DISC })
  client.stream.end()
  await client.closed
  return waitsOf(waitsMs)
}

export function waitsOf(waitsMs: readonly number[]): Waits {
  const sorted = [...waitsMs].sort((a, b) => a - b)
  const at = Math.ceil(sorted.length * 0.99) - 1
  return { reads: sorted.length, p99Ms: sorted[at] ?? 0, worstMs: sorted.at(-1) ?? 0 }
}
