/** Measures how long one client waits while another sends as many requests as it can. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { NBD_OPT_LIST } from '../src/protocol/constants.js'
import { encodeRequest, RawClient } from '../src/testing/index.js'
import { packageRoot } from '../tests/programs.js'
import { type Child, launch, makeFolder, removeFolder, stop } from './children.js'
import type { StallClientData, Waits } from './stall-client.js'
import { type StallRow, stallRows } from './stall-rows.js'

/** The longest acceptable wait, in ms. */
export const stallMsMax = 50
/** Time for the bad client to get its answers before it is left alone, in ms. */
const attackMs = 5000

/**
 * Measures the rows whose name contains one of these words, or all rows. Returns true where no client waited
 * too long.
 */
export async function stalls(words: readonly string[]): Promise<boolean> {
  const chosen = stallRows.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  )
  let good = true
  for (const row of chosen) {
    const { answers, worstMs } = await measureStall(row)
    good &&= worstMs <= stallMsMax
    console.log(
      `${row.name.padEnd(36)} longest wait ${worstMs.toFixed(1).padStart(7)} ms, of ${answers} answers`,
    )
  }
  return good
}

export async function measureStall(row: StallRow): Promise<Waits> {
  const folder = makeFolder()
  const disk = row.slow && (await mountSlowDisk(folder, row.slow))
  const path = join(folder, 'socket')
  const server = launch('nbdkit-ts', join(packageRoot, 'bin', 'nbdkit-ts'), [
    '-f',
    '-U',
    path,
    ...row.server(folder),
  ])
  try {
    await listening(server, path)
    const goodClient = new Worker(new URL('./stall-client.js', import.meta.url), {
      workerData: {
        path,
        reads: row.slow === undefined && row.instead !== 'list',
        exportName: row.instead === 'list' ? 'disk-0' : '',
      } satisfies StallClientData,
    })
    await once(goodClient, 'message')
    await Promise.race([attack(row, path), sleep(attackMs)])
    const told = once(goodClient, 'message') as Promise<[Waits]>
    goodClient.postMessage('stop')
    return (await told)[0]
  } finally {
    await stop(server)
    await disk?.()
    removeFolder(folder)
  }
}

async function attack({ request, times, instead }: StallRow, path: string): Promise<void> {
  const client = await RawClient.connect({ path })
  if (instead === 'list') {
    await client.greet()
    await client.option(NBD_OPT_LIST)
  } else {
    await client.go({ structured: true, extended: true, contexts: ['base:allocation'] })
    const extra = request.payload ? { flags: 32 } : {}
    const bytes = encodeRequest({ ...request, ...extra }, true)
    for (let sent = 0; sent < times; sent++) client.send(bytes)
    for (let answered = 0; answered < times; ) if ((await client.reply()).done) answered++
  }
  client.stream.destroy()
}

async function listening(server: Child, path: string): Promise<void> {
  let wrong: string | undefined
  void server.ended.then((how) => {
    wrong = how ?? 'it ended'
  })
  for (;;) {
    const client = existsSync(path) ? await RawClient.connect({ path }).catch(() => undefined) : undefined
    client?.stream.destroy()
    if (client) return
    if (wrong !== undefined) throw new Error(wrong)
    await sleep(20)
  }
}

/** Returns a function that unmounts the disk. */
async function mountSlowDisk(folder: string, operations: readonly string[]): Promise<() => Promise<void>> {
  const mountPoint = join(folder, 'mnt')
  mkdirSync(mountPoint)
  const script = join(packageRoot, 'dist', 'tests', 'slow-disk.js')
  const program: ChildProcess = spawn(process.execPath, [script, mountPoint, ...operations], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(program, 'exit')
  await once(program.stdout as NodeJS.ReadableStream, 'data')
  return async () => {
    program.stdin?.end()
    await ended
  }
}
