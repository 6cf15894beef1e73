/** A process that kills the programs we started when we are gone, even after a SIGKILL. */
import { Socket } from 'node:net'

/**
 * The watchdog reads process groups, a line each, and its input ends when we are gone. It ignores the signals
 * of a terminal, and is not our child, so its end is not waited for.
 */
const script = `trap '' HUP INT QUIT TERM
{
  all=' '
  while read -r what group; do
    case $what in
      +) all="$all$group " ;;
      -) case $all in *" $group "*) all="\${all%% $group *} \${all#* $group }" ;; esac ;;
    esac
  done
  for group in $all; do kill -9 "-$group"; done 2>/dev/null
} <&3 3<&- &`

export class Watchdog {
  readonly #input: Socket | undefined

  constructor() {
    // Loaded on demand, as in spawn.ts: a start is 3 ms shorter without this module of Node.
    const child = process.getBuiltinModule('node:child_process').spawn('/bin/sh', ['-c', script], {
      // It may outlive us for a moment, and must keep nothing of ours open.
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    // Without the watchdog, an end by SIGKILL leaves processes behind. That is no reason to start none.
    child.on('error', () => {}).unref()
    const [, , , input] = child.stdio
    if (!(input instanceof Socket)) return
    this.#input = input.on('error', () => {}).unref()
  }

  watch(group: number): void {
    this.#input?.write(`+ ${group}\n`)
  }

  forget(group: number): void {
    this.#input?.write(`- ${group}\n`)
  }
}
