/**
 * The line at the bottom of the terminal, and text above it. Node's readline edits the line, completes it and keeps the
 * history; this module keeps it below everything that is printed.
 */
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from "node:readline"
import { type Cause, Effect, Queue } from "effect"
import { HISTORY_LINES, keepLines, pastLines } from "./history.ts"

/** What the last word of a line may become, and that word. */
type Completer = (line: string) => [Array<string>, string]

export class LineEditor {
  /** The typed lines. */
  readonly lines: Queue.Queue<string, Cause.Done>
  left = false
  readonly #readline: Interface

  constructor(lines: Queue.Queue<string, Cause.Done>, completer: Completer) {
    this.lines = lines
    this.#readline = createInterface({
      input: process.stdin,
      output: process.stdout,
      history: pastLines(),
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
      completer
    })
      .on("line", (line) => {
        this.#readline.prompt()
        Queue.offerUnsafe(lines, line)
      })
      .on("history", keepLines)
      .on("close", () => this.leave())
      // Back in the foreground, the line is as it was.
      .on("SIGCONT", () => this.refresh())
      .on("SIGINT", () => this.#clearOrClose())
  }

  setPrompt(prompt: string): void {
    this.#readline.setPrompt(prompt)
  }

  /** Draws the prompt and the line again. */
  refresh(): void {
    this.#readline.prompt(true)
  }

  /** Prints above the line. */
  print(text: string): void {
    moveCursor(process.stdout, 0, -this.#readline.getCursorPos().rows)
    cursorTo(process.stdout, 0)
    clearScreenDown(process.stdout)
    process.stdout.write(`${text}\n`)
    // Else readline moves up by the rows that the line had.
    Object.assign(this.#readline, { prevRows: 0 })
    this.refresh()
  }

  /** Ends the lines: the person leaves, or the server says `BYE quit`. */
  leave(): void {
    this.left = true
    Queue.endUnsafe(this.lines)
  }

  /** Removes the prompt: the shell's takes its place. */
  close(): void {
    cursorTo(process.stdout, 0)
    clearScreenDown(process.stdout)
    this.#readline.close()
  }

  /** Ctrl-C clears the line, and leaves where it is empty. */
  #clearOrClose(): void {
    if (this.#readline.line === "") {
      this.#readline.close()
      return
    }
    this.#readline.write(null, { ctrl: true, name: "e" })
    this.#readline.write(null, { ctrl: true, name: "u" })
  }
}

/** A line editor that is closed with the scope. */
export const make = (completer: Completer) =>
  Effect.flatMap(Queue.unbounded<string, Cause.Done>(), (lines) =>
    Effect.acquireRelease(
      Effect.sync(() => new LineEditor(lines, completer)),
      (editor) => Effect.sync(() => editor.close())
    )
  )
