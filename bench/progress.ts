/** The number of the finished row, and the estimated time for the others. */
export function progress(done: number, all: number, elapsedMs: number): string {
  const row = `row ${done} of ${all}`
  return done === all ? row : `${row}, ${duration((elapsedMs / done) * (all - done))} left`
}

/** A duration in readable form. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`
}
