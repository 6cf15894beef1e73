import { isPromise, type MaybePromise } from './maybe.js'

/** How long long work may block the event loop before other work runs, in ms. */
const turnMs = 1

/**
 * Calls `step` until it returns false. Short work is done before this returns, and costs no Promise. Long
 * work blocks the event loop for about a millisecond at a time, and other clients are served in between. Each
 * turn of the event loop runs only one piece of long work, so many of them block it for no longer than one.
 *
 * A step should take 0.2 ms or less: 64 KiB of computed data, or 256 KiB of copied data.
 *
 * @example inTurns(() => { update(page); page = page.next; return page !== undefined })
 */
export function inTurns(step: () => MaybePromise<boolean>): MaybePromise<void> {
  const first = step()
  if (first === false) return
  // New work queues behind work that waits for its turn.
  const more = first === true && waiting.length === 0 ? oneTurn(step) : first
  if (more !== false) return goOn(more, step)
}

/**
 * Calls `piece` for each part of a range, in order, with the turns of {@link inTurns}. Each part has
 * `pieceBytes`, except the last, which may be shorter.
 */
export function inPieces(
  offset: number,
  length: number,
  pieceBytes: number,
  piece: (offset: number, length: number) => MaybePromise<void>,
): MaybePromise<void> {
  if (length <= pieceBytes) return piece(offset, length)
  const end = offset + length
  let at = offset
  return inTurns(() => {
    const bytes = Math.min(pieceBytes, end - at)
    const done = piece(at, bytes)
    at += bytes
    return isPromise(done) ? done.then(() => at < end) : at < end
  })
}

/** Returns true when the time is over and there is more to do. */
function oneTurn(step: () => MaybePromise<boolean>): MaybePromise<boolean> {
  const until = performance.now() + turnMs
  while (performance.now() < until) {
    const more = step()
    if (more !== true) return more
  }
  return true
}

/**
 * Waits a turn of the event loop before each further step: a step that returned a Promise may not have
 * yielded.
 */
async function goOn(first: MaybePromise<boolean>, step: () => MaybePromise<boolean>): Promise<void> {
  // Do not await a plain value: work that starts next must see that this work waits.
  for (let more = isPromise(first) ? await first : first; more; more = await oneTurn(step)) await nextTurn()
}

const waiting: (() => void)[] = []

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(letOneIn)
  })
}

function letOneIn(): void {
  waiting.shift()?.()
  if (waiting.length > 0) setImmediate(letOneIn)
}
