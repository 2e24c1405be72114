/** Randomness. Never decides anything that replicas must agree on. */
export interface Random {
  /** Uniform integer in [0, bound). */
  below(bound: number): number
  bytes(length: number): Buffer
  /**
   * A named place where the simulator may make rare things common. Always false in production.
   */
  chance(site: string): boolean
}
