/**
 * Replays a printed session against a real server, line by line. `a> EXEC 1 x` sends
 * a line from terminal a, `a  RANK 0 1 ...` is the next line that a receives; the
 * line `a> nc 127.0.0.1 5000` opens the terminal. Times and ports differ from run to
 * run, everything else is compared word for word.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { client, type WireClient } from "./wire.ts"

/** An epoch is a time in microseconds. */
const comparable = (line: string) =>
  line.replace(/\b1\d{15}\b/g, "<epoch>").replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")

export const replay = Effect.fnUntraced(function* (transcript: string) {
  const terminals = new Map<string, WireClient>()
  for (const step of transcript.trimEnd().split("\n")) {
    const { direction, name = "", text = "" } = /^(?<name>[a-z])(?<direction>>| ) (?<text>.*)$/.exec(step)?.groups ?? {}
    assert.notStrictEqual(name, "", step)
    if (text === "nc 127.0.0.1 5000") {
      terminals.set(name, yield* client)
      continue
    }
    const terminal = terminals.get(name)
    assert.isDefined(terminal, step)
    if (direction === ">") {
      terminal.send(text)
      continue
    }
    const [received = ""] = yield* terminal.until(() => true)
    assert.strictEqual(comparable(received), comparable(text), step)
  }
  for (const [name, { heard }] of terminals) assert.deepStrictEqual(heard, [], name)
})
