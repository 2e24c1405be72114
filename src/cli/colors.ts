/**
 * Colours where somebody looks: on a terminal. A pipe gets plain text also where `CI` is set, for whatever reads it there expects
 * what it would get anywhere else. `NO_COLOR` and `FORCE_COLOR` say otherwise.
 */
import picocolors from 'picocolors'

const { NO_COLOR, FORCE_COLOR, TERM } = process.env

export const colors = picocolors.createColors(
  !NO_COLOR && (Boolean(FORCE_COLOR) || (process.stdout.isTTY === true && TERM !== 'dumb')),
)
