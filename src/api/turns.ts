import { isPromise, type MaybePromise } from './maybe.js'

/** So long, in ms, long work may hold the event loop before others are let in. */
const turnMs = 1

/**
 * Calls `step` until it returns false. Short work is done before this returns, and costs no Promise. Long
 * work holds the event loop for about a millisecond at a time, and in between other clients are served. Only
 * one long work goes on in each turn of the event loop: many of them hold up nobody for longer than one.
 *
 * A step should take 0.2 ms or less: 64 KiB that are computed, or 256 KiB that are copied.
 *
 * @example inTurns(() => { update(page); page = page.next; return page !== undefined })
 */
export function inTurns(step: () => MaybePromise<boolean>): MaybePromise<void> {
  const first = step()
  if (first === false) return
  // What comes while others wait for their turn waits behind them.
  const more = first === true && waiting.length === 0 ? oneTurn(step) : first
  if (more !== false) return goOn(more, step)
}

/**
 * Calls `piece` for each part of a range, in order, as {@link inTurns} does: each of `pieceBytes`, but for
 * the last, which may be shorter.
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

/** True: the time is over, and there is more to do. */
function oneTurn(step: () => MaybePromise<boolean>): MaybePromise<boolean> {
  const until = performance.now() + turnMs
  while (performance.now() < until) {
    const more = step()
    if (more !== true) return more
  }
  return true
}

/** A step that gave a Promise has let others in, or has not: a turn of the event loop makes sure of it. */
async function goOn(first: MaybePromise<boolean>, step: () => MaybePromise<boolean>): Promise<void> {
  // A value is not awaited: who comes next must see that somebody waits.
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
