/** What a run tells while it works: small facts, which the command line adds up and shows. */
export type Progress =
  | { readonly type: 'begun'; readonly partitions: number }
  /** Records have arrived where they go to. */
  | {
      readonly type: 'moved'
      readonly topic: string
      readonly partition: number
      readonly records: number
      readonly bytes: number
    }
  /** Bytes were read for a check. */
  | { readonly type: 'checked'; readonly bytes: number }
  | { readonly type: 'partition-done'; readonly topic: string; readonly partition: number }
  /** Records went from the log while it was backed up, before they were copied: offsets `from` up to `to`, without it. */
  | ({ readonly type: 'cut'; readonly text: string } & CutMeanwhile)
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'warning'; readonly text: string }

export interface CutMeanwhile {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
}
