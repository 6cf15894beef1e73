/** Servers as processes: ours and those of others, each on its own private socket. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageRoot } from '../tests/programs.js'
import { adopt, type Child, launch, makeFolder, removeFolder, run, stop } from './children.js'
import { pathOf } from './programs.js'
import { type Contender, type Disk, IMAGE } from './row.js'

export interface Server {
  readonly pid: number
  readonly uri: string
  stop(): Promise<void>
}

type Address = { readonly path: string } | { readonly host: string; readonly port: number }

const ourProgram = join(packageRoot, 'bin', 'nbdkit-ts')

/** The program of nbdkit or ours, with the first words of its command line. */
export function commandOf(contender: Contender): readonly [path: string, ...words: string[]] {
  return contender === 'nbdkit' ? [pathOf('nbdkit')] : [process.execPath, ourProgram]
}

/** Serves a disk. `image` is the path of the disk's image, where it has one. */
export async function serve(contender: Contender, disk: Disk, image: string): Promise<Server> {
  const folder = makeFolder()
  let stopIt = async () => {}
  const end = async () => {
    await stopIt()
    removeFolder(folder)
  }
  try {
    const address = disk.tcp
      ? { host: '127.0.0.1', port: await freePort() }
      : { path: join(folder, 'socket') }
    const uri = uriOf(contender, address)
    if (contender === 'nbd-server') {
      const pid = await startNbdServer(folder, image, address)
      stopIt = adopt(pid)
      await listening(address, contender, () => undefined)
      return { pid, uri, stop: end }
    }
    const [path, ...words] = commandLine(contender, disk, image, address)
    const child = launch(contender, path, words)
    stopIt = () => stop(child)
    await listening(address, contender, endOf(child, contender))
    return { pid: child.pid, uri, stop: end }
  } catch (error) {
    await end()
    throw error
  }
}

type ProgramWords = readonly [path: string, ...words: string[]]

function commandLine(contender: Contender, disk: Disk, image: string, address: Address): ProgramWords {
  const { ours = [] } = disk
  const args = contender === 'nbdkit' ? (disk.nbdkit ?? disk.args) : disk.args
  if (contender === 'qemu-nbd') {
    const options = ['--persistent', '--format=raw', '--shared=16', '--cache=writeback']
    return [pathOf('qemu-nbd'), ...options, '--socket', 'path' in address ? address.path : '', image]
  }
  const words = contender === 'no filters' ? args.filter((word) => !word.startsWith('--filter=')) : args
  const place =
    'path' in address ? ['--unix', address.path] : ['--ipaddr', address.host, '--port', `${address.port}`]
  const all = words.map((word) => (word === IMAGE ? image : word))
  const more = contender === 'nbdkit' ? [] : ours
  return [...commandOf(contender), ...more, '--foreground', ...place, ...all]
}

/**
 * Starts nbd-server in the background, because in the foreground it serves one client and ends. It always
 * listens on a TCP port as well, so it gets a free one. Returns its process id.
 */
async function startNbdServer(folder: string, image: string, address: Address): Promise<number> {
  const place = ['listenaddr = 127.0.0.1', `port = ${await freePort()}`]
  const socket = `unixsock = ${'path' in address ? address.path : ''}`
  const [config, pidFile] = [join(folder, 'config'), join(folder, 'pid')]
  writeFileSync(config, ['[generic]', ...place, socket, '[disk]', `exportname = ${image}`, ''].join('\n'))
  await run('nbd-server', pathOf('nbd-server'), ['-C', config, '-p', pidFile])
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 10) {
    const text = existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : ''
    if (text.endsWith('\n')) return Number(text)
    await sleep(10)
  }
  throw new Error('nbd-server wrote no process id within 10 s')
}

function uriOf(contender: Contender, address: Address): string {
  const name = contender === 'nbd-server' ? 'disk' : ''
  if ('path' in address) return `nbd+unix:///${name}?socket=${address.path}`
  return `nbd://${address.host}:${address.port}/${name}`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('there is no free port')
  return address.port
}

/** Returns a function that tells how a program ended; undefined while it runs. */
function endOf(child: Child, name: string): () => string | undefined {
  let how: string | undefined
  void child.ended.then((wrong) => {
    how = wrong ?? `${name} ended before it listened`
  })
  return () => how
}

/** Waits until a client can connect. */
async function listening(address: Address, name: string, ended: () => string | undefined): Promise<void> {
  for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 10) {
    const how = ended()
    if (how !== undefined) throw new Error(how)
    if (await answers(address)) return
    await sleep(10)
  }
  throw new Error(`${name} does not listen after 20 s`)
}

function answers(address: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(address)
    // A greeting, so the server is serving.
    socket.once('data', () => done(true)).once('error', () => done(false))
    socket.once('close', () => resolve(false))
    const done = (isThere: boolean) => {
      resolve(isThere)
      socket.destroy()
    }
  })
}
