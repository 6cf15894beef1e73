import assert from 'node:assert/strict'
import { type Data, type Device, HOLE, ZERO } from '../api/device.js'
import { readBytes } from '../lib/read-bytes.js'
import { type Random, seeded } from './random.js'

/** Copies the data that `read` returned into one buffer. */
export function bytesOf(data: Data): Buffer {
  return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data)
}

/**
 * Checks the promises that every device keeps, whatever its layers.
 *
 * @throws AssertionError that names the broken promise and its place.
 */
export async function deviceContract(
  device: Device,
  options: { seed?: number; steps?: number } = {},
): Promise<void> {
  const { seed = 1, steps = 200 } = options
  const random = seeded(seed)
  const length = Math.min(device.size, 2 ** 20)
  if (length === 0) return
  const model = await readBytes(device, 0, length)
  const windows: Lent[] = []
  for (let step = 0; step < steps; step++) {
    const where = `seed ${seed}, step ${step}`
    if (device.can.write && random.chance(0.6)) await change(device, model, random, windows)
    else await compare(device, model, random, where)
  }
  // Clients die with what they were lent.
  for (const { view } of windows) device.release(view.fill(0xee))
  if (device.can.flush) await device.flush()
  assert.ok(
    (await readBytes(device, 0, length)).equals(model),
    `seed ${seed}: the whole device differs at the end`,
  )
}

/** Memory that was lent for a write, before that write. */
interface Lent {
  readonly offset: number
  readonly view: Uint8Array
}

/** The most windows lent at once. */
const windowsMax = 4

function range(random: Random, size: number, unit: number): [offset: number, length: number] {
  const units = Math.floor(size / unit)
  const first = random.below(units)
  // Mostly short, sometimes to the very end: the last byte is where the mistakes are.
  const most = random.chance(0.2) ? units - first : Math.min(units - first, 64)
  return [first * unit, (1 + random.below(most)) * unit]
}

async function change(device: Device, model: Buffer, random: Random, windows: Lent[]): Promise<void> {
  if (random.chance(0.3)) return changeByWindow(device, model, random, windows)
  const [offset, length] = range(random, model.length, device.blockSize.minimum)
  const fua = device.can.fua !== 'none' && random.chance(0.1)
  if (device.can.trim && random.chance(0.1)) {
    await device.trim(offset, length, { fua })
    // After a trim the content is the device's to choose: learn it.
    ;(await readBytes(device, offset, length)).copy(model, offset)
  } else if (device.can.zero !== 'none' && random.chance(0.4)) {
    await device.zero(offset, length, { fua, mayTrim: random.chance(0.5), fast: false })
    model.fill(0, offset, offset + length)
  } else {
    const data = Buffer.alloc(length, 1 + random.below(255))
    model.set(data, offset)
    await device.write(offset, data, { fua })
  }
}

/** Uses windows as the server does: fills them piece by piece, then writes them or not, and releases them. */
async function changeByWindow(device: Device, model: Buffer, random: Random, windows: Lent[]): Promise<void> {
  if (windows.length < windowsMax && random.chance(0.6)) {
    const [offset, length] = windowRange(random, model.length, device.blockSize.minimum)
    const view = device.window(offset, length)
    if (view) windows.push({ offset, view })
    return
  }
  const [lent] = windows.splice(random.below(windows.length), 1)
  if (lent === undefined) return
  const { offset, view } = lent
  view.fill(1 + random.below(255), 0, random.chance(0.5) ? view.length : random.below(view.length))
  const fate = random.pick(['written', 'abandoned', 'later'] as const)
  if (fate === 'later') {
    windows.push(lent)
    return
  }
  if (fate === 'written') {
    model.set(view, offset)
    await device.write(offset, view, { fua: false })
  }
  device.release(view)
}

/** Returns a range aligned to its own length, for which devices lend memory, or any other range. */
function windowRange(random: Random, size: number, unit: number): [offset: number, length: number] {
  const most = Math.floor(Math.log2(size / unit))
  const length = unit * 2 ** random.below(Math.max(1, most + 1))
  if (length > size || random.chance(0.2)) return range(random, size, unit)
  return [random.below(Math.floor(size / length)) * length, length]
}

async function compare(device: Device, model: Buffer, random: Random, where: string): Promise<void> {
  const [offset, length] = range(random, model.length, device.blockSize.minimum)
  const what = `${where}: ${length} bytes at ${offset}`
  if (random.chance(0.3)) {
    let at = offset
    for (const { length: run, type } of await device.extents(offset, length)) {
      const end = Math.min(at + run, model.length)
      assert.equal(type & ~(HOLE | ZERO), 0, `${what}: an extent has type ${type}`)
      if (type & ZERO)
        assert.ok(
          model.subarray(at, end).every((byte) => byte === 0),
          `${what}: the extent at ${at} says zero, and is not`,
        )
      at = end
      if (at >= offset + length) break
    }
  } else {
    assert.ok(
      (await readBytes(device, offset, length)).equals(model.subarray(offset, offset + length)),
      `${what}: read differs from what was written`,
    )
  }
}
