/** What the language of the data plugin makes, beside what nbdkit makes of the same words. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { assertSame, needs, output, serve, serveWithNbdkit, temporary } from './helpers.js'

const together = { concurrency: 2 }

/** Each is one command line. `FILE` stands for the name of a file of a few bytes. */
const same: readonly (readonly string[])[] = [
  ['0 1 2 3 @0x1fe 0x55 0xaa'],
  ['0 1 2 3 @^0x200 @-2 le16:0xaa55'],
  ['( 0x55 0xAA )*2048'],
  ['( "Hello" )*2000', 'size=8192'],
  [
    `@0x1be    # MBR first partition entry
       0             # Partition status
       0 2 0         # CHS start
       0x83          # Partition type (Linux)
       0x20 0x20 0   # CHS last sector
       le32:1        # LBA first sector
       le32:0x7ff    # LBA number of sectors
     @0x1fe    # Boot signature
       0x55 0xaa`,
    'size=1M',
  ],
  ['<FILE @^512 <FILE @^512 <FILE @^512'],
  ['</dev/zero[:512]*16 1'],
  ['base64=MTIz', 'size=1M'],
  ['base64=aGVsbG8gbmJka2l0IHVzZXI='],
  ['raw=Hello, world!'],
  ['raw=Hello, world!', 'size=5'],
  ['be32:0x1'],
  ['le16:0x102 be16:0x102 le32:0x1020304 be32:0x1020304 le64:0x102030405060708 be64:0x102030405060708'],
  ['le64:0xffffffffffffffff le64:18446744073709551615 le16:010 be16:65535'],
  [
    `<( i=0
        while :; do
            printf "%04d" $i; i=$((i+1))
        done )[:32768]`,
  ],
  ['( 0x55 0xAA ) -> \\boot-signature ( @0x1fe \\boot-signature ) -> \\sector \\sector \\sector'],
  ['$pattern*16', 'pattern=0x55 0xAA'],
  ['( $a $b )*3 $a', 'a=1 "x"', 'b=$a*2'],
  ['1 -> \\x $v \\x', 'v=2 \\x 3 -> \\x \\x'],
  ['1 2 3 010 0377 0xFf 255'],
  ['1 @10 2 @2 3'],
  ['( 1 @10 2 @2 )*2 7'],
  ['(1 2 3 @1)*2 9'],
  ['1 2 3 @0 0'],
  ['1 2 3 @0 (@2 9)'],
  ['1*40000 @0 (@32768) 7'],
  ['1*70000 @3 0*32768 (0 1)*3'],
  ['1 2 3 @0 (@3)'],
  ['1 @+3 2 @-1 4 @+5'],
  ['1@^8 2 @^4 @^16'],
  ['"hello"[1:3] "hello"[2:] "hello"[:2] "hello"[:] "hello"[3:3]'],
  ['1[0:1]*3 (1 2)*2[1:] (1 2)*3[1:5]*7'],
  ['1*3[1:2] 5'],
  ['1*2*3*4'],
  ['((1 2)*2 (3 4 (5)*3)*2)*5'],
  ['"a\nb\\n\\t\\r\\a\\b\\f\\v\\"\\\\ \\q é" 7'],
  ['""*3 "" () ()*5 1*0 (1 2 3)*0 (@5)*0 8'],
  ['<FILE[:2] <FILE[1:3]*2 <FILE[2:] <FILE[:99] (<FILE)*2 <FILE*3'],
  ['<(echo hi)*2 <(printf abc)[1:] <(echo "(a)") <(yes)[:8] <(exit 3)[:0]'],
  ['1 -> \\a ( \\a ) -> \\b 2 -> \\a \\b \\a'],
  ['1 -> \\a (2 -> \\a \\a (3 -> \\a \\a) \\a) \\a'],
  ['1->\\a-1 2 -> \\_b\\a-1\\_b'],
  ['1 [0:1] -> \\z \\z (4 5)*2 -> \\y \\y[1:3]'],
  ['# only a comment'],
  ['1#x\n2 # y\n#\n3'],
  ['', 'size=3'],
  ['@4096 @100'],
  ['(1*4000 @^4096 2)*300 3'],
  ['(7 @1000)*1000'],
  ['(1*5000 @9000)*100[4000:800000]'],
  ['0*10000000 1 0*1000000'],
  ['1*1000000', 'size=999'],
  ['1 2 3', 'size=1000', 'allocator=malloc'],
  ['((1 2 3)*100 @^512)*300', 'allocator=malloc'],
  ['"abc"*333333'],
]

describe('of us and of nbdkit, a copy of data has the same bytes:', together, () => {
  for (const words of same)
    test(words.join(' '), needs('nbdkit', 'nbdcopy'), async (t) => {
      const directory = temporary(t)
      const file = join(directory, 'file')
      writeFileSync(file, 'some bytes')
      const args = words.map((word) => word.replaceAll('<FILE', `<${file}`))
      const [first = '', ...rest] = args
      const all = ['data', /^(base64|raw)=/.test(first) ? first : `data=${first}`, ...rest]
      const copies: Buffer[] = []
      for (const start of [serve, serveWithNbdkit]) {
        const server = await start(t, ...all)
        const copy = join(directory, start.name)
        await output('nbdcopy', [server.uri, copy])
        copies.push(readFileSync(copy))
        await server.stop()
      }
      const [ours, theirs] = copies
      assert.ok(ours && theirs)
      assertSame(ours, theirs, 'copy')
    })
})

test('data takes a bare word for the data, whatever else is given', needs('nbdinfo'), async (t) => {
  const server = await serve(t, 'data', 'v=1 2', '$v*3', 'unused=(')
  assert.equal((await output('nbdinfo', ['--size', server.uri])).trim(), '6')
})
