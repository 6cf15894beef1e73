/**
 * A file system (FUSE) with one file, `disk`, that is as slow as one says:
 *
 *     node slow-disk.js MOUNTPOINT [OPERATION=MS|OPERATION=held ...]
 *
 * prints a line when it is mounted. From the line `hold` on standard input on, an operation that is to be
 * held is not answered, and a line tells of it; `go` answers them all. The end of the input unmounts. It
 * needs root.
 */
import { openSync, read, writeSync } from 'node:fs'
import { createRequire } from 'node:module'

const diskBytes = 64 * 1024 * 1024
/** Operations by name, and the others that are answered, with their numbers (kernel's uapi/linux/fuse.h). */
const names: Readonly<Record<number, string>> = {
  3: 'getattr',
  14: 'open',
  15: 'read',
  16: 'write',
  20: 'fsync',
  27: 'opendir',
  43: 'fallocate',
  46: 'lseek',
}
const [forget, init, lookup, setattr, statfs, batchForget, interrupt] = [2, 26, 1, 4, 17, 42, 36]
const [release, flush, opendir, readdir, releasedir] = [18, 25, 27, 28, 29]
const [ENOENT, ENOSYS] = [2, 38]

const [mountPoint = '', ...delays] = process.argv.slice(2)
const delayOf = new Map(delays.map((text) => text.split('=') as [string, string]))
const disk = Buffer.alloc(diskBytes)
const held: (() => void)[] = []

const library = createRequire(import.meta.url)('koffi').load(null)
const mount = library.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
)
const umount = library.func('int umount2(const char *target, int flags)')
const device = openSync('/dev/fuse', 'r+')
const options = `fd=${device},rootmode=40000,user_id=0,group_id=0,allow_other`
if (mount('slow-disk', mountPoint, 'fuse', 0, options) !== 0) throw new Error(`cannot mount ${mountPoint}`)

function end(): never {
  umount(mountPoint, 2)
  // A thread still waits for the next operation, and an exit would wait for the thread.
  process.kill(process.pid, 'SIGKILL')
  throw new Error('it is still there')
}
let holding = false
process.stdin.on('data', (line: Buffer) => {
  holding = line.toString() === 'hold\n'
  if (!holding) for (const answer of held.splice(0)) answer()
})
process.stdin.on('end', end)
process.on('SIGTERM', end)
process.stdout.write('mounted\n')

function reply(unique: bigint, answer: Buffer | number | undefined): void {
  if (answer === undefined) return
  const [body, error] = typeof answer === 'number' ? [Buffer.alloc(0), answer] : [answer, 0]
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + body.length, 0)
  header.writeInt32LE(-error, 4)
  header.writeBigUInt64LE(unique, 8)
  try {
    writeSync(device, Buffer.concat([header, body]))
  } catch {
    // Whoever asked has gone.
  }
}

/** Of the directory, which is node 1, or of the file, which is node 2. */
function attributes(node: number): Buffer {
  const attr = Buffer.alloc(88)
  attr.writeBigUInt64LE(BigInt(node), 0)
  if (node === 2) attr.writeBigUInt64LE(BigInt(diskBytes), 8)
  attr.writeUInt32LE(node === 1 ? 0o040755 : 0o100644, 60)
  attr.writeUInt32LE(1, 64)
  attr.writeUInt32LE(4096, 80)
  return attr
}

function numbers(...words: number[]): Buffer {
  const bytes = Buffer.alloc(4 * words.length)
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word >>> 0, 4 * index)
  return bytes
}

/** The body of an answer; the number of an error; undefined: nobody waits for one. */
function answerTo(operation: number, node: number, body: Buffer): Buffer | number | undefined {
  const offset = body.length >= 16 ? Number(body.readBigUInt64LE(8)) : 0
  const size = body.length >= 20 ? body.readUInt32LE(16) : 0
  switch (operation) {
    case init:
      // Version 7.31, large writes.
      return Buffer.concat([numbers(7, 31, 131072, 0x21, 0x000c0010, 131072, 1, 256), Buffer.alloc(32)])
    case lookup:
      if (body.toString('latin1') !== 'disk\0') return ENOENT
      return Buffer.concat([numbers(2, 0), Buffer.alloc(32), attributes(2)])
    case 3:
    case setattr:
      return Buffer.concat([Buffer.alloc(16), attributes(node)])
    case 14:
    case opendir:
      return numbers(1, 0, 1, 0)
    case 15:
      return disk.subarray(offset, offset + size)
    case 16:
      disk.set(body.subarray(40, 40 + size), offset)
      return numbers(size, 0)
    case statfs:
      return Buffer.alloc(80)
    case 46:
      // Whence is where a size would be: all is data (3), up to the hole at the end.
      return numbers(size === 3 ? offset : diskBytes, 0)
    case release:
    case flush:
    case readdir:
    case releasedir:
    case 20:
    case 43:
      return Buffer.alloc(0)
    case forget:
    case batchForget:
    case interrupt:
      return undefined
    default:
      return ENOSYS
  }
}

const buffer = Buffer.alloc(1024 * 1024)
function next(): void {
  read(device, buffer, 0, buffer.length, null, (error, count) => {
    if (error && error.code !== 'EINTR') process.exit()
    if (!error) {
      const operation = buffer.readUInt32LE(4)
      const body = Buffer.from(buffer.subarray(40, count))
      const [unique, node] = [buffer.readBigUInt64LE(8), Number(buffer.readBigUInt64LE(16))]
      const answer = () => reply(unique, answerTo(operation, node, body))
      const delay = delayOf.get(names[operation] ?? '')
      if (delay === undefined) answer()
      else if (delay !== 'held') setTimeout(answer, Number(delay))
      else if (holding) {
        held.push(answer)
        process.stdout.write('held\n')
      } else answer()
    }
    next()
  })
}
next()
