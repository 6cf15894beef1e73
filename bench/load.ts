/** The load client as a program: `node dist/bench/load.js --help`. It prints one line of JSON. */
import { parseArgs } from 'node:util'
import { parseInteger, parseSize } from '../src/api/parse.js'
import type { RequestMode } from './load-client.js'
import { holdConnections, type LoadResult, loadConnections, loadRequests, type Times } from './load-modes.js'
import { parseTarget, type Target } from './load-wire.js'

const help = `node dist/bench/load.js [options] URI

Loads an NBD server and prints one line of JSON: what was done, in which time, and how much in a second.
URI is nbd://HOST:PORT/NAME or nbd+unix:///NAME?socket=PATH.

  --mode=MODE        what to do, read unless given:
                       read, write, flush   requests
                       connect              connections, each with its handshake, one after the other
                       hold                 make connections and keep them until standard input ends
  --block=SIZE       of each request, 4K unless given
  --step=SIZE        from one offset to the next, as much as a block unless given
  --depth=N          requests in flight on each connection, 1 unless given
  --connections=N    connections, or with connect clients at once, 1 unless given
  --seconds=N        how long, 2 unless given
  --warm-up=N        seconds before that in which nothing is counted, 0.1 unless given
  --count=N          end after so many requests of each connection, without a warm-up
  --sequential       offsets one after the other, not at random
  --structured       ask for structured replies
  --reads=N          with hold: ask for so many blocks on each connection, and take no answer
  --help             print this

It fails, with status 1, at the first answer that is an error or that nobody asked for.`

const strings = ['mode', 'block', 'step', 'depth', 'connections', 'seconds', 'warm-up', 'count', 'reads']
const flags = ['sequential', 'structured', 'help']

/** The longest allowed time, in seconds. */
const secondsMax = 86_400

async function main(): Promise<void> {
  const options = {
    ...Object.fromEntries(strings.map((name) => [name, { type: 'string' as const }])),
    ...Object.fromEntries(flags.map((name) => [name, { type: 'boolean' as const }])),
  }
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  if (values.help) return console.log(help)
  const [uri, ...more] = positionals
  if (uri === undefined || more.length > 0) throw new Error('one URI is expected: see --help')
  const textOf = (name: string, otherwise: string) => String(values[name] ?? otherwise)
  const numberOf = (name: string, otherwise: number, max = 1_000_000) =>
    parseInteger(textOf(name, `${otherwise}`), 1, max)
  const isSet = (name: string) => values[name] === true

  const target = parseTarget(uri)
  const mode = textOf('mode', 'read')
  const blockBytes = parseSize(textOf('block', '4K'))
  const connections = numberOf('connections', 1)
  if (mode === 'hold') {
    const reads = values.reads === undefined ? 0 : numberOf('reads', 0)
    return hold(target, { connections, reads, blockBytes })
  }
  const count = values.count === undefined ? undefined : numberOf('count', 1, Number.MAX_SAFE_INTEGER)
  const times: Times =
    count === undefined
      ? {
          connections,
          warmUpMs: seconds(textOf('warm-up', '0.1')) * 1000,
          lengthMs: seconds(textOf('seconds', '2')) * 1000,
        }
      : { connections, warmUpMs: 0, lengthMs: secondsMax * 1000 }
  if (mode === 'connect') return print(await loadConnections(target, times))
  if (!isRequestMode(mode)) throw new Error(`"${mode}" is no mode: see --help`)
  const settings = {
    mode,
    blockBytes,
    stepBytes: parseSize(textOf('step', `${blockBytes}`)),
    depth: numberOf('depth', 1, 65_536),
    sequential: isSet('sequential'),
    structured: isSet('structured'),
    count: count ?? Number.POSITIVE_INFINITY,
  }
  print(await loadRequests(target, settings, times))
}

function isRequestMode(word: string): word is RequestMode {
  return ['read', 'write', 'flush'].includes(word)
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0 && value <= secondsMax)) throw new Error(`"${text}" is no number of seconds`)
  return value
}

function print(result: LoadResult): void {
  const { user, system } = process.cpuUsage()
  console.log(JSON.stringify({ ...result, clientCpuUsPerRequest: (user + system) / result.requests }))
}

/** Prints a line when all connections are open, then holds them until its input ends. */
async function hold(target: Target, settings: Parameters<typeof holdConnections>[1]): Promise<void> {
  const wires = await holdConnections(target, settings)
  for (const { closed } of wires) closed.catch(fail)
  console.log(JSON.stringify({ connections: wires.length }))
  process.stdin.resume().once('end', () => process.exit(0))
}

function fail(error: Error): void {
  console.error(`load: ${error.message}`)
  process.exit(1)
}

main().catch(fail)
