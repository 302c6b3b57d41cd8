/** The command line as a process of its own. */
import "effect/schema/SchemaJITCompiler/enable"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect } from "effect"
import { console } from "./output/output.ts"
import * as Rankd from "./rankd.ts"
import { asksForJson, say } from "./say.ts"
import { replay, runMain } from "./signals.ts"

/** Node itself would write them to a terminal that may be stopped. It does not listen where the user wants no warnings. */
const takeWarnings = (): void => {
  if (process.listenerCount("warning") === 0) return
  const asJson = asksForJson(process.argv.slice(2))
  process.removeAllListeners("warning").on("warning", ({ message }) => {
    Effect.runSync(Effect.provideService(say(asJson, "Notice", message), Console.Console, console))
  })
}

/** `early` are signals that came before. */
export const run = (early: ReadonlyArray<NodeJS.Signals>): void => {
  takeWarnings()
  // The reader of the output may end, as `head` does. The server continues.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
  Rankd.run.pipe(
    Effect.provideService(Console.Console, console),
    Effect.provide(NodeServices.layer),
    runMain({ disableErrorReporting: true, teardown: Rankd.teardown })
  )
  replay(early)
}
