import { assert, describe, it } from "@effect/vitest"
import { unknownCommand } from "../../src/protocol/Rejection.ts"

const verbs = ["EXEC", "CANCEL", "RESULT", "EXPLAIN", "RANKS", "WHOIS", "WATCH", "UNWATCH", "NAME", "PING", "QUIT"]

describe("an unknown command", () => {
  it.each([
    ["EXCE", "EXEC"],
    ["EXE", "EXEC"],
    ["exec", "EXEC"],
    ["EXECUTE", "EXEC"],
    ["execc", "EXEC"],
    ["RANK", "RANKS"],
    ["rnaks", "RANKS"],
    ["who", "WHOIS"],
    ["WHIOS", "WHOIS"],
    ["RES", "RESULT"],
    ["expalin", "EXPLAIN"],
    ["UNWACTH", "UNWATCH"],
    ["quti", "QUIT"],
    ["PIGN", "PING"]
  ])("suggests for %s the verb %s", (typed, verb) => {
    assert.deepStrictEqual(unknownCommand(typed, verbs), {
      reason: "unknown command",
      detail: `try HELP; did you mean ${verb}?`
    })
  })

  it.each(["", "x", "ls", "FROB", "reboot", "GET", "exit", "uptime", "__proto__", "q".repeat(60_000)])(
    "suggests no verb for %j",
    (typed) => {
      assert.deepStrictEqual(unknownCommand(typed, verbs), { reason: "unknown command", detail: "try HELP" })
    }
  )
})
