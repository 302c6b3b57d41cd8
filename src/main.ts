#!/usr/bin/env node
// Node would open its debugger, to every user of the machine. So the listener comes before everything else is loaded.
process.on("SIGUSR1", () => {})
// The first process of a container never gets a signal that it does not listen to. So these wait, too.
const early: Array<NodeJS.Signals> = []
const remember = (signal: NodeJS.Signals) => early.push(signal)
const remembered = ["SIGINT", "SIGTERM", "SIGHUP"] as const
for (const signal of remembered) process.on(signal, remember)
const { run } = await import("./cli/run.ts")
run(early)
for (const signal of remembered) process.off(signal, remember)
