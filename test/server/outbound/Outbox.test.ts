/** That what is appended is what is written, in order, whatever it is made of and however it is taken. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { Head, Shared } from "../../../src/protocol/LineBytes.ts"
import { type Claim, Outbox, type OutboxOptions, Touched } from "../../../src/server/outbound/Outbox.ts"

const Step = Schema.Struct({
  kind: Schema.Literals([
    "append",
    "line",
    "claim",
    "claim",
    "claim",
    "broadcast",
    "piece",
    "piece",
    "drop",
    "flush",
    "drain"
  ]),
  length: Schema.Literals([0, 1, 30, 127, 130, 3000]),
  /** Whether the socket takes what is flushed next at once. */
  taken: Schema.Boolean
})

/** A transport that keeps what it is handed, and is not always ready for more. */
const memory = () => {
  const written: Array<string> = []
  let taken = true
  let drain: (() => void) | undefined
  return {
    written,
    ready: (next: boolean) => {
      taken = next
    },
    /** Takes what it has not taken yet; whether there was any. */
    drain: () => {
      const waiting = drain
      drain = undefined
      waiting?.()
      return waiting !== undefined
    },
    transport: {
      address: "unknown",
      write: (chunks: ReadonlyArray<Uint8Array>) => {
        for (const chunk of chunks) written.push(Buffer.from(chunk).toString())
        return taken
      },
      drained: Effect.callback<void>((resume) => {
        drain = () => resume(Effect.void)
      }),
      gone: () => false,
      unsent: () => 0,
      end: () => {},
      cut: () => {}
    }
  }
}

describe("Outbox", () => {
  it.prop(
    "writes what is appended, in order, and of what was claimed only what is still wanted",
    [Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(80))],
    ([steps]) => {
      const { drain, ready, transport, written } = memory()
      const touched = new Touched()
      const options: OutboxOptions = {
        touched,
        total: { bytes: 0 },
        onOverfull: () => assert.fail("overfull"),
        maxTotalPending: 10_000_000,
        maxPending: 10_000_000,
        maxHold: Duration.millis(500),
        stallTimeout: Duration.seconds(10),
        now: () => 0,
        fork: Effect.runFork
      }
      const outbox = new Outbox(options, transport, () => assert.fail("slow"))
      /** What is appended and not handed over; a claim of it may be dropped until then. */
      const waiting: Array<{ readonly text: string; wanted: boolean; readonly claim: boolean }> = []
      const expected: Array<string> = []
      let inFlight = false
      /** What was read: pieces of it are passed on, one after the other. */
      let read = Buffer.alloc(0)
      let at = 0
      const shared = new Shared()
      let count = 0

      const flush = (taken: boolean) => {
        ready(taken)
        touched.flush()
        if (inFlight) return
        const handed = waiting.splice(0).filter(({ wanted }) => wanted)
        expected.push(...handed.map(({ text }) => text))
        inFlight = handed.some(({ text }) => text !== "") && !taken
      }

      for (const { kind, length, taken } of steps) {
        const text = `${++count}${"x".repeat(length)}`
        const bytes = Buffer.from(`__${text}__`)
        const [start, end] = [2, bytes.length - 2]
        const claim: Claim = { hand: () => entry.wanted }
        const entry = { text: `${text}\n`, wanted: true, claim: kind === "claim" }
        switch (kind) {
          case "append":
            outbox.append(bytes, start, end)
            waiting.push({ ...entry, text })
            break
          case "line":
            outbox.appendLineOf(new Head().write("EXEC 0 "), bytes, start, end)
            waiting.push({ ...entry, text: `EXEC 0 ${text}\n` })
            break
          case "claim":
            outbox.appendLineOf(new Head().write(""), bytes, start, end, claim)
            waiting.push(entry)
            break
          case "broadcast":
            shared.add(new Head().write("EXEC 1 "), bytes, start, end)
            outbox.appendShared(shared.bytes, shared.start, shared.end)
            waiting.push({ ...entry, text: `EXEC 1 ${text}\n` })
            break
          case "piece":
            if (at + text.length + 7 > read.length || length === 1) {
              read = Buffer.alloc(8192, "-")
              at = length
            }
            // Not every line that was read is for this client.
            if (taken) at += 7
            read.write(text, at)
            outbox.appendShared(read, at, at + text.length)
            at += text.length
            waiting.push({ ...entry, text })
            break
          case "drop":
            for (const [index, one] of waiting.entries()) if (one.claim && (index + length) % 3 > 0) one.wanted = false
            break
          case "flush":
            flush(taken)
            // What could not be handed over has to be its own by now.
            if (inFlight) read.fill("!")
            break
          case "drain":
            inFlight = false
            ready(true)
            if (drain()) flush(true)
        }
      }
      inFlight = false
      ready(true)
      drain()
      flush(true)
      assert.strictEqual(written.join(""), expected.join(""))
      assert.strictEqual(outbox.pending, 0)
    },
    { arbitrary: { runs: 1000 } }
  )
})
