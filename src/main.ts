#!/usr/bin/env node
import "effect/schema/SchemaJITCompiler/enable"
import { constants } from "node:os"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import * as Rankd from "./cli/rankd.ts"

// Whoever reads the output may go, as `head` does; the server stays.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

/** Ctrl-C under `npm start` comes twice, from the terminal and from npm; a person is not as fast. */
const SAME_SIGNAL_MS = 100

// The first signal stops in order, which `runMain` sees to; who sends a second does not want to wait.
let before: { readonly signal: string; readonly at: number } | undefined
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const copy = signal === "SIGINT" && before?.signal === signal && Date.now() - before.at < SAME_SIGNAL_MS
    if (before !== undefined && !copy) process.exit(128 + constants.signals[signal])
    before ??= { signal, at: Date.now() }
  })
}

Rankd.run.pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true, teardown: Rankd.teardown })
)
