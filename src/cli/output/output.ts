/**
 * The standard output and the standard error of this process, for everything that a command prints but the prompt, which
 * draws on its own terminal. Results (`Console.log`) are never dropped; logs and notices (`Console.error`) are bounded.
 */
import { Console as NodeConsole } from "node:console"
import { Writable } from "node:stream"
import { Console, Effect } from "effect"
import { asksForJson } from "../say.ts"
import { json } from "../terminal/text.ts"
import { sinkOf } from "./sinks.ts"
import { Writer } from "./Writer.ts"

const tellDropped = (lines: number): void => {
  const asJson = asksForJson(process.argv.slice(2))
  const dropped = lines === 1 ? "1 line of output was dropped" : `${lines} lines of output were dropped`
  stderr.offer(`${asJson ? json({ _tag: "Dropped", lines }) : `rankd: ${dropped}`}\n`)
}

export const stdout = new Writer((failed) => sinkOf(process.stdout, failed), tellDropped)
export const stderr: Writer = new Writer((failed) => sinkOf(process.stderr, failed), tellDropped)

const streamOf = (write: (text: string) => void) =>
  new Writable({
    decodeStrings: false,
    write: (text, _encoding, done) => {
      write(text)
      done()
    }
  })

/** Every method of it ends in one of the two. */
export const console: Console.Console = new NodeConsole({
  stdout: streamOf((text) => stdout.write(text)),
  stderr: streamOf((text) => stderr.offer(text))
})

/** Prints a line of a result that may not end. It waits for the reader where much waits already. */
export const print = (line: string): Effect.Effect<void> =>
  Effect.andThen(
    Console.log(line),
    Effect.suspend(() => (stdout.hasRoom ? Effect.void : stdout.drained))
  )

/** Prints a line that another client causes. Drops it where much waits already: this command has other work. */
export const printBounded = (line: string): Effect.Effect<void> =>
  Effect.suspend(() => (stdout.hasRoom ? Console.log(line) : Effect.sync(() => stdout.drop())))

/** How long the last lines have to be written when the process ends, whether or not somebody reads them. */
const FLUSH_TIMEOUT = "1 second"

/** Writes what waits, and says what was dropped. */
export const flush: Effect.Effect<void> = Effect.suspend(() => {
  stdout.tellDropped()
  stderr.tellDropped()
  return Effect.all([stdout.drained, stderr.drained], { concurrency: 2, discard: true })
}).pipe(Effect.timeoutOption(FLUSH_TIMEOUT), Effect.asVoid)
