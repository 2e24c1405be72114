/** A few at a time, in order; the first failure ends the rest, and is what is thrown once all have stopped. */
export async function forEachOf<T>(
  items: readonly T[],
  width: number,
  work: (item: T, stopped: () => boolean) => Promise<void>,
): Promise<void> {
  let next = 0
  let failure: { readonly error: unknown } | null = null
  const stopped = (): boolean => failure !== null
  const worker = async (): Promise<void> => {
    while (next < items.length && failure === null) {
      const item = items[next++]!
      try {
        await work(item, stopped)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
  if (failure !== null) throw (failure as { readonly error: unknown }).error
}
