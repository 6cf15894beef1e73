/** A thousand bad clients beside a good one: `npm run hostile -- --help` explains it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parseInteger } from '../src/api/parse.js'
import { packageRoot } from '../tests/programs.js'
import { cleanUpAtTheEnd, firstLine, launch } from './children.js'
import { readFor, type Waits } from './good-client.js'
import { type Kind, kinds } from './hostile-kinds.js'
import { parseTarget } from './load-wire.js'
import { machine, sentence } from './machine.js'
import { memoryOf } from './proc.js'
import { type Server, serve } from './servers.js'
import { stalls } from './stalls.js'
import { markdownTable } from './table.js'

const help = `npm run hostile -- [options] [WORD...]

Serves a disk in memory on a Unix socket, and lets a good client read beside many bad ones, one kind of them
after the other, each with a new server. With words, only the kinds with one of them in their name.

With "stalls" for the first word, one client asks for as much as it can, and the longest wait of another
is printed; further words choose among these rows.

  --clients=N  bad clients at once, 1000 unless given
  --seconds=N  how long the good client reads, 10 unless given
  --save       write the figures into docs/hostile.md
  --help       print this`

const page = 'docs/hostile.md'
const columns = ['Bad clients', 'Reads', 'p99 ms', 'Worst ms', 'Memory MiB at most', 'All comes back']
const MiB = 2 ** 20
const backMsMax = 60_000

interface Outcome {
  readonly waits: Waits
  readonly peakBytes: number
  /** Time until the server had as few files open as before, and served a new client. */
  readonly backMs: number | undefined
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const options = { clients: text, seconds: text, save: flag, help: flag }
  const { values, positionals: words } = parseArgs({ options, allowPositionals: true })
  if (values.help) return console.log(help)
  if (words[0] === 'stalls') return measureStalls(words.slice(1))
  const clients = parseInteger(values.clients ?? '1000', 1, 10_000)
  const seconds = parseInteger(values.seconds ?? '10', 1, 3600)
  const chosen = kinds.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
  if (chosen.length === 0) throw new Error(`no kind has "${words.join('" or "')}" in its name`)
  cleanUpAtTheEnd()
  const load = `The load average was ${loadavg()[0]?.toFixed(1)} before.`
  const where = `${sentence(await machine())} ${clients} bad clients, ${seconds} s for each kind. ${load}`
  console.log(`# ${where}`)
  const table = [columns]
  for (const kind of [undefined, ...chosen]) {
    const outcome = await measure(kind, clients, seconds)
    table.push(cells(kind?.name ?? 'none', outcome))
    console.log(table.at(-1)?.join('\t'))
    if (outcome.backMs === undefined) process.exitCode = 1
  }
  if (values.save) save(`${where}\n\n${markdownTable(table)}`)
}

async function measureStalls(words: readonly string[]): Promise<void> {
  cleanUpAtTheEnd()
  console.log(`# ${sentence(await machine())}`)
  if (!(await stalls(words))) process.exitCode = 1
}

async function measure(kind: Kind | undefined, clients: number, seconds: number): Promise<Outcome> {
  const server = await serve('ours', { args: ['memory', '1G'] }, '')
  try {
    const path = pathOf(server)
    await readFor(path, 0.1)
    const filesBefore = openFiles(server)
    const end = kind === undefined ? async () => {} : await crowd(kind, path, clients)
    const waits = await readFor(path, seconds)
    await end()
    const backMs = await comesBack(server, filesBefore)
    return { waits, peakBytes: memoryOf(server.pid).peakBytes, backMs }
  } finally {
    await server.stop()
  }
}

function pathOf({ uri }: Server): string {
  const { address } = parseTarget(uri)
  if (!('path' in address)) throw new Error(`${uri} is no Unix socket`)
  return address.path
}

/** Starts the bad clients. Returns a function that kills them all at once. */
async function crowd({ name }: Kind, path: string, clients: number): Promise<() => Promise<void>> {
  const program = fileURLToPath(new URL('hostile-crowd.js', import.meta.url))
  const child = launch('the crowd', process.execPath, [program, path, name, `${clients}`])
  await firstLine(child, 120_000)
  return async () => {
    child.process.kill('SIGKILL')
    await child.ended
  }
}

async function comesBack(server: Server, filesBefore: number): Promise<number | undefined> {
  const start = performance.now()
  while (openFiles(server) > filesBefore) {
    if (performance.now() - start > backMsMax) return undefined
    await sleep(10)
  }
  await readFor(pathOf(server), 0)
  return performance.now() - start
}

function openFiles({ pid }: Server): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

function cells(name: string, { waits, peakBytes, backMs }: Outcome): string[] {
  const { reads, p99Ms, worstMs } = waits
  const back =
    backMs === undefined ? `not after ${backMsMax / 1000} s` : `after ${(backMs / 1000).toFixed(1)} s`
  return [name, `${reads}`, p99Ms.toFixed(1), worstMs.toFixed(1), (peakBytes / MiB).toFixed(0), back]
}

function save(figures: string): void {
  const path = join(packageRoot, page)
  const [before, after] = readFileSync(path, 'utf8').split(
    /(?<=<!-- figures: begin -->)[\s\S]*(?=<!-- figures: end -->)/,
  )
  if (after === undefined) throw new Error(`${page} has no place for figures`)
  writeFileSync(path, `${before}\n\n${figures}\n\n${after}`)
  console.log(`# ${page} is written`)
}

main().catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
