/** Whatever ends `rankd connect` cancels what is open: nobody waits for it any more. */
import { Effect } from "effect"
import type { Connection } from "../../client/Connection.ts"
import { stoppedBy } from "../signals.ts"
import type { OpenCommands } from "./outcomes.ts"

/** How long the server has to end what was cancelled. */
const CANCEL_TIMEOUT = "1 second"

export const cancelling = (ids: ReadonlyArray<string>): string => `cancelling ${ids.map((id) => `#${id}`).join(", ")}`

/** Cancels what is open, and waits until it has ended. `notify` tells the user. */
export const cancelAll = Effect.fnUntraced(function* (
  link: Connection,
  open: OpenCommands,
  notify: (message: string) => Effect.Effect<void>
) {
  const { ids } = open
  if (ids.length === 0) return
  const signal = stoppedBy()
  yield* notify(signal === undefined ? cancelling(ids) : `${signal}: ${cancelling(ids)}`)
  for (const id of ids) link.tell({ _tag: "Cancel", id })
  yield* Effect.timeoutOption(Effect.interruptible(open.ended), CANCEL_TIMEOUT)
})
