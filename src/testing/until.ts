/** Waits for conditions without an event: a file that appears, a process that ends. */
import { setTimeout as sleep } from 'node:timers/promises'

/** The time between two looks, in ms. */
const intervalMs = 5

/**
 * Resolves when a condition holds. A test that waited without an end would not say for what.
 *
 * @param longestMs the longest wait, in ms: far longer than a slow machine takes.
 * @throws Error with the text of the condition where the condition does not hold by then.
 */
export async function until(condition: () => unknown | Promise<unknown>, longestMs = 60_000): Promise<void> {
  for (let waitedMs = 0; !(await condition()); waitedMs += intervalMs) {
    if (waitedMs >= longestMs) throw new Error(`not within ${longestMs} ms: ${condition}`)
    await sleep(intervalMs)
  }
}
