/**
 * Measures one row. All its servers run at the same time and are driven in turn, so that a disturbance
 * affects all.
 */

import { findProgram } from '../tests/programs.js'
import { drive, load, startUp } from './clients.js'
import { forget, type Images, recall } from './images.js'
import { cpuUs, memoryOf } from './proc.js'
import { missing, neededBy, programOf } from './programs.js'
import { type Figures, figuresOf, type Gathered, type RowResult } from './result.js'
import { type Contender, contendersOf, type Row } from './row.js'
import { type Server, serve } from './servers.js'

export interface MeasureOptions {
  readonly pairs: number
  /** How long the load client runs, in seconds. */
  readonly seconds: number
  readonly images: Images
}

/** Never rejects: a row that cannot be measured says why. */
export async function measure(row: Row, options: MeasureOptions): Promise<RowResult> {
  const { name, measures } = row
  const lacking = neededBy(row).filter((program) => findProgram(program) === undefined)
  if (lacking.length > 0) return { name, ...measures, figures: {}, skipped: lacking.map(missing).join(', ') }
  const everyone = new Map(contendersOf(row).map((contender) => [contender, gather(contender)] as const))
  const servers = new Map<Contender, Server>()
  try {
    const { images } = options
    const image = row.disk.image ? await images.pathOf(row.disk.image) : ''
    if (image !== '' && !row.disk.uncached && row.disk.image?.holeBytes === undefined) await recall(image)
    const source = row.client.program === 'nbdcopy' && row.client.source
    const paths = { image, source: source ? await images.pathOf(source) : '' }
    for (let pair = 0; pair < (row.pairs ?? options.pairs); pair++)
      for (const [contender, gathered] of everyone)
        if (gathered.end === undefined)
          await sample({ row, contender, paths, seconds: options.seconds }, gathered, servers).catch(
            (error: Error) => {
              gathered.end = { failed: error.message }
            },
          )
    for (const [contender, { pid }] of servers) remember(everyone.get(contender), pid)
  } catch (error) {
    return { name, ...measures, figures: {}, failed: (error as Error).message }
  } finally {
    await Promise.all([...servers.values()].map((server) => server.stop()))
    if (row.disk.image?.holeBytes !== undefined) options.images.remove(row.disk.image)
  }
  return judge(row, everyone)
}

function gather(contender: Contender): Gathered {
  const program = programOf(contender)
  const end = program && findProgram(program) === undefined ? { skipped: missing(program) } : undefined
  return { samples: [], cpuUs: 0, memory: undefined, end }
}

interface Run {
  readonly row: Row
  readonly contender: Contender
  readonly paths: { readonly image: string; readonly source: string }
  readonly seconds: number
}

/** Runs the client once. A contender's server is kept in `servers` for the next run. */
async function sample(run: Run, gathered: Gathered, servers: Map<Contender, Server>): Promise<void> {
  const { row, contender, paths, seconds } = run
  const { disk, client } = row
  if (client.program === 'start') {
    gathered.samples.push(await startUp(contender, disk))
    return
  }
  const isNew = !servers.has(contender)
  const server = servers.get(contender) ?? (await serve(contender, disk, paths.image))
  servers.set(contender, server)
  if (isNew && disk.prepare) await load(disk.prepare, server)
  if (disk.uncached) await forget(paths.image)
  const before = cpuUs(server.pid)
  gathered.samples.push(await drive(row, server, paths.source, seconds))
  gathered.cpuUs += cpuUs(server.pid) - before
  if (client.program !== 'hold') return
  // Memory is seldom given back, so the next run starts a new server.
  remember(gathered, server.pid)
  servers.delete(contender)
  await server.stop()
}

function remember(gathered: Gathered | undefined, pid: number): void {
  if (gathered && gathered.end === undefined) gathered.memory = memoryOf(pid)
}

function judge(row: Row, everyone: ReadonlyMap<Contender, Gathered>): RowResult {
  const { name, measures, limit } = row
  const ours = everyone.get('ours')
  const failed = (['ours', 'nbdkit'] as const).flatMap((contender) => {
    const end = everyone.get(contender)?.end
    return end === undefined ? [] : [`${contender}: ${Object.values(end).join()}`]
  })
  if (ours === undefined || failed.length > 0)
    return { name, ...measures, figures: {}, failed: failed.join('; ') }
  const figures: Partial<Record<Contender, Figures>> = {}
  for (const [contender, gathered] of everyone) figures[contender] = figuresOf(gathered, ours, row)
  const most = Math.max(...ours.samples.map(({ figure }) => figure))
  const result = { name, ...measures, figures }
  if (limit === undefined || most <= limit) return result
  return { ...result, failed: `${most.toFixed(0)} ${measures.unit} is more than the limit, ${limit}` }
}
