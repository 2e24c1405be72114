/**
 * What only the leader of the metadata shard does: it gives the cluster its id, writes down who the nodes are, and decides on
 * commands. It decides on committed state alone, one batch at a time:
 *
 *      commands ──► queue ──► plan all of them on one draft ──► one entry ──► committed and applied ──► answers
 *                     ▲                                            │
 *                     └──────────── next batch waits ◄─────────────┘
 *
 * Because a batch is planned only when the one before it is applied, there is never a decision that rests on an uncommitted
 * one, and losing leadership needs no undoing: what was in the entry may or may not come true (`lost`), the rest was never
 * tried (`not-controller`). Batches form by themselves while an entry is on its way.
 *
 * A refusal says something of the state as well ("there is one", "there is none"), and a leader that was replaced without
 * knowing has a state of the past. So no answer leaves before an entry of its batch is committed: where nothing changes the
 * entry says just that, which only the true leader can get a quorum to log.
 */
import type { Clock, Random } from '../platform/index.ts'
import type { MutationOutcome, ProposedChange } from '../replication/index.ts'
import type { Command, CommandReply, TopicResult } from './commands.ts'
import { mintClusterId } from './ids.ts'
import type { Metadata, NodeRecord } from './metadata.ts'
import { MetadataDraft } from './metadata-draft.ts'
import { alterOnce } from './topic-alteration.ts'
import { createOnce, deleteOnce, type PlanContext, planFinish } from './topic-planner.ts'

export interface ControllerCollaborators {
  readonly clock: Clock
  readonly random: Random
  readonly metadata: Metadata
  readonly isUp: (node: number) => boolean
  /** This node, and every node with which a verified session is up, as they describe themselves. */
  readonly present: () => Iterable<NodeRecord>
  readonly expectedNodes: number
  readonly change: (changes: readonly ProposedChange[], done: (outcome: MutationOutcome) => void) => void
  readonly appliedIndex: () => number
}

interface Pending {
  readonly command: Command
  readonly since: number
  readonly done: (reply: CommandReply) => void
}

type Planned = { readonly results: readonly TopicResult[]; readonly first: number }

export class Controller {
  readonly #with: ControllerCollaborators
  #leads = false
  /** A batch is in the log and not yet applied. */
  #busy = false
  #queue: Pending[] = []
  /** Creations that wait for nodes. */
  #patient: Pending[] = []
  #watching = false

  constructor(collaborators: ControllerCollaborators) {
    this.#with = collaborators
  }

  get leads(): boolean {
    return this.#leads
  }

  gained(): void {
    this.#leads = true
    this.#busy = false
    this.#pump()
  }

  lost(): void {
    this.#leads = false
    this.#busy = false
    const pending = [...this.#queue, ...this.#patient]
    this.#queue = []
    this.#patient = []
    for (const { done } of pending) done({ outcome: 'not-controller' })
  }

  /** Someone came or went: there may be something to write down, and those who wait for nodes may go on. */
  presenceChanged(): void {
    if (!this.#leads) return
    this.#queue.unshift(...this.#patient)
    this.#patient = []
    this.#pump()
  }

  execute(command: Command, done: (reply: CommandReply) => void): void {
    if (!this.#leads || this.#with.random.chance('cluster/not-controller')) {
      done({ outcome: 'not-controller' })
      return
    }
    this.#queue.push({ command, since: this.#with.clock.now(), done })
    this.#pump()
  }

  #pump(): void {
    if (!this.#leads || this.#busy) return
    const draft = new MetadataDraft(this.#with.metadata)
    this.#register(draft)
    const batch = this.#queue
    this.#queue = []
    const answers: { readonly pending: Pending; readonly planned: Planned }[] = []
    for (const pending of batch) {
      const { command } = pending
      const { outcomes } = this.#with.metadata
      if ('since' in command && outcomes.forgotSome(command.since)) {
        pending.done({ outcome: 'forgotten', since: outcomes.next })
        continue
      }
      const planned = this.#plan(pending, draft)
      if (planned === 'wait') this.#park(pending)
      else answers.push({ pending, planned })
    }
    const answer = (): void => {
      const index = this.#with.appliedIndex()
      for (const { pending, planned } of answers) pending.done({ outcome: 'done', index, ...planned })
    }
    const changes = draft.changes()
    if (changes.length === 0) {
      if (answers.length === 0) return
      changes.push(draft.confirmation())
    }
    this.#busy = true
    this.#with.change(changes, (outcome) => {
      this.#busy = false
      if (outcome === null) {
        answer()
        this.#pump()
        return
      }
      const reply: CommandReply = { outcome: outcome === 'lost' ? 'lost' : 'not-controller' }
      for (const { pending } of answers) pending.done(reply)
    })
  }

  /** The first draft of the first leader holds the cluster's id and the nodes that are there. */
  #register(draft: MetadataDraft): void {
    if (draft.clusterId === null) draft.mintCluster(mintClusterId(this.#with.random))
    for (const node of this.#with.present()) {
      const known = draft.node(node.id)
      // An id belongs to its directory for ever. Another directory under it is turned away at the door (`membership.ts`); one
      // that came in before the record was here is turned away by the record.
      if (known !== undefined && known.diskIncarnation !== node.diskIncarnation) continue
      if (known === undefined || !sameNode(known, node)) draft.putNode(node)
    }
  }

  #plan({ command, since }: Pending, draft: MetadataDraft): Planned | 'wait' {
    switch (command.type) {
      case 'allocate-producer-ids':
        return { results: [], first: draft.takeProducerIds(command.count) }
      case 'delete-topics':
        return { results: command.topics.map((topic, i) => deleteOnce(topic, command.request, i, draft)), first: 0 }
      case 'alter-topics':
        return { results: command.topics.map((topic, i) => alterOnce(topic, command.request, i, draft)), first: 0 }
      case 'finish-restore':
        return { results: command.topics.map((topic) => planFinish(topic, draft)), first: 0 }
      case 'create-topics': {
        const context: PlanContext = {
          isUp: this.#with.isUp,
          expectedNodes: this.#with.expectedNodes,
          patient: this.#with.clock.now() < since + command.patienceMs,
        }
        // Nobody's share of a request is logged while another's must wait: the answer goes out as one.
        if (context.patient) {
          const trial = draft.clone()
          for (const [i, topic] of command.topics.entries())
            if (createOnce(topic, command.request, i, trial, context) === 'wait') return 'wait'
        }
        const results = command.topics.map(
          (topic, i) => createOnce(topic, command.request, i, draft, context) as TopicResult,
        )
        return { results, first: 0 }
      }
    }
  }

  #park(pending: Pending): void {
    this.#patient.push(pending)
    if (this.#watching) return
    this.#watching = true
    this.#with.clock.after(PATIENCE_TICK_MS, () => {
      this.#watching = false
      this.presenceChanged()
    })
  }
}

/** Those who wait for nodes are looked at again this often, besides whenever a node comes. */
const PATIENCE_TICK_MS = 100

function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  return (
    a.rack === b.rack && sameAddress(a.kafka, b.kafka) && sameAddress(a.http, b.http) && sameAddress(a.peer, b.peer)
  )
}

function sameAddress(a: NodeRecord['http'], b: NodeRecord['http']): boolean {
  return a === null || b === null ? a === b : a.host === b.host && a.port === b.port
}
