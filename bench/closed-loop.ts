/**
 * Writers that each have one record on its way: told, they ask again in the same turn, and what a turn brings is one call, as
 * the node makes it (src/replication/host.ts).
 */
export interface Target<R> {
  append(records: readonly R[], done: () => void): void
}

export interface Slice {
  readonly records: number
  readonly seconds: number
  /** Of each call, from handing it over to being told. */
  readonly latenciesMs: number[]
  /** From one call to the next, what the writers do between included. */
  readonly cyclesMs: number[]
}

export interface SliceOptions<R> {
  readonly writers: number
  readonly seconds: number
  /** Between an answer and the next record; 0 for none. */
  readonly pauseMs?: number
  readonly next: () => R
}

/** Resolves when the time is over and everything was answered. */
export function runSlice<R>(
  target: Target<R>,
  { writers, seconds, pauseMs = 0, next }: SliceOptions<R>,
): Promise<Slice> {
  return new Promise((resolve) => {
    const latenciesMs: number[] = []
    const cyclesMs: number[] = []
    const started = performance.now()
    const endsAt = started + seconds * 1000
    let asked = started
    let records = 0
    const ask = (): void => {
      const now = performance.now()
      if (records > 0) cyclesMs.push(now - asked)
      asked = now
      const calls: R[] = []
      for (let i = 0; i < writers; i++) calls.push(next())
      target.append(calls, told)
    }
    const told = (): void => {
      const now = performance.now()
      latenciesMs.push(now - asked)
      records += writers
      if (now >= endsAt) resolve({ records, seconds: (now - started) / 1000, latenciesMs, cyclesMs })
      else if (pauseMs > 0) setTimeout(ask, pauseMs)
      else ask()
    }
    ask()
  })
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/**
 * The mean of the quicker half. On a machine that others use, a call is put aside for milliseconds now and then, by chance in one
 * slice or the other; a mean of everything compares how often that was.
 */
export function undisturbedMean(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  const count = Math.ceil(sorted.length / 2)
  let sum = 0
  for (let i = 0; i < count; i++) sum += sorted[i]!
  return sum / count
}
