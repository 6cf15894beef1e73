import { messageOf } from '../api/errors.js'
import type { DebugTopic, Log } from '../api/log.js'

/**
 * Wraps a log so that its methods never throw. The log belongs to the embedding program, and a layer may pass
 * a value that is no text. Neither may end a request, a connection or the server.
 */
export function safeLog(log: Log): Log {
  const say = (level: 'debug' | 'error', message: string, topic?: DebugTopic) => {
    try {
      log[level](typeof message === 'string' ? message : messageOf(message), topic)
    } catch {
      // There is nowhere else to report it.
    }
  }
  return {
    get debugging() {
      return log.debugging
    },
    debug: (message, topic) => say('debug', message, topic),
    error: (message) => say('error', message),
    child(name) {
      try {
        return safeLog(log.child(name))
      } catch {
        return safeLog(log)
      }
    },
  }
}
