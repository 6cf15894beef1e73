/** Command lines that nbdkit and nbdkit-ts are both given, and where they are expected to part. */

/** Why the two part, in the words of docs/nbdkit-ts.md. */
export const reasons = {
  texts: 'The texts of `--help`, `--dump-config` and `--dump-plugin` are its own.',
  options: '`--long-options` and `--short-options` list its own options.',
  usage:
    'Where an option is wrong nbdkit prints its usage on standard output, and nbdkit-ts prints nothing there.',
  afterwards: 'end nbdkit before it sees what follows them; here a wrong option after them is an error.',
  twice: 'A parameter that is given twice is refused.',
  missing: 'Options that are not here are refused, and it says so:',
  port: 'With `-p 0` the port that was taken is told in `$port` and `$uri`; there they say 0.',
  required: '`pattern` and `random` ask for a size, as their manual pages say; there it is 0 without.',
  addresses: 'Several `-i` are several addresses; there the last one holds.',
} as const

export interface Line {
  /** As a shell would take it: blanks between words, single quotes around those that have some. */
  readonly text: string
  /**
   * The two part for this, and nbdkit-ts ends with this status. From nbdkit's version `until` on they agree.
   */
  readonly differs?: {
    readonly reason: keyof typeof reasons
    readonly status: number
    readonly until?: string
  }
  /** Older versions of nbdkit do not know it. */
  readonly since?: string
  /** It goes into the background, and has written `pid`. */
  readonly serves?: true
}

/** One on each line. In their directory are a file `disk` of 64 KiB, one `text`, and a dead socket `dead`. */
export function lines(all: string, more: Omit<Line, 'text'> = {}): Line[] {
  const texts = all.split('\n').map((line) => line.trim())
  return texts.filter((text) => text !== '').map((text) => ({ text, ...more }))
}

function differing(reason: keyof typeof reasons, status: number, all: string): Line[] {
  return lines(all, { differs: { reason, status } })
}

/** What is printed in place of serving. */
const texts = [
  ...lines(`
    --version
    -V
    --vers
    null --version
    --version null
    null size=1 -V
    -fV
    -rV null
    --filter=offset null --version
    --filter offset --filter=delay memory -V
    null --dump-plugin --version
    --exit-with-parent --version
    nowhere --version
    --filter=nowhere null --version
    --dump-plugin
    nowhere --dump-plugin
    nowhere --help
    null -V -U s -p 1
  `),
  ...differing(
    'texts',
    0,
    `
    null --dump-plugin
    --dump-plugin null
    memory --dump-plugin
    file --dump-plugin
    --filter=nozero null --dump-plugin
    --help
    null --help
    --help null
    --filter=offset null --help
    --version --help
    --help --version null
    --dump-config
    --dump-config null
  `,
  ),
  ...differing('options', 0, '--short-options\n--long-options'),
  ...differing('afterwards', 1, '--dump-config --nowhere\n--short-options -x'),
]

/** Options and words in any order, in all the ways they can be written. */
const spellings = lines(`
  -U - null --run 'echo ok'
  null -U - --run 'echo ok'
  null --run 'echo ok' -U -
  -U- null --run 'echo ok'
  --unix=- null --run 'echo ok'
  --unix - null --run 'echo ok'
  --uni=- null --run 'echo ok'
  -fU - null --run 'echo ok'
  -frU- null --run 'echo ok'
  -U - --run 'echo ok' -- null
  -U - --run 'echo ok' -- null 1M
  -U - --foreg null --run 'echo ok'
  -U - --no-fork null --run 'echo ok'
  -U - --foreground null --run 'echo ok'
  -r -U - null --run 'echo ok'
  --readonly -U - null --run 'echo ok'
  --read-only -U - null --run 'echo ok'
  --newstyle -U - null --run 'echo ok'
  --new-style -U - null --run 'echo ok'
  -n -U - null --run 'echo ok'
  -o -U - null --run 'echo ok'
  --oldstyle -U - null --run 'echo ok'
  --old-style -n -U - null --run 'echo ok'
  --no-sr -U - null --run 'echo ok'
  --mask-handshake=0 -U - null --run 'echo ok'
  --mask-handshake 0x3 -U - null --run 'echo ok'
  -t 1 -U - null --run 'echo ok'
  --threads=32 -U - null --run 'echo ok'
  -t 0 -U - null --run 'echo ok'
  -t 0x10 -U - null --run 'echo ok'
  -D nbdkit.backend.datapath=0 -U - null --run 'echo ok'
  -D nowhere.flag=1 -U - null --run 'echo ok'
  -D null.flag=1 -U - null --run 'echo ok'
  --debug=null.flag=1 -U - null --run 'echo ok'
  --log=stderr -U - null --run 'echo ok'
  --log=null -U - null --run 'echo ok'
  --log=syslog -U - null --run 'echo ok'
  -4 -U - null --run 'echo ok'
  -6 -U - null --run 'echo ok'
  -i 127.0.0.1 -U - null --run 'echo ok'
  -r -r -U - null --run 'echo ok'
  -f -f -U - null --run 'echo ok'
  --exit-with-parent -U - null --run 'echo ok'
`)

const wrongOptions = [
  ...differing(
    'usage',
    1,
    `
    -x
    --nowhere
    null -x
    null --nowhere
    --no null
    --ex
    --tls-
    -p
    null -p
    null --port
    null -U
    null --run
    null -e
    --filter
    --verbose=1 null
    --foreground=yes null
    -f=1 null
  `,
  ),
  ...lines(`
    -t many null
    -t -1 null
    -t 1x null
    -t '' null
    --mask-handshake=x null
    --mask-handshake= null
    -U '' null
    -p nowhere null
    -p -1 null
    -p 0x10 null
    -p nbd -i 192.0.2.1 null
    -i nowhere.invalid null
    -i 192.0.2.1 -p 0 null
    -i 300.1.1.1 null
    -4 -i ::1 null
    -U s -p 1 null
    -s -p 1 null
    -s -U s null
    -s --run true null
    --log=here null
    --log= null
    -D null
    -D null null
    -D null=1 null
    -D null.=1 null
    -D .flag=1 null
    -D null.flag=x null
    -D null.flag null
    -U no/s null
    -U disk null
    -U dead null
    -U ${'s'.repeat(108)} null
    --tls=maybe null
    --tls=require --tls-certificates=. -U - null --run true
    --selinux-label=x -U - null --run true
    --vsock -U s null
    -f -u nowhere -U - null
    -f -g nowhere -U - null
    -f -P no/p -U - null
    -f -P . -U - null
    -p 65537 -i 192.0.2.1 null
    -p '' -i 192.0.2.1 null
  `),
  ...differing('missing', 1, '-u root -U - null --run true\n-g root -U - null --run true'),
  ...differing('missing', 1, '--swap -U - null --run true\n--tls=off -U - null --run true'),
  ...lines('-s --dump-plugin null\n-s null --dump-plugin --version'),
]

const layers = lines(`
  nowhere
  memroy 1M
  ''
  -
  ./nowhere
  ./disk
  /nowhere.so
  offset
  --filter=nowhere null
  --filter=ofset null
  --filter=null null
  --filter= null
  --filter=./nowhere null
  --filter=nofilter -U - null --run 'echo ok'
  --filter=nofilter --filter=nofilter -U - null --run 'echo ok'
  --filter=offset --filter=delay -U - memory 1M offset=4k rdelay=1ms --run 'echo ok'
  -U - null --filter=offset range=0 --run 'echo ok'
  --filter=noparallel -U - null serialize=requests --run 'echo ok'
  --filter=noparallel -U - null serialize=nothing --run 'echo ok'
`)

const parameters = [
  ...lines(`
    -U - null 1M --run 'nbdinfo --size "$uri"'
    -U - null size=1M --run 'nbdinfo --size "$uri"'
    -U - memory 1024 --run 'nbdinfo --size "$uri"'
    -U - memory size=1k --run 'nbdinfo --size "$uri"'
    -U - memory 0 --run 'nbdinfo --size "$uri"'
    -U - memory 3s --run 'nbdinfo --size "$uri"'
    -U - memory 1P --run 'nbdinfo --size "$uri"'
    -U - memory +5 --run 'nbdinfo --size "$uri"'
    -U - pattern 8K --run 'nbdinfo --size "$uri"'
    -U - zero --run 'nbdinfo --size "$uri"'
    -U - full 1M --run 'nbdinfo --size "$uri"'
    -U - example1 --run 'nbdinfo --size "$uri"'
    -U - file disk --run 'nbdinfo --size "$uri"'
    -U - file file=disk --run 'nbdinfo --size "$uri"'
    -U - file ./disk --run 'nbdinfo --size "$uri"'
    -U - info --run 'nbdinfo --size "$uri"'
    -U - -e abc info --run 'nbdinfo --size "$uri"'
    -U - info mode=base64exportname -e aGVsbG8= --run 'nbdinfo --size "$uri"'
    -U - random 1M seed=1 --run 'nbdinfo --size "$uri"'
    -U - --filter=offset memory 1M offset=1k --run 'nbdinfo --size "$uri"'
    -U - --filter=offset memory 1M offset=1k range=2k --run 'nbdinfo --size "$uri"'
    -U - memory 1M --filter=offset range=2k --run 'nbdinfo --size "$uri"'
    -U - --log=null file dir=. --run 'nbdinfo --list --no-content "$uri" | grep -c ^export='
    -f memory
    memory
    file
    -f memory 0x10
    file nowhere -U - --run true
    -f file file=
    -f null sise=1
    null size=x
    -f null size=
    -f null ''
    -f null size=-1
    -f null 1 memory
    -f null --filter=offset sise=1
    -f memory 1M allocator=nowhere
    -f memory 1M allocator
    -f memory size=9E
    -f memory 99999999999999999999
    -f zero 1M
    -f zero size=1M
    -f example1 1M
    -f example1 size=1M
    -f random 1M seed=x
    -f full
    -f info mode=nowhere
    -f file disk fadvise=nowhere
    -f file disk dir=.
    -f null =1
    -f null 1=1
    -f null _a=1
    -f null a.b=1
    -f null a-b=1
    -f --filter=offset null offset=x
    -f --filter=delay null rdelay=x
    -f --filter=delay null rdelay=-1
    -f --filter=error null error-rate=2
    -f --filter=error null error-rate=x
    -f --filter=error null error=ENOWHERE
    -f --filter=nozero null zeromode=x
    -f --filter=fua null fuamode=x
    -f --filter=nocache null cachemode=x
    -U - --filter=exitwhen null --run 'echo ok'
    -f --filter=exitlast null size=x
  `),
  ...differing(
    'twice',
    1,
    `
    -U - null size=1 size=2 --run 'nbdinfo --size "$uri"'
    -U - memory 1k size=2k --run 'nbdinfo --size "$uri"'
    -U - null 1 2 --run 'nbdinfo --size "$uri"'
  `,
  ),
  ...lines(`-U - file disk text --run 'nbdinfo --size "$uri"'`, {
    differs: { reason: 'twice', status: 1, until: '1.42' },
  }),
  ...differing('required', 1, "-U - random --run 'echo ok'\n-U - pattern --run 'echo ok'"),
]

/** The command of `--run`, and what it is given. */
const captive = lines(`
  -U - null --run 'exit 0'
  -U - null --run 'exit 7'
  -U - null --run 'exit 255'
  -U - null --run false
  -U - null --run ''
  -U - null --run nowhere-at-all
  -U - null --run ./disk
  -U - null --run if
  -U - null --run 'kill -9 $$'
  -U - null --run 'kill -15 $$'
  -U - null --run 'kill -1 $$'
  -U - null --run 'echo a; echo b >&2'
  -U - null --run 'echo "$uri"'
  -U - null --run 'echo "$nbd"'
  -U - null --run 'echo "$port"'
  -U - null --run 'echo "$tls"'
  -U - null --run 'echo "$0"'
  -U - null --run pwd
  -U - null --run 'env | grep -c ^uri='
  -U - null --run 'test -S "$unixsocket" && echo ok'
  -U s null --run 'echo "$unixsocket"'
  -U s null --run 'echo "$uri"'
  -U - -e abc null --run 'echo "$exportname"'
  -U - -e abc null --run 'echo "$uri"'
  -U - -e 'a b?' null --run 'echo "$exportname"'
  -U - -e 'a b?&#%' null --run 'echo "$uri"'
  -U - -e '' null --run 'echo "$exportname"'
  -U - --export=x null --run 'echo "$exportname"'
  -U - --export-name=x null --run 'echo "$exportname"'
  -U - --exportname x null --run 'echo "$exportname"'
  -o -e x -U - null --run 'echo "$uri"'
  -U - -P pid null --run 'test "$(cat pid)" -gt 1 && echo ok'
  -U - -r memory 1M --run 'nbdinfo --json "$uri" | grep read_only'
  -U - --no-sr memory 1M --run 'nbdinfo "$uri" | head -1'
  -U - -o memory 1M --run 'nbdinfo "$uri" | head -1'
  -U - --mask-handshake=0 memory 1M --run 'nbdinfo "$uri" | head -1'
`)

/** With 10809 free or not: only a free port is asked for. */
const ports = [
  ...lines(`
    -i 127.0.0.1 -p 0 null --run 'echo "$unixsocket"'
    -4 -p 0 null --run 'echo ok'
    -i localhost -p 0 null --run 'echo ok'
  `),
  ...differing('port', 0, `-i 127.0.0.1 -p 0 null --run 'echo "$port"'\n-p 0 null --run 'echo "$uri"'`),
  ...differing('addresses', 1, `-i 192.0.2.1 -i 127.0.0.1 -p 0 null --run 'echo ok'`),
]

const background = lines(
  `
  -U s -P pid null
  -U s --pidfile=pid memory 1M
  null -U s --pid-file pid -r
  -U s -P pid --log=null --filter=offset memory 1M range=1k
  -U s -P pid --log=syslog file disk
  -i 127.0.0.1 -p 0 -P pid null
  -4 -i localhost -p 0 -P pid null
`,
  { serves: true },
)

export const commandLines: readonly Line[] = [
  ...texts,
  ...spellings,
  ...wrongOptions,
  ...layers,
  ...parameters,
  ...captive,
  ...ports,
  ...background,
]
