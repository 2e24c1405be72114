/**
 * The metadata shard's state machine: the log's changes become views (`metadata.ts`), and whoever must act on a change hears
 * of it in log order, on every node, after a restart as well.
 */
import {
  KeyedMachine,
  type MutationOutcome,
  type ProposedChange,
  type Shard,
  type Standing,
} from '../replication/index.ts'
import type { Metadata, MetadataChange } from './metadata.ts'

export interface MetadataListener {
  /** One committed change was applied. */
  metadataChanged(change: MetadataChange): void
  /** The whole state was replaced by a snapshot of the machine. */
  metadataRestored(): void
  /** A snapshot was taken, first or later: what came and went in between was not told. */
  metadataSkipped(): void
  /** All entries that this turn committed were applied. */
  metadataApplied(): void
  /** This node decides from now on, and everything ever committed is applied here. */
  controllerGained(): void
  controllerLost(): void
  /** Role, term or leader of the metadata shard changed. */
  metadataStanding(standing: Standing): void
}

export class MetadataMachine extends KeyedMachine {
  readonly state: Metadata
  readonly #listener: MetadataListener

  constructor(shard: Shard, wall: () => number, state: Metadata, listener: MetadataListener) {
    super(shard, wall)
    this.state = state
    this.#listener = listener
  }

  /** Leader only: logs the changes as one unit. */
  change(changes: readonly ProposedChange[], done: (outcome: MutationOutcome) => void): void {
    this.mutate(changes, done)
  }

  protected override changed(key: string, value: Buffer | null): void {
    this.#listener.metadataChanged(this.state.set(key, value))
  }

  protected override restored(): void {
    this.state.clear()
    for (const [key, value] of this.committed) this.state.set(key, value)
    this.#listener.metadataRestored()
  }

  override restore(snapshot: Buffer): void {
    super.restore(snapshot)
    this.#listener.metadataSkipped()
  }

  protected override becameLeader(): void {
    this.#listener.controllerGained()
  }

  protected override lostLeadership(): void {
    this.#listener.controllerLost()
  }

  override applied(): void {
    super.applied()
    this.#listener.metadataApplied()
  }

  override roleChanged(standing: Standing): void {
    super.roleChanged(standing)
    this.#listener.metadataStanding(standing)
  }
}
