/**
 * Lines that stay where they are on a terminal: each new version replaces the one before, also after the terminal has changed
 * its size. What is above them stays.
 */
import { stdout } from "../output/output.ts"
import { erasedFrom } from "./erase.ts"
import { type Line, styled } from "./text.ts"

export class InPlace {
  /** The length of each line that is shown. */
  #lengths: ReadonlyArray<number> = []

  /** Leaves out the lines that do not fit on the screen; `more` says how many. */
  show(lines: ReadonlyArray<Line>, more: (count: number) => string): void {
    // A terminal that does not know its size reports 0.
    const room = (process.stdout.rows || 24) - 1
    const columns = process.stdout.columns || 80
    const fitting =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), { text: more(lines.length - room + 1) }]
    // A line that wraps takes two.
    const shown = fitting.map(({ style, text }) => ({ style, text: text.slice(0, columns - 1) }))
    // A terminal that has become narrower has wrapped what it shows.
    const rows = this.#lengths.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / columns)), 0)
    stdout.write(erasedFrom(rows) + shown.map(({ style, text }) => `${styled(style, text)}\n`).join(""))
    this.#lengths = shown.map(({ text }) => text.length)
  }
}
