/** README shows what really happens, and stays short. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { helpTexts } from "../src/protocol/text/TextCodec.ts"
import { block, marked, read, section } from "./support/pages.ts"
import { wireTranscript } from "./support/transcript.ts"
import { serverLayer } from "./support/wire.ts"

const readme = read("README.md")

const MAX_LINES = 160

describe("README", () => {
  const transcripts = marked(readme, "test/readme.test.ts")

  it("marks its transcript", () => assert.deepStrictEqual(transcripts, ["terminals"]))

  it.live.each(transcripts)("prints what the server says, word for word: %s", (name) =>
    wireTranscript(block(readme, `runs this: ${name} -->`)).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it("names every verb", () => {
    const verbs = section(readme, "## The verbs")
    for (const text of helpTexts) {
      const verb = /^[A-Z]+/.exec(text)?.[0]
      // A client has no reason to send PONG without a heartbeat, which text does not have.
      if (verb !== "PONG") assert.include(verbs, `\`${verb}`, verb)
    }
  })

  it("is short", () => assert.isAtMost(readme.trimEnd().split("\n").length, MAX_LINES))
})
