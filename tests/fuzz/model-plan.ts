import type { Random } from '../../src/testing/index.js'
import type { Manner, Plan } from './model-layers.js'

/** What each of so many layers does to one request. @param nimble They wait seldom. */
export function randomPlan(random: Random, layers: number, nimble: boolean): Plan {
  const calm = random.chance(0.4)
  const manner = (): Manner => ({
    waits: calm || random.chance(0.4) ? 'not' : nimble ? 'briefly' : random.pick(['briefly', 'long']),
    first: random.chance(0.5),
    early: random.chance(0.03),
    fails: random.chance(0.04) ? random.pick(['ENOSPC', 'crash']) : 'not',
    asks: random.chance(0.015)
      ? random.pick(['soft', 'soft', 'linger', 'force', 'force', 'shutdown'])
      : 'nothing',
  })
  return { manners: Array.from({ length: layers }, manner), keeps: random.chance(0.5) }
}
