/**
 * The line at the bottom of the terminal, and text above it. Node's readline edits the line, completes it and keeps the
 * history; this module keeps it below everything that is printed. On a terminal without escapes nothing is drawn twice: there
 * the terminal itself edits the line, and Ctrl-C comes as a signal.
 */
import { createInterface, type Interface } from "node:readline"
import { isatty } from "node:tty"
import { type Cause, Effect, Queue } from "effect"
import { hangUp, onInterrupt } from "../../signals.ts"
import { erasedFrom } from "../../terminal/erase.ts"
import { hasEscapes } from "../../terminal/hasEscapes.ts"
import { HISTORY_LINES, History, historyFile } from "./History.ts"

/** What the last word of a line may become, and that word. */
type Completer = (line: string) => [Array<string>, string]

/** Called for the first Ctrl-C in a row, with whether it has cleared a line. */
type Interrupted = (cleared: boolean) => void

export class LineEditor {
  /** The typed lines. */
  readonly lines: Queue.Queue<string, Cause.Done>
  left = false
  readonly #readline: Interface
  readonly #interrupted: Interrupted
  /** Ctrl-C came after the last line: the next one quits. */
  #isInterrupted = false
  /** There is no line any more; what is printed still appears. */
  #isClosed = false

  constructor(lines: Queue.Queue<string, Cause.Done>, completer: Completer, interrupted: Interrupted) {
    this.lines = lines
    this.#interrupted = interrupted
    const history = new History(historyFile())
    this.#readline = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: hasEscapes,
      history: history.past(),
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
      completer
    })
      .on("line", (line) => {
        this.#isInterrupted = false
        this.#readline.prompt()
        Queue.offerUnsafe(lines, line)
      })
      .on("history", (lines) => {
        // Readline itself has nothing to recall that is not kept.
        if (lines[0] !== undefined && !history.keep(lines[0])) lines.shift()
      })
      .on("close", () => {
        this.#isClosed = true
        // A terminal that was closed is none any more.
        if (!isatty(process.stdin.fd)) hangUp()
        this.leave()
      })
      .on("error", hangUp)
      // Back in the foreground, the line is as it was.
      .on("SIGCONT", () => this.refresh())
      .on("SIGINT", () => this.interrupt())
    // Before readline draws the line again.
    if (hasEscapes) process.stdout.prependListener("resize", this.#erase)
  }

  setPrompt(prompt: string): void {
    this.#readline.setPrompt(prompt)
  }

  /** Draws the prompt and the line again. */
  refresh(): void {
    if (hasEscapes && !this.#isClosed) this.#readline.prompt(true)
  }

  /** Prints above the line. */
  print(text: string): void {
    if (!hasEscapes) {
      process.stdout.write(`\n${text}\n`)
      if (!this.#isClosed) this.#readline.prompt()
      return
    }
    this.#erase()
    process.stdout.write(`${text}\n`)
    this.refresh()
  }

  /** Ends the lines: the person leaves, or the server says `BYE quit`. */
  leave(): void {
    this.left = true
    Queue.endUnsafe(this.lines)
  }

  /** Removes the prompt: the shell's takes its place. */
  close(): void {
    if (hasEscapes) this.#erase()
    else process.stdout.write("\n")
    process.stdout.off("resize", this.#erase)
    this.#readline.close()
  }

  /** Removes the line. Readline must not move up by the rows that it had: a terminal of another size has wrapped it anew. */
  readonly #erase = (): void => {
    process.stdout.write(erasedFrom(this.#readline.getCursorPos().rows))
    Object.assign(this.#readline, { prevRows: 0 })
  }

  /** Ctrl-C clears the line; the second one in a row quits. */
  interrupt(): void {
    const isEmpty = this.#readline.line === ""
    if (isEmpty && this.#isInterrupted) {
      this.#readline.close()
      return
    }
    this.#isInterrupted = true
    if (!isEmpty) {
      this.#readline.write(null, { ctrl: true, name: "e" })
      this.#readline.write(null, { ctrl: true, name: "u" })
    }
    this.#interrupted(!isEmpty)
  }
}

/** A line editor that is closed with the scope. */
export const make = Effect.fnUntraced(function* (completer: Completer, interrupted: Interrupted) {
  const lines = yield* Queue.unbounded<string, Cause.Done>()
  const editor = yield* Effect.acquireRelease(
    Effect.sync(() => new LineEditor(lines, completer, interrupted)),
    (editor) => Effect.sync(() => editor.close())
  )
  if (!hasEscapes) yield* onInterrupt(() => editor.interrupt())
  return editor
})
