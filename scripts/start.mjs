/**
 * `npm start` serves a RAM disk in the foreground and prints commands to try. `npm start -- ARGS` runs the
 * program with these arguments instead.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../bin/nbdkit-ts', import.meta.url))
if (!existsSync(new URL('../dist/package/cli/main.js', import.meta.url))) {
  console.error('nbdkit-ts is not compiled yet: run "npm ci" first, which also does that')
  process.exit(1)
}
const args = process.argv.slice(2)
const isTour = args.length === 0
/** A private socket where Unix sockets exist, else a free port. */
const place = process.platform === 'win32' ? ['-i', 'localhost', '-p', '0'] : ['-U', '-']
const tour = ['--foreground', '--print-uri', ...place, 'memory', '1G']

const child = spawn(process.execPath, [program, ...(isTour ? tour : args)], {
  stdio: ['inherit', isTour ? 'pipe' : 'inherit', 'inherit'],
})
// A terminal sends Ctrl-C to both: the server ends in order, and we end with its status.
for (const signal of ['SIGINT', 'SIGQUIT']) process.on(signal, () => {})
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
// The shell that npm puts in between dies of a signal without passing it on.
const parent = process.ppid
setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 500).unref()
if (child.stdout) createInterface(child.stdout).once('line', (uri) => console.log(hints(uri)))
const [status, signal] = await once(child, 'exit')
process.exitCode = signal === null ? status : 128 + constants.signals[signal]

function hints(uri) {
  return `A RAM disk of 1 GiB, at

    ${uri}

In another terminal, with libnbd (nbdinfo, nbdcopy) or qemu, one after the other:

    nbdinfo '${uri}'
    nbdcopy '${uri}' copy.img
    nbdcopy copy.img '${uri}'
    qemu-img convert -f raw -O qcow2 '${uri}' copy.qcow2
    qemu-img convert -n -f qcow2 -O raw copy.qcow2 '${uri}'

Ctrl-C stops it. "npm start -- --help" tells what else there is.`
}
