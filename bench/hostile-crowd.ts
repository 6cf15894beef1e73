/**
 * A crowd of bad clients of one kind, as a process: `hostile-crowd.js SOCKET KIND COUNT`. It prints a line
 * when all are there, and is then to be killed.
 */
import { constants, setPriority } from 'node:os'
import { kinds } from './hostile-kinds.js'

const [path = '', name, count] = process.argv.slice(2)
const kind = kinds.find((each) => each.name === name)
if (kind === undefined) throw new Error(`there is no kind "${name}"`)

// What the crowd does itself must not take the processor from the good client, which is to be measured.
setPriority(constants.priority.PRIORITY_LOW)
await Promise.all(Array.from({ length: Number(count) }, (_, number) => kind.begin(path, number)))
console.log('all are there')
// Some only wait: their sockets alone would keep the process no longer than the server keeps them.
setInterval(() => {}, 60_000)
