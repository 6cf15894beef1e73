/** Which row is done, and how long the others will take. */
export function progress(done: number, all: number, elapsedMs: number): string {
  const row = `row ${done} of ${all}`
  return done === all ? row : `${row}, ${duration((elapsedMs / done) * (all - done))} left`
}

/** As a person says it. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`
}
