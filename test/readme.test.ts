/** What README shows is what happens. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { defaults as agentDefaults } from "../src/cli/agent.ts"
import { flags } from "../src/cli/serve/flags.ts"
import { MAX_HANDSHAKES } from "../src/net/node/NodeServer.ts"
import { helpTexts } from "../src/protocol/text/TextCodec.ts"
import { defaults } from "../src/server/Settings.ts"
import { client, Port, serverLayer, type WireClient } from "./support/wire.ts"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")

/** The first code block after `marker`. */
const block = (marker: string): string => {
  const after = readme.slice(readme.indexOf(marker))
  assert.notStrictEqual(after.length, 1, marker)
  return /```\w*\n([\s\S]*?)```/.exec(after)![1]!
}

/** The section under `heading`. */
const section = (heading: string): string => readme.slice(readme.indexOf(heading)).split("\n## ")[0]!

/** Epochs are times: they are compared as E. */
const withoutEpoch = (line: string) => line.replace(/^(RANK \d+ \d+) \d+/, "$1 E")

describe("README", () => {
  it.live.each(["readme.test.ts runs this -->", "readme.test.ts runs this, too"])(
    "prints its example, word for word: %s",
    (marker) =>
      Effect.gen(function* () {
        const terminals = new Map<string, WireClient>()
        const steps = block(marker).trimEnd().split("\n")
        assert.isAbove(steps.length, 12)
        for (const step of steps) {
          const [, terminal, typed, text] = /^([abc])(>| ) (.*)$/.exec(step)!
          if (text === "nc 127.0.0.1 5000") {
            terminals.set(terminal!, yield* client)
          } else if (typed === ">") {
            terminals.get(terminal!)!.send(text!)
          } else {
            const heard = yield* terminals.get(terminal!)!.until(() => true)
            assert.strictEqual(withoutEpoch(heard[0]!), withoutEpoch(text!))
          }
        }
        for (const [terminal, { heard }] of terminals) assert.deepStrictEqual(heard, [], terminal)
      }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("has a Python client that works", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const first = yield* client
      yield* first.until((line) => line.startsWith("RANK"))
      const source = block("A client in Python").replaceAll("5000", `${port}`)
      const python = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("python3", ["-u", "-c", source])),
        (child) => Effect.sync(() => child.kill())
      )
      let output = ""
      python.stdout.on("data", (bytes) => {
        output += bytes
      })
      python.stderr.on("data", (bytes) => {
        output += bytes
      })
      const says = (text: string) =>
        Effect.gen(function* () {
          while (!output.endsWith(text)) yield* Effect.sleep("10 millis")
        }).pipe(
          Effect.timeoutOrElse({
            duration: "10 seconds",
            orElse: () => Effect.die(new Error(`said ${output}, not ${text}`))
          })
        )
      yield* says("I am number 1\n")
      first.send("EXEC 1 ls -l", "QUIT")
      yield* says("asked by 0 to ls -l\nI lead\n")
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it("names every verb, every flag and its default", () => {
    for (const text of helpTexts) {
      const verb = /^[A-Z]+/.exec(text)![0]
      // PONG is what a client may say, but has no reason to yet.
      if (verb !== "PONG") assert.include(section("## What a client may say"), `\`${verb}`, verb)
    }
    const table = section("## Running it")
    for (const flag of Object.keys(flags)) {
      const name = flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      assert.include(table, `\`--${name}\` | \`RANKD_${name.replaceAll("-", "_").toUpperCase()}\``)
    }
    for (const [flag, value] of [
      ["max-clients", defaults.maxClients],
      ["max-line", defaults.maxLine],
      ["max-pending", defaults.maxPending],
      ["max-total-pending", defaults.maxTotalPending],
      ["stall-timeout", Duration.toSeconds(defaults.stallTimeout)],
      ["max-connections", defaults.maxConnections],
      ["rate", defaults.rate],
      ["auth-timeout", Duration.toSeconds(defaults.authTimeout)],
      ["max-unauthenticated", defaults.maxUnauthenticated],
      ["admission", defaults.admission],
      ["command-timeout", Duration.toSeconds(defaults.commandTimeout)],
      ["max-command-timeout", Duration.toSeconds(defaults.maxCommandTimeout)],
      ["max-open-commands", defaults.maxOpenCommands],
      ["max-open-targets", defaults.maxOpenTargets],
      ["grace", Duration.toSeconds(defaults.grace)],
      ["drain", Duration.toSeconds(defaults.drain)],
      ["max-handshakes", MAX_HANDSHAKES]
    ] as const) {
      assert.match(table, new RegExp(`--${flag}\`.* \\| ${value} \\|`))
    }
    const commands = section("## The commands")
    for (const [flag, variable, value] of [
      ["timeout", "RANKD_AGENT_TIMEOUT", agentDefaults.timeout],
      ["max-output", "RANKD_AGENT_MAX_OUTPUT", agentDefaults.maxOutput],
      ["max-running", "RANKD_AGENT_MAX_RUNNING", agentDefaults.maxRunning]
    ] as const) {
      assert.include(commands, `| \`--${flag}\` | \`${variable}\` | ${value} |`)
    }
  })
})
