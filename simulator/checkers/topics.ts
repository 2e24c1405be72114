/**
 * Topics as their administrators see them. A list of topics comes from whichever node was asked, and nodes hear of changes one
 * after the other, so a list may be old; what it may not be is wrong:
 *
 *   - a name with an id never has another number of partitions (nobody adds any), and an id never another name;
 *   - what is listed was asked for before, under that name and with so many partitions, and was not refused;
 *   - a topic is created once: two creations that both say "done" have a deletion that could stand between them;
 *   - a topic that was created, and that nobody tried to delete, is not "missing" to whoever deletes it.
 *
 * A creation takes effect somewhere between the request and its answer, and others may see it before the answer is back:
 *
 *      admin-0   create x, 2 partitions ├──────────●──────────────┤ done
 *      admin-1                                list ├──┤ x has 2
 *
 * So it counts as asked for from when it is sent. A refusal takes that back, also for what was listed meanwhile.
 */
import { assert } from '../../src/stdx/index.ts'
import type { AdminEvent, Checker, ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Known {
  readonly name: string
  readonly partitions: number
}

export class Topics implements Checker {
  readonly property = 'topics are what was asked for'
  readonly #internal: (name: string) => boolean
  readonly #ids = new Map<string, Known>()
  /** By name, the partitions of every creation that was sent and not refused: several when deletions came in between. */
  readonly #asked = new Map<string, number[]>()
  /** Creations that are done, minus deletions that may have happened since. */
  readonly #standing = new Map<string, number>()

  /** `expected`: topics that are not an administrator's, and how many partitions they have. */
  constructor(
    expected: readonly { readonly name: string; readonly partitions: number }[],
    internal: (name: string) => boolean,
  ) {
    this.#internal = internal
    for (const { name, partitions } of expected) this.#asked.set(name, [partitions])
  }

  client(event: ClientEvent): void {
    if (event.type === 'topic-create-sent') this.#askedFor(event)
    else if (event.type === 'topic-create') this.#created(event)
    else if (event.type === 'topic-delete') this.#deleted(event)
    else if (event.type === 'topics-listed') this.#listed(event)
  }

  #askedFor({ topic, partitions }: AdminEvent & { type: 'topic-create-sent' }): void {
    const asked = this.#asked.get(topic)
    if (asked === undefined) this.#asked.set(topic, [partitions])
    else asked.push(partitions)
  }

  #created({ client, topic, partitions, outcome }: AdminEvent & { type: 'topic-create' }): void {
    if (outcome === 'refused' || outcome === 'exists') return this.#refused(topic, partitions)
    if (outcome !== 'done') return
    const standing = (this.#standing.get(topic) ?? 0) + 1
    if (standing > 1) throw new Violation(this.property, `${client} created ${topic}, which was there already`)
    this.#standing.set(topic, standing)
  }

  #refused(topic: string, partitions: number): void {
    const asked = this.#asked.get(topic) ?? []
    const at = asked.lastIndexOf(partitions)
    assert(at >= 0, () => `${topic} with ${partitions} partitions was refused before it was asked for`)
    asked.splice(at, 1)
    for (const known of this.#ids.values()) if (known.name === topic) this.#mustBeAskedFor('somebody', known)
  }

  #mustBeAskedFor(client: string, { name, partitions }: Known): void {
    const asked = this.#asked.get(name) ?? []
    if (asked.includes(partitions)) return
    const what = `${asked.length === 0 ? 'none' : [...new Set(asked)].join(' or ')} were asked for`
    throw new Violation(this.property, `${client} is shown ${name} with ${partitions} partitions; ${what}`)
  }

  /** A deletion without an answer may happen at any time, so after it nothing is certain about the name. */
  #deleted({ client, topic, outcome }: AdminEvent & { type: 'topic-delete' }): void {
    if (outcome === 'refused') return
    const standing = this.#standing.get(topic) ?? 0
    if (outcome === 'missing' && standing === 1)
      throw new Violation(
        this.property,
        `${client} is told that ${topic} does not exist; it was created, and nobody deleted it`,
      )
    this.#standing.set(topic, outcome === 'unknown' ? Number.NEGATIVE_INFINITY : 0)
  }

  #listed({ client, topics }: AdminEvent & { type: 'topics-listed' }): void {
    for (const { name, id, partitions } of topics) {
      if (this.#internal(name)) continue
      const known = this.#ids.get(id)
      if (known === undefined) this.#ids.set(id, { name, partitions })
      else if (known.name !== name || known.partitions !== partitions) {
        const what = `${client} is shown ${name} with ${partitions} partitions under the id ${id}, which is ${known.name}'s with ${known.partitions}`
        throw new Violation(this.property, what)
      }
      this.#mustBeAskedFor(client, { name, partitions })
    }
  }
}
