/**
 * Command lines with what nbdkit has since 1.33, and we have too: compared where the installed one has it.
 */
import { type Line, lines } from './command-lines.js'

export const newerCommandLines: readonly Line[] = [
  ...lines(
    `
    -U - ones 1M --run 'nbdinfo --size "$uri"'
    -U - ones 1M byte=0x55 --run 'nbdinfo --size "$uri"'
    -U - ones 1M byte=256 --run 'echo ok'
    null --run 'echo "$uri"'
  `,
    { since: '1.36' },
  ),
  ...lines(
    `
    -U - --filter=readonly null --run 'echo ok'
    -U - --filter=readonly null readonly-file=nowhere --run 'echo ok'
  `,
    { since: '1.38' },
  ),
  ...lines("-U - --print-uri null --run 'echo ok'\n-U - --print-uri -e 'a b' null --run 'echo ok'", {
    since: '1.42',
  }),
  ...lines(
    `
    -U - --keepalive null --run 'echo ok'
    -U - --timeout=10 null --run 'echo ok'
    -U - --timeout=1.5 null --run 'echo ok'
    -U - --timeout=500ms null --run 'echo ok'
    -U - --timeout=x null --run 'echo ok'
    -U - --timeout=-1 null --run 'echo ok'
    -U - --timeout= null --run 'echo ok'
    -U - --no-mc memory 1M --run 'nbdinfo "$uri" | grep -c base:'
    -U - --filter=time-limit null time-limit=10 --run 'echo ok'
    -U - --filter=time-limit null time-limit=0 --run 'echo ok'
    -U - --filter=time-limit null time-limit=x --run 'echo ok'
  `,
    { since: '1.42' },
  ),
]
