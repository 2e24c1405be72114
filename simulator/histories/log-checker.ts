/**
 * Is this one log? The rules are those that found the bugs of others: Jepsen's workload for Kafka and its kin, and Redpanda's
 * chaos tests, each a named anomaly with the operations that show it.
 *
 * | anomaly                | what was seen                                                                                  |
 * | ---------------------- | ---------------------------------------------------------------------------------------------- |
 * | `lost-write`           | acknowledged below what was read, and read by nobody                                           |
 * | `unseen`               | acknowledged above what was read, and the readers say that they have read everything           |
 * | `aborted-read`         | a value whose send was refused for certain                                                     |
 * | `phantom-read`         | a value that nobody sent there                                                                 |
 * | `inconsistent-offset`  | two values at one offset                                                                       |
 * | `duplicate`            | one value at two offsets, though its producer does not repeat                                  |
 * | `torn-send`            | the values of one send are not next to each other, in their order                              |
 * | `nonmonotonic-send`    | two sends of an ordered producer stand in the other order                                      |
 * | `stale-offset`         | an offset was acknowledged that is not above all that was known when the send was called       |
 * | `early-read`           | a value was read before it was sent                                                            |
 * | `misplaced-poll`       | a poll answered with records from below the position it asked for                              |
 * | `nonmonotonic-poll`    | a reader is shown an offset again, or a lower one, without having gone back                    |
 * | `skipped-poll`         | a reader is led past an offset at which there is a record                                      |
 * | `precommitted-read`    | a record at or above the high-water mark of the same answer                                    |
 * | `stale-mark`           | a high-water mark below what was known when the poll was called                                |
 * | `mark-backwards`       | one reader's high-water mark goes down                                                         |
 * | `start-backwards`      | one reader's log start goes down                                                               |
 * | `start-beyond-mark`    | the log starts above its high-water mark                                                       |
 * | `read-below-start`     | a record from below where the log was known to start when the poll was called                  |
 * | `start-beyond-promise` | the log starts above everything that anybody allowed to go                                     |
 * | `two-owners`           | a partition belongs to two members of a group in one generation                                |
 * | `generation-backwards` | a process of a member is told a lower generation than before                                   |
 * | `zombie-commit`        | a commit is taken in a generation when a later one had begun before it was sent                |
 * | `commit-beyond-delivered` | a member commits what it was not given                                                      |
 * | `commit-backwards`     | a group's position goes back, and nobody went back                                             |
 * | `wrong-position`       | a group's positions are no register: a stale one, or one that nobody committed                 |
 * | `unverified`           | the checker could not decide; no pass                                                          |
 *
 * Not here: cycles between transactions (there are none yet).
 *
 * All of it is O(n log n) but the last but one, which is a search over one register per group and partition.
 */
import { checkGroups } from './group-rules.ts'
import type { Operation } from './history.ts'
import { type Anomaly, LogFacts } from './log-facts.ts'
import { checkContents, checkOrder } from './log-rules.ts'
import { checkReaders } from './reader-rules.ts'

export interface LogCheckOptions {
  /** Readers have read every partition to its end after the last send: what they have not seen is not there. */
  readonly finished?: boolean
  /** The logs may be cut by age or size: no promise says how far. */
  readonly cutsByThemselves?: boolean
}

export function checkLog(history: readonly Operation[], options: LogCheckOptions = {}): Anomaly[] {
  const facts = new LogFacts(history)
  const anomalies: Anomaly[] = []
  for (const partition of facts.partitions.values()) {
    checkContents(partition, options.finished === true, anomalies)
    checkOrder(partition, anomalies)
    checkReaders(partition, options.cutsByThemselves === true, anomalies)
  }
  checkGroups(facts, anomalies)
  return anomalies
}
