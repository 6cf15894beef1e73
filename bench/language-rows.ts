/**
 * Rows of plugins in other languages. Both servers use the same plugin file, unless the row's name says
 * otherwise.
 */
import { join } from 'node:path'
import { nbdkitPlugin, packageRoot } from '../tests/programs.js'
import { load } from './disks.js'
import { type Disk, perSecond, type Row } from './row.js'

const example = (name: string) => join(packageRoot, 'examples', 'languages', name)
const script = ['sh', example('disk.sh')]

/** nbdkit has this plugin built in. Here it runs in its own process. */
const nativeMemory: Disk = {
  args: [nbdkitPlugin('memory'), '64M'],
  nbdkit: ['memory', '64M'],
}

const disks: readonly { readonly name: string; readonly disk: Disk; readonly blocks: readonly string[] }[] = [
  { name: 'sh', disk: { args: script }, blocks: ['4K'] },
  {
    name: 'sh coprocess',
    disk: { args: ['sh', example('coprocess.pl'), 'coprocess=true'], nbdkit: script },
    blocks: ['4K'],
  },
  { name: 'python', disk: { args: ['python', example('disk.py')] }, blocks: ['4K', '256K'] },
  { name: 'native', disk: nativeMemory, blocks: ['4K', '256K'] },
]

export const languageRows: readonly Row[] = disks.flatMap(({ name, disk, blocks }) =>
  blocks.flatMap((block) =>
    ['read', 'write'].flatMap((mode) =>
      [1, 16].map((depth) => ({
        name: `load ${name} ${mode} ${block} depth ${depth}`,
        disk,
        client: load(mode, block, depth),
        measures: perSecond,
        chart: mode === 'read' && 'load languages',
      })),
    ),
  ),
)
