/** A thread that sends one small request after the other, and records how long each reply took. */
import { parentPort, workerData } from 'node:worker_threads'
import { NBD_CMD_READ } from '../src/protocol/constants.js'
import { RawClient, type RawRequest } from '../src/testing/index.js'

export interface StallClientData {
  readonly path: string
  /** False: the requests involve only the server, never the disk. */
  readonly reads: boolean
  readonly exportName: string
}

export interface Waits {
  readonly answers: number
  readonly worstMs: number
}

async function work(
  { path, reads, exportName }: StallClientData,
  port: NonNullable<typeof parentPort>,
): Promise<void> {
  const client = await RawClient.connect({ path })
  await client.go({ name: exportName })
  // No command has this number, so the reply is an error.
  const request: RawRequest = reads ? { type: NBD_CMD_READ, length: 512 } : { type: 99 }
  let stopped = false
  port.once('message', () => {
    stopped = true
  })
  port.postMessage('ready')
  let [answers, worstMs] = [0, 0]
  while (!stopped) {
    const start = performance.now()
    await client.request(request)
    worstMs = Math.max(worstMs, performance.now() - start)
    answers++
    // A thread that never yields receives no messages.
    if (answers % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  client.stream.destroy()
  port.postMessage({ answers, worstMs } satisfies Waits)
}

if (parentPort) await work(workerData as StallClientData, parentPort)
