import { messageOf } from '../api/errors.js'
import type { DebugTopic, Log } from '../api/log.js'

/**
 * The same log, whose methods never throw. The log belongs to the embedding program, and a layer may give it
 * what is no text: neither may end a request, a connection or the server.
 */
export function safeLog(log: Log): Log {
  const say = (level: 'debug' | 'error', message: string, topic?: DebugTopic) => {
    try {
      log[level](typeof message === 'string' ? message : messageOf(message), topic)
    } catch {
      // There is nowhere else to say so.
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
