#!/usr/bin/env node
// Node would open its debugger, to every user of the machine. So the listener comes before everything else is loaded.
process.on("SIGUSR1", () => {})
const { run } = await import("./cli/run.ts")
run()
