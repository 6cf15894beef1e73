import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Time for a client to say goodbye after its last reply, before it is dropped. */
const lingerMs = 1000
/** Total time left: a request that takes longer is not answered, and one that stays half sent is dropped. */
const deadlineMs = 3000

/** Limits how long a client may stay connected (nbdkit-time-limit-filter(1)). */
export default defineFilter({
  name: 'time-limit',
  description: 'limits how long a client may stay connected',
  params: {
    limit: param.delay({
      default: 60_000,
      keys: ['time-limit', 'time_limit', 'timelimit'],
      doc: 'How long a client may stay; 0: as long as it likes.',
    }),
  },
  threads: 'isolated',
  setup({ limit }) {
    if (limit === 0) return {}
    return {
      accept(connection) {
        const end = () => connection.disconnect(false, { lingerMs, deadlineMs, inHandshake: true })
        const timer = setTimeout(end, Math.round(limit)).unref()
        void connection.closed.then(() => clearTimeout(timer))
      },
    }
  },
})
