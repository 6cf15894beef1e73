/** A disk for the benchmark. Its reads return a view of memory, after a wait of one kind. */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { type DeviceInit, definePlugin, param } from '../src/index.js'

const bytes = new Uint8Array(2 ** 20).fill(1)
const view = (length: number) => bytes.subarray(0, length)

/** An `async` function that waits for nothing, the next turn of the event loop, and a timer. */
const reads: Record<string, DeviceInit['read']> = {
  async: async (_, length) => view(length),
  turn: (_, length) => turn(view(length)),
  '1ms': (_, length) => sleep(1, view(length)),
}

export default definePlugin({
  name: 'waiting',
  description: 'for the benchmark: a disk that answers later',
  params: { for: param.oneOf(['async', 'turn', '1ms'], { required: true, doc: 'How reads wait.' }) },
  threads: 'isolated',
  setup: (values) => ({
    open: () => ({ size: 2 ** 30, can: { multiConn: true }, read: reads[values.for] as DeviceInit['read'] }),
  }),
})
