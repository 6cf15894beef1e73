/**
 * A process with a crowd of bad clients of one kind: `hostile-crowd.js SOCKET KIND COUNT`. It prints a line
 * when all are connected, and must then be killed.
 */
import { constants, setPriority } from 'node:os'
import { kinds } from './hostile-kinds.js'

const [path = '', name, count] = process.argv.slice(2)
const kind = kinds.find((each) => each.name === name)
if (kind === undefined) throw new Error(`there is no kind "${name}"`)

// The crowd's own work must not take CPU time from the good client, which is measured.
setPriority(constants.priority.PRIORITY_LOW)
await Promise.all(Array.from({ length: Number(count) }, (_, number) => kind.begin(path, number)))
console.log('all are there')
// Some clients only wait. Their sockets alone would keep this process alive only as long as the server keeps
// them.
setInterval(() => {}, 60_000)
