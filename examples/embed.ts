/**
 * A server within a program, gone when its block ends. Run it: `node dist/examples/embed.js nbdinfo --size`
 * It starts the command with the server's URI as the last word, or without a command waits for Ctrl-C.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'nbdkit-ts'
import memory from 'nbdkit-ts/plugins/memory'

await using server = createServer({ plugin: memory({ size: '64M' }) })
await server.listen({ port: 0, host: '127.0.0.1' })
const uri = server.uri ?? ''
const [command, ...words] = process.argv.slice(2)
if (command === undefined) {
  console.log(uri)
  await once(process, 'SIGINT')
} else {
  await once(spawn(command, [...words, uri], { stdio: 'inherit' }), 'exit')
}
