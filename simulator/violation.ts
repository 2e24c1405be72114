/** What a run ends with when a promise was broken: which one, and by what. */
export class Violation extends Error {
  override name = 'Violation'
  /** The checker that says so. */
  readonly property: string

  constructor(property: string, message: string) {
    super(message)
    this.property = property
  }
}
