import { constants } from "node:os"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import * as Rankd from "./cli/rankd.ts"

// The first signal stops in order, which `runMain` sees to; who sends a second does not want to wait.
let signals = 0
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (++signals > 1) process.exit(128 + constants.signals[signal])
  })
}

Rankd.run.pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true, teardown: Rankd.teardown })
)
