/**
 * Deletions that were refused only because the node that was asked is behind.
 *
 * A deletion travels with the id of the topic that its node knows under the name, so that a second attempt spares what was
 * created under the name in between. A node that is behind knows an earlier topic, and of that the controller says rightly that
 * there is none. But it was the node's idea to ask for that one; who asked it named a name. When the refusal has come, the
 * node's metadata is where the controller's was, and knows better what the name means: it asks again.
 */
import type { CommandError, DeleteTopicRequest, TopicResult } from './commands.ts'

const BEHIND: CommandError = {
  code: 'TIMED_OUT',
  message: 'this node did not learn in time which topic has the name now; nothing was done',
}

/**
 * Which of `asked`, by place, are to be asked again, by what the names mean now. Where the node is behind even now, `results`
 * is made to say so.
 */
export function refusedForLateness(
  asked: readonly DeleteTopicRequest[],
  sent: readonly DeleteTopicRequest[],
  results: TopicResult[],
  idOf: (name: string) => string | null,
): number[] {
  const again: number[] = []
  asked.forEach(({ name, id }, i) => {
    const guessed = id === null ? sent[i]!.id : null
    if (guessed === null || results[i]!.error?.code !== 'UNKNOWN_TOPIC') return
    const present = idOf(name)
    if (present === guessed) results[i] = { name, error: BEHIND }
    else if (present !== null) again.push(i)
  })
  return again
}
