/** The pages in docs/ show what really happens, and their links lead somewhere. */
import { spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { defaults as agentDefaults } from "../src/cli/agent.ts"
import { helpTexts } from "../src/protocol/text/TextCodec.ts"
import { block, marked, read, section } from "./support/pages.ts"
import { wireTranscript } from "./support/transcript.ts"
import { client, Port, serverLayer } from "./support/wire.ts"

const protocol = read("docs/protocol.md")

describe("docs/protocol.md", () => {
  const transcripts = marked(protocol, "test/docs.test.ts").filter((name) => name !== "python")

  it("marks its transcripts", () => assert.sameMembers(transcripts, ["tracked", "json", "whois", "corners"]))

  it.live.each(transcripts)("prints what the server says, word for word: %s", (name) =>
    wireTranscript(block(protocol, `runs this: ${name} -->`)).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("has a Python client that works", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const first = yield* client
      yield* first.until((line) => line.startsWith("RANK"))
      const source = block(protocol, "runs this: python -->").replaceAll("5000", `${port}`)
      const python = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("python3", ["-u", "-c", source])),
        (child) => Effect.sync(() => child.kill())
      )
      let output = ""
      const collect = (bytes: Buffer) => {
        output += bytes
      }
      python.stdout.on("data", collect)
      python.stderr.on("data", collect)
      const prints = (text: string) =>
        Effect.gen(function* () {
          while (!output.endsWith(text)) yield* Effect.sleep("10 millis")
        }).pipe(
          Effect.timeoutOrElse({
            duration: "60 seconds",
            orElse: () => Effect.die(new Error(`printed ${output}, not ${text}`))
          })
        )
      yield* prints("I am number 1\n")
      first.send("EXEC 1 ls -l", "QUIT")
      yield* prints("asked by 0 to ls -l\nI lead\n")
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it("has every verb", () => {
    const verbs = section(protocol, "## What a client sends")
    for (const text of helpTexts) assert.include(verbs, `\`${/^[A-Z]+/.exec(text)?.[0]}`)
  })
})

describe("docs/cli.md", () => {
  it("has the agent's flags and their defaults", () => {
    const agent = section(read("docs/cli.md"), "## rankd agent")
    for (const [flag, variable, value] of [
      ["timeout", "RANKD_AGENT_TIMEOUT", agentDefaults.timeout],
      ["max-output", "RANKD_AGENT_MAX_OUTPUT", agentDefaults.maxOutput],
      ["max-running", "RANKD_AGENT_MAX_RUNNING", agentDefaults.maxRunning]
    ] as const) {
      assert.include(agent, `| \`--${flag}\` | \`${variable}\` | ${value} |`)
    }
  })
})

const pages = [
  "README.md",
  "SECURITY.md",
  "bench/README.md",
  ...readdirSync(new URL("../docs", import.meta.url)).map((name) => `docs/${name}`)
]

/** The page without code: what is in it is no link. */
const prose = (page: string) =>
  read(page).replace(/```[\s\S]*?```|`[^`\n]*`/g, (code) => code.replace(/[[\]()#]/g, " "))

/** The anchors that GitHub gives the headings of a page. */
const anchors = (page: string): ReadonlyArray<string> =>
  Array.from(
    read(page)
      .replace(/```[\s\S]*?```/g, "")
      .matchAll(/^#+ (.+)$/gm),
    ([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-")
  )

describe("links", () => {
  it.each(pages)("of %s lead to files and headings", (page) => {
    for (const [, link = ""] of prose(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue
      const [path, anchor] = link.split("#", 2)
      const target = path ? join(dirname(page), path) : page
      assert.isTrue(existsSync(new URL(`../${target}`, import.meta.url)), `${page}: ${link}`)
      if (anchor !== undefined) assert.include(anchors(target), anchor, `${page}: ${link}`)
    }
  })
})
