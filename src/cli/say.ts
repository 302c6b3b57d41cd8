/** What a command says about itself, on standard error: a line for people, or JSON with `--json`. */
import { Console, type Effect } from "effect"
import { json, printable } from "./terminal/text.ts"

/** `Failed` is why the command ends. */
type Tag = "Failed" | "Notice"

export const say = (asJson: boolean, tag: Tag, message: string): Effect.Effect<void> =>
  Console.error(asJson ? json({ _tag: tag, message }) : printable(`rankd: ${message}`))

/** Whether the arguments ask for JSON. What follows `--` is for another command. */
export const asksForJson = (args: ReadonlyArray<string>): boolean => {
  const end = args.indexOf("--")
  return (end === -1 ? args : args.slice(0, end)).some((arg) => arg === "--json" || arg === "--json=true")
}
