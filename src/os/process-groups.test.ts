import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

/** A sleep command line that no other process has. */
let last = 0
const newSleep = () => `sleep ${process.pid}${++last}.25`

function isRunning(command: string): boolean {
  const { stdout } = spawnSync('ps', ['-eo', 'stat=,args='], { encoding: 'utf8' })
  return stdout.split('\n').some((line) => !line.startsWith('Z') && line.endsWith(command))
}

async function becomes(running: boolean, command: string): Promise<void> {
  for (let waits = 0; isRunning(command) !== running; waits++) {
    assert.ok(waits < 500, `${command}: it ${running ? 'does not run' : 'still runs'}`)
    await sleep(10)
  }
}

/** A Node process that runs a shell script as ours do. */
function starter(script: string, then = ''): ChildProcess {
  const module = new URL('run-script.js', import.meta.url).href
  const program = `import { runScript } from ${JSON.stringify(module)}
    const timer = setInterval(() => {}, 1000)
    runScript(${JSON.stringify(script)}).then(() => { ${then} })`
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' })
}

const scripts: Readonly<Record<string, (command: string) => string>> = {
  'a script': (command) => `${command}; true`,
  'what a script has started': (command) => `${command} & wait`,
  'what a script left in the background': (command) => `${command} &`,
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const)
  for (const [what, script] of Object.entries(scripts))
    test(`${what} ends with the process that ran it, when that ends by ${signal}`, async () => {
      const command = newSleep()
      const node = starter(script(command))
      await becomes(true, command)
      node.kill(signal)
      await becomes(false, command)
    })

test('what a script left in the background ends with the process that ran it, when that ends by itself', async () => {
  const command = newSleep()
  const node = starter(`${command} &`, 'clearInterval(timer)')
  await once(node, 'exit')
  await becomes(false, command)
})
