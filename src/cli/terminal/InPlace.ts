/** Lines that stay where they are on a terminal: each new version replaces the one before. */
import { clearScreenDown, cursorTo, moveCursor } from "node:readline"
import { type Line, styled } from "./text.ts"

export class InPlace {
  #shown = 0

  /** Leaves out the lines that do not fit on the screen; `more` says how many. */
  show(lines: ReadonlyArray<Line>, more: (count: number) => string): void {
    // A terminal that does not know its size reports 0.
    const room = (process.stdout.rows || 24) - 1
    const width = (process.stdout.columns || 80) - 1
    const fitting =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), { text: more(lines.length - room + 1) }]
    moveCursor(process.stdout, 0, -this.#shown)
    cursorTo(process.stdout, 0)
    clearScreenDown(process.stdout)
    // A line that wraps takes two.
    const shown = fitting.map(({ style, text }) => styled(style, text.slice(0, width)))
    process.stdout.write(shown.map((line) => `${line}\n`).join(""))
    this.#shown = fitting.length
  }

  /** After the terminal has changed its size, when nobody knows where the lines are. */
  clear(): void {
    cursorTo(process.stdout, 0, 0)
    clearScreenDown(process.stdout)
    this.#shown = 0
  }
}
