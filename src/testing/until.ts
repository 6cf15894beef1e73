/** For what has no event of its own: a file that appears, a process that ends. */
import { setTimeout as sleep } from 'node:timers/promises'

/** How often it is looked, in ms. */
const intervalMs = 5

/**
 * Resolves when a condition holds. A test that waits without an end tells nothing of why.
 *
 * @param longestMs how long it may take, in ms: far longer than on a slow machine.
 * @throws Error with the text of the condition where it does not hold by then.
 */
export async function until(condition: () => unknown | Promise<unknown>, longestMs = 60_000): Promise<void> {
  for (let waitedMs = 0; !(await condition()); waitedMs += intervalMs) {
    if (waitedMs >= longestMs) throw new Error(`not within ${longestMs} ms: ${condition}`)
    await sleep(intervalMs)
  }
}
