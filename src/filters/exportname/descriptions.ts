import { ConfigError, messageOf } from '../../api/errors.js'
import type { OpenRequest, ServerContext } from '../../api/plugin.js'
import { scriptOutput } from '../../os/script-output.js'

/**
 * Returns the description of an export: `given` is that of the layer below. Empty where there is none. Never
 * throws.
 */
export type Describe = (name: string, given: string, request: OpenRequest) => string | Promise<string>

/** The longest description in NBD, in bytes. */
const bytesMax = 4096

/** @throws ConfigError for a text that is none of the kinds of `exportdesc`. */
export function describeBy(text: string, server: Pick<ServerContext, 'log' | 'stopping'>): Describe {
  if (text === 'keep') return (_name, given) => given
  if (text === 'none') return () => ''
  const [, kind, rest = ''] = /^(fixed|script):(.*)$/s.exec(text) ?? []
  if (kind === 'fixed') return () => rest
  if (kind === 'script') return (name, _given, request) => describeByScript(rest, name, request, server)
  throw new ConfigError(`exportname: exportdesc=${text}: expected keep, none, fixed:TEXT or script:SCRIPT`)
}

async function describeByScript(
  script: string,
  name: string,
  { connection }: OpenRequest,
  { log, stopping }: Pick<ServerContext, 'log' | 'stopping'>,
): Promise<string> {
  try {
    const signals = [connection.signal, stopping]
    const output = await scriptOutput(script, { variables: { name }, bytesMax, signals })
    // As a stream, so that a character which is cut off at the end is left out.
    const [text = ''] = new TextDecoder().decode(output, { stream: true }).split('\0')
    return text.replace(/\n$/, '')
  } catch (error) {
    log.error(`the script of exportdesc cannot be run: ${messageOf(error)}`)
    return ''
  }
}
