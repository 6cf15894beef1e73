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
  ...lines(
    `
    -U - --filter=rotational null --run 'echo ok'
    -U - --filter=rotational null rotational=no --run 'echo ok'
    -f --filter=rotational null rotational=x
  `,
    { since: '1.40' },
  ),
  ...lines(
    `
    -U - --filter=blocksize-policy null blocksize-write-disconnect=1M --run 'echo ok'
    -f --filter=blocksize-policy null blocksize-minimum=4k blocksize-write-disconnect=4k
  `,
    { since: '1.34' },
  ),
  ...lines("-U - --filter=blocksize-policy null blocksize-error-policy=strict-error --run 'echo ok'", {
    since: '1.44',
  }),
  ...lines("-U - --filter=openonce null --run 'echo ok'", { since: '1.44' }),
  ...lines(
    `
    -U - --filter=map null 1M map=0-511:512 --run 'nbdinfo --size "$uri"'
    -U - --filter=map null 1M map=0-511:512 map=512-1023:0 map-size=2k --run 'nbdinfo --size "$uri"'
    -f --filter=map null map=0x10-0x20:0
    -f --filter=map null map=512-511:0
    -f --filter=map null map=511
  `,
    { since: '1.46' },
  ),
  ...lines(
    `
    -U - --filter=xor null xor=0x123456 xorlen=3 --run 'echo ok'
    -f --filter=xor null xor=1
    -f --filter=xor null xorlen=1
    -f --filter=xor null xor=1 xorlen=0
    -f --filter=xor null xor=1 xorlen=9
    -f --filter=xor null xor=x xorlen=1
  `,
    { since: '1.48' },
  ),
]
