/** Rows of plugins in other languages: the same file of the plugin for both, unless its name says more. */
import { join } from 'node:path'
import { nbdkitPlugin, packageRoot } from '../tests/programs.js'
import { load } from './disks.js'
import { type Disk, perSecond, type Row } from './row.js'

const example = (name: string) => join(packageRoot, 'examples', 'languages', name)
const script = ['sh', example('disk.sh')]

/** In nbdkit it is built in, and here in a process of its own. */
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
