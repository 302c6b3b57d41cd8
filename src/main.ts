#!/usr/bin/env node
import "effect/schema/SchemaJITCompiler/enable"
import { constants } from "node:os"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import * as Rankd from "./cli/rankd.ts"

// The reader of the output may end, as `head` does. The server continues.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

/** Under `npm start` a Ctrl-C comes twice, from the terminal and from npm, faster than a person can repeat it. */
const SAME_SIGNAL_MS = 100

// `runMain` stops in order on the first signal. A second one ends the process at once.
let first: { readonly signal: string; readonly at: number } | undefined
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const now = performance.now()
    const copy = signal === "SIGINT" && first?.signal === signal && now - first.at < SAME_SIGNAL_MS
    if (first !== undefined && !copy) process.exit(128 + constants.signals[signal])
    first ??= { signal, at: now }
  })
}

Rankd.run.pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true, teardown: Rankd.teardown })
)
