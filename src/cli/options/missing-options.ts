/** Options of nbdkit(1) that are not implemented. They are recognised so that the user gets the reason. */
import type { OptionShape } from './getopt.js'

interface MissingOption extends OptionShape {
  /** Ends the sentence "--tls is an option of nbdkit that nbdkit-ts does not have yet: …". */
  readonly why: string
}

const tls = 'clients are not encrypted'
const identity = 'start it as the user and group that it is to have'

export const missingOptions: readonly MissingOption[] = [
  { names: ['group'], short: 'g', placeholder: 'GROUP', why: identity },
  { names: ['selinux-label'], placeholder: 'LABEL', why: 'the socket has the label of the process' },
  { names: ['swap'], why: 'its memory cannot be locked, so a swap device on the same machine may hang it' },
  { names: ['tls'], placeholder: 'MODE', why: tls },
  { names: ['tls-certificates'], placeholder: 'PATH', why: tls },
  { names: ['tls-priority'], placeholder: 'PRIORITY', why: tls },
  { names: ['tls-psk'], placeholder: 'PATH', why: tls },
  { names: ['tls-verify-peer'], why: tls },
  { names: ['user'], short: 'u', placeholder: 'USER', why: identity },
  { names: ['vsock'], why: 'Node has no sockets of this kind' },
]
