/** A process that kills what we have started when we are gone, however we end: also by SIGKILL. */
import { spawn } from 'node:child_process'
import { Socket } from 'node:net'

/**
 * It is told which process groups there are, in lines, and finds the end of its input when we are gone. The
 * signals of a terminal do not concern it, and it is no child of ours: nobody waits for its end.
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
    const child = spawn('/bin/sh', ['-c', script], {
      // It may stay for a moment when we are gone, and keeps nothing of ours open.
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    // Without it, an end by SIGKILL leaves processes behind: that is no reason to start none.
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
