import { constants } from "node:os"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import * as Rankd from "./cli/rankd.ts"

/** Ctrl-C under `npm start` comes twice, from the terminal and from npm; a person is not as fast. */
const SAME_SIGNAL_MS = 100

// The first signal stops in order, which `runMain` sees to; who sends a second does not want to wait.
let first: number | undefined
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    first ??= Date.now()
    if (Date.now() - first > SAME_SIGNAL_MS) process.exit(128 + constants.signals[signal])
  })
}

Rankd.run.pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true, teardown: Rankd.teardown })
)
