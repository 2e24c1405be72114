/** The controller broken. */
import type { PatchMutant } from './patch.ts'

export const CLUSTER_PATCHES: readonly PatchMutant[] = [
  {
    name: 'second-attempts-decide-anew',
    trap: 'T23',
    breaks: 'a second attempt at a change of topics, after a lost answer, is taken for another request',
    edits: [
      {
        file: 'cluster/metadata-draft',
        find: 'return this.#outcomes.get(attemptKey(request, place)) ?? this.#base.outcomes.of(request, place);',
        replace: 'return undefined;',
      },
    ],
  },
]
